"""``python -m smarttext_pipelines_tests.fakes.alerting_process`` starts what evaluates and delivers alerts.

Each line of standard input is one process: JSON with ``kind``, ``kill_at``, ``nth`` and ``killed``; the answer is its
process id. A terminal types ``smarttext alerts evaluate`` and ``deliver`` again and again, a sensor ticks as the daemon
has it tick. Everything is imported once and forked; settings come from the environment. The delays of the outbox are
those of the first argument.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg
import typer

from smarttext_pipelines.alerting import evaluation_service
from smarttext_pipelines.alerting.incidents import evaluate as evaluation
from smarttext_pipelines.alerting.notify.deliver import deliver
from smarttext_pipelines.alerting.notify.timing import Timing
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import load_settings
from smarttext_pipelines_tests.fakes.worker import POINTS as DELIVERY_POINTS

POINTS = ("enqueued", "evaluated", *DELIVERY_POINTS)
"""Before the commit of an evaluation, after it, and those of a delivery."""


def _killing(spec: dict[str, Any]) -> Callable[[str], None]:
    """Return what kills this process at the point it names, if that is asked for."""
    seen = 0

    def at(point: str) -> None:
        nonlocal seen
        seen += point == spec.get("kill_at")
        if point == spec.get("kill_at") and seen == spec["nth"]:
            with open(spec["killed"], "a") as file:  # noqa: PTH123
                file.write(f"{spec['kind']}.{point}\n")
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def _with_points(at: Callable[[str], None], timing: Timing) -> None:
    """Have this process call ``at`` at each point."""
    evaluate, enqueue = evaluation.evaluate, evaluation.enqueue

    def evaluated(*arguments: Any, **options: Any) -> Any:
        done = evaluate(*arguments, **options)
        at("evaluated")
        return done

    def enqueued(connection: Any, items: Any) -> None:
        enqueue(connection, items)
        if items:
            at("enqueued")

    evaluation.evaluate, evaluation.enqueue = evaluated, enqueued  # type: ignore[assignment]
    evaluation_service.deliver = partial(deliver, timing=timing, at=at)  # type: ignore[assignment]


def _terminal() -> None:
    for command in (["evaluate"], ["deliver", "--seconds", "1"]):
        app(["alerts", *command], standalone_mode=False)


def _sensor(definition: dg.SensorDefinition) -> None:
    resources = {"warehouse": Warehouse(load_settings())}
    with dg.build_sensor_context(instance=dg.DagsterInstance.ephemeral(), resources=resources) as context:
        definition.evaluate_tick(context)


def main() -> None:
    """Fork a process for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    delays = [timedelta(seconds=each) for each in json.loads(sys.argv[1])]
    timing = Timing(*delays, most_attempts=200, most_critical_attempts=200)
    sensor = build_definitions(load_settings()).resolve_sensor_def("alert_evaluation_sensor")
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                spec = json.loads(line)
                _with_points(_killing(spec), timing)
                while True:
                    _terminal() if spec["kind"] == "terminal" else _sensor(sensor)
            except typer.Exit:
                os._exit(1)
            finally:
                os._exit(1)
        print(pid, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
