"""What Dagster knows of its own parts: last success and failure of each sensor, schedule and job, as heartbeats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import dagster as dg

from smarttext_pipelines.defs.dagster_internals import InstigatorTick, TickStatus, cron_string_iterator
from smarttext_pipelines.health.verdicts import Heartbeat
from smarttext_pipelines.sentry.capture import capture_failure

ON_DEMAND = {
    "intraday_rollup_job",
    "delivery_report_job",
    "twilio_usage_job",
    "openai_costs_job",
    "weekly_test_job",
    "monthly_reports_job",
}
"""Jobs whose schedule launches them only when there is something to do."""

_WELL = (TickStatus.SUCCESS, TickStatus.SKIPPED)
_FAILED = (TickStatus.FAILURE,)
_TICKS_SEEN = 5
_CRONS_SEEN = 8
_STACK = 4000


@dataclass(frozen=True)
class Watched:
    """A part that has a heartbeat."""

    kind: str
    name: str
    interval: timedelta | None


def watched_parts(
    schedules: Iterable[dg.ScheduleDefinition], sensors: Iterable[dg.SensorDefinition], jobs: Iterable[str]
) -> list[Watched]:
    """Return all parts; a job is due as often as the schedule that launches it, if that always does."""
    every = {schedule.name: _interval(schedule) for schedule in schedules}
    by_job = {s.job_name: every[s.name] for s in schedules if s.job_name not in ON_DEMAND}
    return [
        *(Watched("schedule", name, interval) for name, interval in every.items()),
        *(Watched("sensor", s.name, timedelta(seconds=s.minimum_interval_seconds or 30)) for s in sensors),
        *(Watched("job", name, by_job.get(name)) for name in jobs),
    ]


def _interval(schedule: dg.ScheduleDefinition) -> timedelta:
    """Return the longest time between ticks, so that no night is late."""
    begin = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    ticks = cron_string_iterator(begin, str(schedule.cron_schedule), schedule.execution_timezone or "UTC")
    return max(later - earlier for earlier, later in pairwise(islice(ticks, _CRONS_SEEN)))


def read_beats(instance: dg.DagsterInstance, parts: Sequence[Watched], now: datetime) -> list[Heartbeat]:
    """Return the heartbeat of each part as Dagster's storage has it; what is older than a few ticks is left out."""
    ticks = _recent_ticks(instance)
    return [
        Heartbeat(part.kind, part.name, part.interval, *_last_times(instance, part, ticks), watched_since=now)
        for part in parts
    ]


def _recent_ticks(instance: dg.DagsterInstance) -> dict[tuple[str, str], list[InstigatorTick]]:
    # Not get_batch_ticks: it reads every tick that is stored, and fails when it is asked for statuses.
    recent: dict[tuple[str, str], list[InstigatorTick]] = {}
    for state in instance.all_instigator_state():
        key = (str(state.instigator_type.value).lower(), state.instigator_name)
        # The same name may exist in an older location, too.
        recent.setdefault(key, []).extend(
            instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_TICKS_SEEN)
        )
    return recent


def _last_times(
    instance: dg.DagsterInstance, part: Watched, ticks: Mapping[tuple[str, str], Sequence[InstigatorTick]]
) -> tuple[datetime | None, datetime | None]:
    if part.kind == "job":
        return (
            _last_run(instance, part.name, dg.DagsterRunStatus.SUCCESS),
            _last_run(instance, part.name, dg.DagsterRunStatus.FAILURE),
        )
    found = ticks.get((part.kind, part.name), ())
    return _last(found, _WELL), _last(found, _FAILED)


def _last(ticks: Iterable[InstigatorTick], statuses: Sequence[TickStatus]) -> datetime | None:
    last = max((tick.timestamp for tick in ticks if tick.status in statuses), default=None)
    return None if last is None else datetime.fromtimestamp(last, UTC)


def _last_run(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus) -> datetime | None:
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=[status]), limit=1)
    ended = records[0].end_time if records else None
    return None if ended is None else datetime.fromtimestamp(ended, UTC)


def tell_of_failed_ticks(instance: dg.DagsterInstance, cursor: str | None) -> str:
    """Report the ticks that failed since to Sentry; return the new cursor. Without one, all failures are old."""
    last = int(cursor or 0)
    for (kind, name), ticks in _recent_ticks(instance).items():
        for tick in ticks:
            number = int(tick.tick_id)
            last = max(last, number)
            if tick.status in _FAILED and cursor is not None and number > int(cursor):
                _capture_tick(kind, name, tick)
    return str(last)


def _capture_tick(kind: str, name: str, tick: InstigatorTick) -> None:
    error: Any = tick.error
    said = (error.message.strip().splitlines() or [""])[0] if error else "failed"
    stack = "".join(error.stack)[-_STACK:] if error else ""
    tags = {kind: name, "tick": str(tick.tick_id)}
    capture_failure(kind, str(tick.tick_id), f"{kind} {name}: {said}", tags=tags, detail=stack)
