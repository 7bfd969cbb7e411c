"""Which files of the lake hold exactly the rows that there are now, live and archived: only these are read.

Asked in the transaction that reads the rest, so that a row that arrived after an export is never missing in a number.
"""

from collections.abc import Collection
from datetime import date

from sqlalchemy import Connection

from smarttext_pipelines.archive.columns import TIME_COLUMNS
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.lake.lake_days import DayRows, rows_by_day
from smarttext_pipelines.lake.lake_manifest import LakeFile, find_files
from smarttext_pipelines.settings import load_settings


def lake_files_of(
    connection: Connection, table: str, days: DayRange | Collection[date], *, place: str | None = None
) -> list[tuple[date, str]]:
    """Return the days that can be read from the lake, with the URL of the one file of each, in order.

    A day without a current file is left out; its rows are read from where they are. The day is the lake's: that of UTC,
    for ``api_usage`` its ``reset_date`` where there is one.

    Args:
        connection: The transaction that reads the rest.
        table: One of the event tables.
        days: Days of the lake.
        place: URL of the lake as the reader names it; default is SMARTTEXT_LAKE_SPARK_URL, else SMARTTEXT_LAKE_URL.
    """
    if place is None:
        place = load_settings().lake_spark_location
    if place is None:
        return []
    files = current_files(connection, table, days)
    return [(file.day, f"{place.rstrip('/')}/{file.file[0]}") for file in files]


def lake_rows_of(connection: Connection, table: str, days: Collection[date]) -> dict[date, int]:
    """Return how many rows the files of days hold: a reader that cannot hash them must find as many."""
    files = find_files(connection, tables=[table], days=_range(days)) if days else []
    return {f.day: int(f.rows or 0) for f in files if f.key is not None and f.day in days}


def current_files(connection: Connection, table: str, days: DayRange | Collection[date]) -> list[LakeFile]:
    """Return the files of the days that hold every row there is now, in order."""
    wanted = _range(days)
    if table not in TIME_COLUMNS or wanted is None:
        return []
    files = [f for f in find_files(connection, tables=[table], days=wanted) if f.key is not None and f.day in days]
    if not files:
        return []
    now = rows_by_day(connection, table, DayRange(files[0].day, files[-1].day))
    return [f for f in files if is_current(f, now.get(f.day, DayRows()))]


def is_current(file: LakeFile, now: DayRows) -> bool:
    """Return whether a file was made of as many rows as there are now, and of the newest of them."""
    return file.key is not None and (file.source_rows, file.newest_event_at) == (now.rows, now.newest_at)


def _range(days: DayRange | Collection[date]) -> DayRange | None:
    if isinstance(days, DayRange):
        return days
    return DayRange(min(days), max(days)) if days else None
