"""``python -m smarttext_pipelines_tests.fakes.worker`` starts delivery workers: each line of standard input is one.

A line is JSON with the arguments of ``work``; the answer is the worker's process id. Everything is imported once and
workers are forked, so that a hundred of them can be killed within seconds.
"""

import json
import os
import signal
import sys
import time
from datetime import timedelta
from typing import Any

from slack_sdk import WebClient

from smarttext_pipelines.alerting.channels.channel import Channel
from smarttext_pipelines.alerting.channels.slack_bot import SlackBotChannel
from smarttext_pipelines.alerting.channels.twilio_texts import TwilioSmsChannel
from smarttext_pipelines.alerting.notify.deliver import deliver
from smarttext_pipelines.alerting.notify.timing import Timing
from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.twilio.client import build_twilio_client

POINTS = ("claimed", "looked_up", "confirmed", "answered", "finished")
TIMEOUT_SECONDS = 0.4


def numbers(count: int) -> dict[str, str]:
    """Return operators' numbers of the fictional range by their references."""
    return {f"phone-{n}": f"+1555{100_0000 + n}" for n in range(count)}


def work(spec: dict[str, Any]) -> None:
    """Deliver until nothing is open; kill or stop this process at a named point where that is asked for."""
    seen = 0

    def at(point: str) -> None:
        nonlocal seen
        if point == spec.get("kill_at"):
            seen += 1
            if seen == spec.get("nth", 1):
                if "killed" in spec:
                    with open(spec["killed"], "a") as file:  # noqa: PTH123
                        file.write(f"{point}\n")
                os.kill(os.getpid(), signal.SIGSTOP if spec.get("stops") else signal.SIGKILL)

    timing = Timing(*(timedelta(seconds=s) for s in spec["timing"]), most_attempts=200, most_critical_attempts=200)
    engine = open_engine(spec["database"])
    channels = build(spec)
    while True:
        try:
            done = deliver(engine, channels, timing=timing, look_up=spec["look_up"], at=at, budget_seconds=1)
        except DatabaseError:
            return  # whoever starts the workers knows where the database is now
        if done.next_due_seconds is None:
            return
        time.sleep(min(0.2, done.next_due_seconds))


def build(spec: dict[str, Any]) -> list[Channel]:
    """Return both channels that can be searched, pointed at the fakes."""
    client = build_twilio_client("AC0", "token", base_url=spec["twilio"], timeout_seconds=TIMEOUT_SECONDS)
    slack = WebClient("xoxb", base_url=spec["slack"] + "/api/", timeout=TIMEOUT_SECONDS, retry_handlers=[])  # type: ignore[arg-type]
    return [TwilioSmsChannel(client, "+15550000000", numbers(spec["phones"])), SlackBotChannel(slack, "C1")]


def main() -> None:
    """Fork a worker for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = 1
            try:
                work(json.loads(line))
                code = 0
            finally:
                os._exit(code)
        print(pid, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
