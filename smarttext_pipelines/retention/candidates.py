"""Which days have work to do, and why a day has to wait: reads what ``retention.policy`` decides on."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from psycopg import sql
from sqlalchemy import Connection, Engine, func, select

from smarttext_pipelines.archive.columns import read_shape, run
from smarttext_pipelines.archive.manifest import PLANNED, UNDATED, VERIFIED, find_segments
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.archive.units import (
    USAGE_DAY,
    day_of_row,
    days_condition,
    holdable_condition,
    unit_condition,
)
from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, DayRange, contiguous, day_of
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.engines import EngineChoice, Parameters, SourceDay
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.retention.policy import RolledUpDay, reason_to_wait
from smarttext_pipelines.schema.installation import counts_usage_by_time
from smarttext_pipelines.schema.tables.internal import rollup_days


@dataclass(frozen=True)
class Candidate:
    """A table and day that is old enough.

    Attributes:
        table: The table.
        day: Day of the archive.
        rows: Rows that are live.
        unfinished: Whether a segment was begun and not brought to its end.
    """

    table: str
    day: date
    rows: int
    unfinished: bool


def find_candidates(connection: Connection, table: str, last: date) -> list[Candidate]:
    """Return the days up to ``last`` that have live rows or an unfinished segment, oldest first.

    A day of ``api_usage`` is not old enough while a row of it belongs to a reporting day after ``last``.
    """
    young = sql.SQL(" HAVING max({}) <= {}").format(USAGE_DAY, sql.Literal(last.isoformat()))
    counted = sql.SQL("SELECT {} AS day, count(*) FROM public.{} AS t WHERE {} GROUP BY 1{}").format(
        day_of_row(table),
        sql.Identifier(table),
        days_condition(table, last),
        young if table == "api_usage" else sql.SQL(""),
    )
    rows = {found: int(n) for found, n in run(connection, counted)}
    unfinished = _unfinished(connection, table) - {UNDATED}
    return [Candidate(table, d, rows.get(d, 0), d in unfinished) for d in sorted(rows.keys() | unfinished)]


def find_undated(connection: Connection, table: str) -> list[Candidate]:
    """Return the undated rows as one candidate; nothing where there are none and no segment of them is unfinished."""
    counted = sql.SQL("SELECT count(*) FROM public.{} AS t WHERE {}").format(
        sql.Identifier(table), unit_condition(table, UNDATED)
    )
    rows = int(run(connection, counted).scalar_one())
    is_unfinished = UNDATED in _unfinished(connection, table)
    return [Candidate(table, UNDATED, rows, is_unfinished)] if rows or is_unfinished else []


def _unfinished(connection: Connection, table: str) -> set[date]:
    return {s.day for s in find_segments(connection, tables=[table], states=[PLANNED, VERIFIED])}


def count_unholdable(connection: Connection, table: str, day: date) -> int:
    """Return how many rows of a day no file can hold exactly: those with infinite times or NaN."""
    shape = replace(read_shape(connection, table), is_text=day == UNDATED)
    query = sql.SQL("SELECT count(*) FILTER (WHERE NOT ({})) FROM public.{} AS t WHERE {}").format(
        holdable_condition(shape, day), sql.Identifier(table), unit_condition(table, day)
    )
    return int(run(connection, query).scalar_one())


def why_not(
    engine: Engine, archive: ArchiveTarget, table: str, day: date, *, zone: ZoneInfo, settle_days: int
) -> str | None:
    """Return why the rows of a day may not be archived yet; None when they may.

    Undated rows are in no number, so they wait only for the end of a hold.

    Raises:
        ArchiveError: Rows of the same reporting day are archived, and their file cannot be read.
    """
    with connected(engine, isolation="REPEATABLE READ") as connection, connection.begin():
        now: datetime = connection.execute(select(func.now())).scalar_one()
        held = find_segments(connection, tables=[table], days=DayRange(day, day))
        hold_until = max((s.hold_until for s in held if s.hold_until), default=None)
        if day == UNDATED:
            return reason_to_wait({}, {}, hold_until=hold_until, now=now)
        own: dict[date, RolledUpDay] = {}
        following: dict[date, RolledUpDay] = {}
        by_time = counts_usage_by_time(connection)
        for days in _reporting_days(connection, table, day, zone):
            window = Window(days=days, zone=zone, settle_days=0, as_of=now, usage_by_time=by_time)
            # A transaction holds the parameters of one window.
            with connection.begin_nested() as part:
                counted = EngineChoice(connection, Parameters(window), archive).source_days(table)
                part.rollback()
            settling = DayRange(days.first, min(days.last + timedelta(days=settle_days), LAST_DAY))
            recorded = _recorded(connection, table, settling)
            never = (0, None)
            for d in settling:
                rows, at = recorded.get(d, never)
                (own if d in days else following)[d] = RolledUpDay(rows, at, counted.get(d, SourceDay()).rows)
        return reason_to_wait(
            own,
            following,
            hold_until=hold_until,
            now=now,
        )


def _reporting_days(connection: Connection, table: str, day: date, zone: ZoneInfo) -> list[DayRange]:
    """Return the days that can be rolled up among those that the rows of a day of the archive belong to."""
    if table == "api_usage":
        found = sql.SQL("SELECT DISTINCT {} FROM public.api_usage AS t WHERE {}")
        days = run(connection, found.format(USAGE_DAY, unit_condition(table, day))).scalars()
        return contiguous([day, *(d for d in days if d and FIRST_DAY <= d <= LAST_DAY)])
    start = datetime.combine(day, time.min, tzinfo=UTC)
    first, last = day_of(start, zone), day_of(start + timedelta(days=1, microseconds=-1), zone)
    return [DayRange(max(first, FIRST_DAY), min(last, LAST_DAY))]


def _recorded(connection: Connection, source: str, days: DayRange) -> dict[date, tuple[int, datetime | None]]:
    t = rollup_days.c
    found = select(t.row_day, t.rows, t.rolled_up_at).where(
        t.table_name == source, t.row_day.between(days.first, days.last)
    )
    return {day: (rows, at) for day, rows, at in connection.execute(found)}
