"""``python -m smarttext_pipelines.launch.only_daemon run …``: Dagster's daemon while it holds the lock of the pipeline.

It takes what ``dagster-daemon`` takes. Where another pipeline works on the event database it ends with exit code 2, so
a service manager that starts it again and again keeps it waiting for its turn.
"""

import os
import runpy
import signal
import sys
import threading

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.launch.pipeline_lock import PipelineLock, pipeline_lock
from smarttext_pipelines.settings import load_settings

LOOK_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """Be the daemon of the event database until it is stopped, or until another one has taken over; return 2 then."""
    lost = threading.Event()
    try:
        with pipeline_lock(load_settings(), "the daemon") as lock:
            threading.Thread(target=_watch, args=(lock, lost), daemon=True).start()
            sys.argv = ["dagster-daemon", *arguments]
            runpy.run_module("dagster._daemon", run_name="__main__", alter_sys=True)
    except SmartTextError as error:
        return _refuse(error)
    except SystemExit as end:
        return 2 if lost.is_set() else int(end.code or 0)
    return 2 if lost.is_set() else 0


def _watch(lock: PipelineLock, lost: threading.Event) -> None:
    """End this process, as its manager would, when the lock is another one's."""
    never = threading.Event()
    while not never.wait(LOOK_SECONDS):
        try:
            lock.check()
        except SmartTextError as error:
            _refuse(error)
            lost.set()
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _refuse(error: SmartTextError) -> int:
    sys.stderr.write(f"error: {error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
