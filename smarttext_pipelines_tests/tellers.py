"""An application that tells events until it is killed, and writes down each whose call returned.

    python -m smarttext_pipelines_tests.tellers DATABASE_URL FOLDER LOG KIND EVENTS

KIND is where events are told: main, fork or spawn (a pool's workers, too). A line of LOG is one event; a process has
its own file.
"""

import multiprocessing
import os
import sys
import time
from pathlib import Path

from smarttext_pipelines import tracking

WORKERS = 2


def tell(url: str, folder: str, log: str, count: int) -> None:
    """Tell events, and note each after its call."""
    tracking.configure(database_url=url, spill_folder=folder)
    _tell(log, count)


def _tell(log: str, count: int) -> None:
    name = f"{os.getpid()}-{time.monotonic_ns()}"
    handle = os.open(Path(log) / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for n in range(count):
        told = f"{name}-{n}"
        if n % 2:
            tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued", request_id=told)
        else:
            tracking.track_call_event(event_type="voice.missed", call_sid=told)
        os.write(handle, told.encode() + b"\n")
        if n % 100 == 0:
            time.sleep(0.01)


def main(url: str, folder: str, log: str, kind: str, events: str) -> None:
    """Tell here, or here and in the workers of a pool."""
    count = int(events)
    if kind == "main":
        tell(url, folder, log, count)
        return
    tracking.configure(database_url=url, spill_folder=folder)
    tracking.track_call_event(event_type="voice.test")
    with multiprocessing.get_context(kind).Pool(WORKERS) as pool:
        work = [
            pool.apply_async(_tell, (log, count // 3)) if kind == "fork" else
            pool.apply_async(tell, (url, folder, log, count // 3))
            for _ in range(WORKERS)
        ]  # fmt: skip
        _tell(log, count // 3)
        for each in work:
            each.get()


if __name__ == "__main__":
    main(*sys.argv[1:])
