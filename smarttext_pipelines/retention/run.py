"""A run over tables and days: bounded in rows and minutes, so that the rollup never waits long; the next goes on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from smarttext_pipelines.archive.columns import TIME_COLUMNS, is_table
from smarttext_pipelines.archive.manifest import Segment, name_day
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.archive.units import require_archived
from smarttext_pipelines.core.errors import ArchiveError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.retention.candidates import Candidate, count_unholdable, find_candidates, find_undated, why_not
from smarttext_pipelines.retention.policy import last_day_to_archive
from smarttext_pipelines.retention.protocol import SEGMENT_ROWS, archive_rows, finish_interrupted

MAX_ROWS = 5_000_000
MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class Retention:
    """What a run may do.

    Attributes:
        zone: Reporting zone.
        settle_days: Days in which messages of a day may still change.
        retention_days: Days that rows stay in their table.
        deletes: Whether rows are deleted once they are verified.
        tables: Which tables.
        max_rows: Rows after which the run ends.
        max_seconds: Seconds after which it ends.
        undated: Whether only undated rows are archived; only a person asks for that.
    """

    zone: ZoneInfo
    settle_days: int
    retention_days: int
    deletes: bool
    tables: Sequence[str] = tuple(TIME_COLUMNS)
    max_rows: int = MAX_ROWS
    max_seconds: float = MAX_SECONDS
    undated: bool = False

    def __post_init__(self) -> None:
        """Refuse a table that is not archived."""
        for table in self.tables:
            require_archived(table)


@dataclass
class DayDone:
    """What a run did to a table and day.

    Attributes:
        table: The table.
        day: Day of the archive.
        rows_live: Rows that were live before.
        segments: Segments that were verified, or deleted.
        waits: Why nothing, or no more, was done; None when the day is done.
        rows_left: Rows that no file can hold exactly, and that stay.
        failure: The error that stopped the table.
    """

    table: str
    day: date
    rows_live: int
    segments: list[Segment] = field(default_factory=list)
    waits: str | None = None
    rows_left: int = 0
    failure: str | None = None

    @property
    def rows_archived(self) -> int:
        """Rows in the files."""
        return sum(s.rows or 0 for s in self.segments)

    @property
    def rows_deleted(self) -> int:
        """Rows that were deleted."""
        return sum(s.deleted_rows or 0 for s in self.segments)

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(s.bytes or 0 for s in self.segments)

    @property
    def ratio(self) -> float | None:
        """How many times larger the rows are in memory; None without a file."""
        size = sum(s.uncompressed_bytes or 0 for s in self.segments)
        return round(size / self.bytes, 2) if self.bytes else None


Done = Callable[[DayDone], None]


@dataclass(frozen=True)
class DayPlanned:
    """What a run would do to a table and day.

    Attributes:
        table: The table.
        day: Day of the archive.
        rows_live: Rows that are live.
        rows: Rows that would be archived and deleted.
        rows_left: Rows that no file can hold exactly, and that would stay.
        waits: Why nothing would be done; None when something would.
        failure: The error that would stop the table.
    """

    table: str
    day: date
    rows_live: int
    rows: int = 0
    rows_left: int = 0
    waits: str | None = None
    failure: str | None = None


def plan(database: Engine, archive: ArchiveTarget, retention: Retention) -> list[DayPlanned]:
    """Return what a run would do now, within its bound of rows, and change nothing."""
    results: list[DayPlanned] = []
    failed: set[str] = set()
    for candidate in _candidates(database, retention):
        budget = retention.max_rows - sum(r.rows for r in results)
        if candidate.table in failed or budget <= 0:
            continue
        result = _plan_day(database, archive, retention, candidate, budget)
        if result.failure:
            failed.add(candidate.table)
        results.append(result)
    return results


def _plan_day(
    database: Engine, archive: ArchiveTarget, retention: Retention, candidate: Candidate, budget: int
) -> DayPlanned:
    table, day = candidate.table, candidate.day
    planned = DayPlanned(table, day, candidate.rows)
    try:
        waits = why_not(database, archive, table, day, zone=retention.zone, settle_days=retention.settle_days)
    except ArchiveError as error:
        return replace(planned, failure=str(error))
    if waits is not None:
        return replace(planned, waits=waits)
    with connected(database) as connection:
        left = count_unholdable(connection, table, day)
    # A run ends between two segments.
    bound = -(-budget // SEGMENT_ROWS) * SEGMENT_ROWS
    return replace(planned, rows=min(candidate.rows - left, bound), rows_left=left)


def archive_days(
    database: Engine, archive: ArchiveTarget, retention: Retention, *, done: Done, begun: Callable[[int], None]
) -> list[DayDone]:
    """Archive what is old enough, and delete it where that is allowed.

    Args:
        database: Result of ``open_engine``.
        archive: Where the files go.
        retention: What may be done.
        done: Called with each day.
        begun: Called with the number of days to look at.

    Returns:
        What was done to each day. A table that fails is left as it is, and the others go on; see ``raise_failures``.
    """
    clock = time.monotonic()
    candidates = _candidates(database, retention)
    begun(len(candidates))
    results: list[DayDone] = []
    failed: set[str] = set()
    for candidate in candidates:
        budget = retention.max_rows - sum(r.rows_archived for r in results)
        if candidate.table in failed or budget <= 0 or time.monotonic() - clock > retention.max_seconds:
            continue
        result = _archive_day(database, archive, retention, candidate, budget, clock + retention.max_seconds)
        if result.failure:
            failed.add(candidate.table)
        results.append(result)
        done(result)
    return results


def raise_failures(results: Sequence[DayDone | DayPlanned]) -> None:
    """Raise ArchiveError with the first failure and the number of others; nothing was deleted where it failed."""
    failed = [r for r in results if r.failure]
    if failed:
        others = f" ({counted(len(failed) - 1, 'more table')} failed)" if len(failed) > 1 else ""
        msg = f"{failed[0].table}, {name_day(failed[0].day)}: {failed[0].failure}{others}"
        raise ArchiveError(msg)


def _candidates(database: Engine, retention: Retention) -> list[Candidate]:
    last = last_day_to_archive(
        datetime.now(UTC).date(), retention_days=retention.retention_days, settle_days=retention.settle_days
    )
    with connected(database) as connection:
        tables = [table for table in retention.tables if is_table(connection, table)]
        if retention.undated:
            return [c for table in tables for c in find_undated(connection, table)]
        return [c for table in tables for c in find_candidates(connection, table, last)]


def _archive_day(
    database: Engine, archive: ArchiveTarget, retention: Retention, candidate: Candidate, budget: int, until: float
) -> DayDone:
    table, day = candidate.table, candidate.day
    result = DayDone(table, day, candidate.rows)
    with locked_day(database, table, day) as connection:
        try:
            waiting = finish_interrupted(connection, archive, table, day)
            result.waits = why_not(
                database, archive, table, day, zone=retention.zone, settle_days=retention.settle_days
            )
            if result.waits is None:
                for segment in archive_rows(
                    connection, archive, table, day, waiting=waiting, deletes=retention.deletes, max_rows=budget
                ):
                    result.segments.append(segment)
                    if time.monotonic() > until:
                        break
                with connection.begin():
                    result.rows_left = count_unholdable(connection, table, day)
        except ArchiveError as error:
            result.failure = str(error)
    return result
