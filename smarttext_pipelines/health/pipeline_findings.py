"""What the checks of ``pipeline_health`` have found, where they failed."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime

from smarttext_pipelines.database.findings import MAX_ROWS, Finding, on_days
from smarttext_pipelines.health.freshness import SOURCES
from smarttext_pipelines.health.pipeline_days import RunTimes
from smarttext_pipelines.health.verdicts import LATE_AFTER_INTERVALS, SHORTEST_INTERVAL, Line, State

_LATE_BEATS = f"""\
SELECT kind, name, interval_seconds, last_success_at, last_failure_at, watched_since
FROM monitoring.heartbeats
WHERE coalesce(last_success_at, watched_since)
    < now() - {LATE_AFTER_INTERVALS} * greatest(interval_seconds, {SHORTEST_INTERVAL.seconds}) * interval '1 second'
ORDER BY coalesce(last_success_at, watched_since), kind, name"""  # noqa: S608 - constants


def runs_finding(
    runs: Sequence[RunTimes], days: Iterable[date], is_wrong: Callable[[RunTimes], bool], what: str, column: str
) -> Finding | None:
    """Return which runs of the days went wrong; None when none did.

    Args:
        runs: Runs of the days that ended.
        days: The days.
        is_wrong: Tells them.
        what: What they did.
        column: Column of ``monitoring.pipeline_health`` that counts them.
    """
    wrong = [run for run in runs if is_wrong(run)]
    if not wrong:
        return None
    jobs = sorted({run.job for run in wrong})
    rows = [
        {"job": run.job, "run_id": run.run_id, "created": f"{datetime.fromtimestamp(run.created, UTC):%Y-%m-%d %H:%M}"}
        for run in sorted(wrong, key=lambda run: run.created, reverse=True)
    ]
    sql = (
        "SELECT day, name, seen_count, failed_count, late_count, longest_seconds\n"
        f"FROM monitoring.pipeline_health\nWHERE kind = 'job' AND {column} > 0 AND {on_days('day', days)}\n"
        "ORDER BY day, name"
    )
    return Finding(f"{len(wrong):,} of {len(runs):,} runs {what}: {', '.join(jobs)}", rows[:MAX_ROWS], sql)


def silence_finding(lines: Sequence[Line]) -> Finding | None:
    """Return which sources are silent; None when none is."""
    silent = {line.name.removeprefix("source "): line for line in lines if line.state is State.fail}
    if not silent:
        return None
    parts = [
        f"SELECT '{table}' AS source, date_trunc('hour', {SOURCES[table]}) AS hour, count(*) AS events\n"
        f"FROM monitoring.{table} WHERE {SOURCES[table]} >= now() - interval '15 days'\nGROUP BY 2"
        for table in silent
    ]
    sql = "\nUNION ALL\n".join(parts) + "\nORDER BY source, hour DESC"
    return _of_lines(silent, f"{len(silent)} of {len(lines)} sources are silent", sql)


def beats_finding(lines: Sequence[Line]) -> Finding | None:
    """Return which parts are late; None when none is."""
    late = {line.name: line for line in lines if line.state is State.fail}
    if not late:
        return None
    return _of_lines(late, f"{len(late)} sensors, schedules or jobs are late", _LATE_BEATS)


def _of_lines(lines: dict[str, Line], said: str, sql: str) -> Finding:
    names = list(lines)
    shown = ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
    rows = [{"name": name, "found": line.said, "what_to_do": line.todo} for name, line in lines.items()]
    return Finding(f"{said}: {shown}", rows[:MAX_ROWS], sql)
