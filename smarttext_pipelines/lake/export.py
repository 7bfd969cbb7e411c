"""Bring days into the lake: those that have no file, and those whose rows are no longer what their file was made of."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, Engine

from smarttext_pipelines.archive.columns import TIME_COLUMNS
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.units import require_archived
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.lake.current_files import is_current
from smarttext_pipelines.lake.lake_day import Places, remove_unfinished, write_lake_day
from smarttext_pipelines.lake.lake_days import DayRows, rows_by_day
from smarttext_pipelines.lake.lake_manifest import find_files

KEPT_AFTER_REPLACEMENT = timedelta(days=1)
"""How long a replaced file stays, for a query that began before it was replaced."""


@dataclass(frozen=True)
class DayExported:
    """What became of a table and day.

    Attributes:
        table: The table.
        day: Day of the lake.
        rows: Rows in its file now; 0 where no row is left, and then it has no file.
        bytes: Size of the file.
        failure: Why it was not written; None when it was.
    """

    table: str
    day: date
    rows: int = 0
    bytes: int = 0
    failure: str | None = None


def export_days(
    database: Engine,
    places: Places,
    days: DayRange,
    *,
    tables: Sequence[str] = tuple(TIME_COLUMNS),
    again: bool = False,
    begun: Callable[[int], None] = lambda _days: None,
    done: Callable[[DayExported], None] = lambda _day: None,
) -> list[DayExported]:
    """Write the days that have no current file; one that fails does not keep the others from being written.

    Args:
        database: Result of ``open_engine``.
        places: Where files are.
        days: Days of the lake; a day that is not over is written again later.
        tables: Tables to write.
        again: Whether days are written that have a current file, too, as one that was damaged since.
        begun: Called with the number of tables and days to write.
        done: Called with each.

    Raises:
        InputError: A table is none of the event tables.
        DatabaseError: The database cannot be used.
    """
    for table in tables:
        require_archived(table)
    with connected(database) as connection:
        due = [(table, day) for table in tables for day in due_days(connection, table, days, again=again)]
        old = _replaced_long_ago(connection, tables)
    begun(len(due))
    for table, day in old - set(due):
        with locked_day(database, table, day) as connection:
            remove_unfinished(connection, places.lake, table, day)
    results = []
    for table, day in due:
        result = _export(database, places, table, day)
        done(result)
        results.append(result)
    return results


def due_days(connection: Connection, table: str, days: DayRange, *, again: bool = False) -> list[date]:
    """Return the days whose file is missing, was made of other rows, or was begun and not finished; else every day."""
    with connection.begin():
        now = rows_by_day(connection, table, days)
        files = {file.day: file for file in find_files(connection, tables=[table], days=days)}
    stale = {
        day for day, file in files.items() if again or file.planned_key or not is_current(file, now.get(day, DayRows()))
    }
    return sorted(stale | (now.keys() - files.keys()))


def raise_failures(results: Collection[DayExported]) -> None:
    """Raise ArchiveError when a day was not written."""
    failed = [r for r in results if r.failure]
    if failed:
        first = failed[0]
        msg = f"{counted(len(failed), 'day')} not exported, such as {first.table}, {first.day}: {first.failure}"
        raise ArchiveError(msg)


def _export(database: Engine, places: Places, table: str, day: date) -> DayExported:
    try:
        with locked_day(database, table, day) as connection:
            file = write_lake_day(connection, places, table, day)
    except ArchiveError as error:
        return DayExported(table, day, failure=str(error))
    return DayExported(table, day, (file.rows or 0) if file else 0, (file.bytes or 0) if file else 0)


def _replaced_long_ago(connection: Connection, tables: Collection[str]) -> set[tuple[str, date]]:
    before = datetime.now(UTC) - KEPT_AFTER_REPLACEMENT
    with connection.begin():
        files = find_files(connection, tables=tables)
    return {
        (f.table_name, f.day) for f in files if f.replaced_key and (f.exported_at is None or f.exported_at < before)
    }
