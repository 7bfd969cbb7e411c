"""Health in the graph: the sensor that writes heartbeats and pings the dead man's switch, and how the days went."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from smarttext_pipelines.alerting.signals import raised_signals, tell_signal
from smarttext_pipelines.defs.instance_heartbeats import read_beats, tell_of_failed_ticks, watched_parts
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.health import heartbeat
from smarttext_pipelines.health.verdicts import WATCHER, Heartbeat, Line, State

HEARTBEAT_SENSOR = WATCHER[1]
_INTERVAL = timedelta(seconds=60)
_SIGNAL, _SCOPE = "pipeline_failures", "heartbeat"


def build_heartbeat_sensor(
    schedules: Sequence[dg.ScheduleDefinition], sensors: Sequence[dg.SensorDefinition], jobs: Iterable[str]
) -> dg.SensorDefinition:
    """Return the sensor that watches all others."""
    parts = watched_parts(schedules, sensors, jobs)

    @dg.sensor(
        name=HEARTBEAT_SENSOR,
        minimum_interval_seconds=int(_INTERVAL.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Records the last success of each sensor, schedule and job, finds the late ones, and asks the "
        "dead man's switch when nothing is broken.",
    )
    def heartbeat_sensor(context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.SkipReason:
        # The doctor knows every room; whoever only looks at the graph does not need them.
        from smarttext_pipelines.health.doctor import examine

        # First what needs no event database: it may be what broke.
        context.update_cursor(tell_of_failed_ticks(context.instance, context.cursor))
        now = datetime.now(UTC)
        beats = read_beats(context.instance, parts, now)
        with warehouse.transaction() as connection:
            heartbeat.record(connection, [*beats, Heartbeat(*WATCHER, _INTERVAL, now, None, now)])
        report = examine(warehouse.settings, dagster=False)
        _tell_of_late(warehouse, report.lines)
        broken = [line.name for line in report.lines if line.state is State.fail]
        if broken:
            return dg.SkipReason(f"not complete: {', '.join(broken)}")
        with warehouse.transaction() as connection:
            heartbeat.record(connection, [Heartbeat(*heartbeat.CYCLE, _INTERVAL, now, None, now)])
        return dg.SkipReason(f"complete; {heartbeat.ping(warehouse.settings)}")

    return heartbeat_sensor


def _tell_of_late(warehouse: Warehouse, lines: Iterable[Line]) -> None:
    """Report to the rules which heartbeats are late, and which no longer are."""
    kinds = ("sensor ", "schedule ", "job ")
    late = {line.name: line.said for line in lines if line.state is State.fail and line.name.startswith(kinds)}
    with warehouse.transaction() as connection:
        for name, said in late.items():
            tell_signal(connection, _SIGNAL, f"{_SCOPE}:{name}", 1, said)
        for name in raised_signals(connection, _SIGNAL, _SCOPE).keys() - late.keys():
            tell_signal(connection, _SIGNAL, f"{_SCOPE}:{name}", 0)
