"""How a day of the pipeline went, as rows of ``monitoring.pipeline_health``: the jobs' runs, the sources' silence."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from statistics import median
from typing import Any

from sqlalchemy import Connection, text

from smarttext_pipelines.health.freshness import SOURCES

LATE_START_SECONDS = 300


@dataclass(frozen=True)
class RunTimes:
    """One run that ended on the day; times in seconds since 1970, None where it never came so far."""

    job: str
    failed: bool
    created: float
    started: float | None
    ended: float | None
    run_id: str = ""

    @property
    def is_late(self) -> bool:
        """Whether it waited too long to start."""
        return self.started is not None and self.started - self.created > LATE_START_SECONDS


@dataclass(frozen=True)
class PartHealth:
    """A row; see the table's comments."""

    kind: str
    name: str
    seen_count: int
    failed_count: int | None = None
    late_count: int | None = None
    median_seconds: float | None = None
    longest_seconds: float | None = None
    lag_seconds: float | None = None


_REPLACE = (
    text("DELETE FROM monitoring.pipeline_health WHERE day = :day"),
    text(
        """
        INSERT INTO monitoring.pipeline_health (day, kind, name, seen_count, failed_count, late_count, median_seconds,
                                                longest_seconds, lag_seconds)
        SELECT :day, r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS r (kind text, name text, seen_count bigint, failed_count bigint, late_count bigint,
                  median_seconds numeric, longest_seconds numeric, lag_seconds numeric)
        """
    ),
)


def jobs_of(runs: Sequence[RunTimes]) -> list[PartHealth]:
    """Return a row for each job that ran."""
    return [_job(name, [run for run in runs if run.job == name]) for name in sorted({run.job for run in runs})]


def _job(name: str, runs: Sequence[RunTimes]) -> PartHealth:
    lasted = [run.ended - run.started for run in runs if run.ended is not None and run.started is not None]
    return PartHealth(
        "job",
        name,
        len(runs),
        failed_count=sum(run.failed for run in runs),
        late_count=sum(run.is_late for run in runs),
        median_seconds=round(median(lasted), 3) if lasted else None,
        longest_seconds=round(max(lasted), 3) if lasted else None,
    )


def _source(table: str, at: str) -> str:
    return f"""
        SELECT count(*) AS events, extract(epoch FROM max({at} - before)) AS silence,
               extract(epoch FROM least(:end, now()) - max({at})) AS lag
        FROM (SELECT {at}, lag({at}, 1, CAST(:start AS timestamptz)) OVER (ORDER BY {at}) AS before
              FROM monitoring.{table} WHERE {at} >= :start AND {at} < least(:end, now())) AS events
    """  # noqa: S608 - constant names


def sources_of(connection: Connection, start: datetime, end: datetime) -> list[PartHealth]:
    """Return a row for each source: its events, its longest silence, and how long before the end the last one came."""
    rows = []
    for table, at in SOURCES.items():
        found: Any = connection.execute(text(_source(table, at)), {"start": start, "end": end}).one()
        silence = max((float(part) for part in (found.silence, found.lag) if part is not None), default=None)
        lag = None if found.lag is None else float(found.lag)
        rows.append(PartHealth("source", table, found.events, longest_seconds=silence, lag_seconds=lag))
    return rows


def write_day(connection: Connection, day: date, rows: Sequence[PartHealth]) -> None:
    """Replace the rows of a day, in the caller's transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('smarttext:pipeline_health', 0))"))
    values = {"day": day, "rows": json.dumps([asdict(row) for row in rows])}
    for statement in _REPLACE:
        connection.execute(statement, values if "rows" in statement.text else {"day": day})
