"""Which files may hold rows of a window: days of the archive, and current files of the lake."""

from collections.abc import Collection
from datetime import UTC, timedelta

from sqlalchemy import Connection

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, DayRange
from smarttext_pipelines.lake.current_files import current_files
from smarttext_pipelines.lake.lake_manifest import LakeFile, find_files
from smarttext_pipelines.metrics import Window

FIRST_WHOLE, LAST_WHOLE = FIRST_DAY + timedelta(days=2), LAST_DAY - timedelta(days=2)
"""Days whose rows all count as timed, in any zone; of others the lake may hold a part."""


def archive_days(window: Window) -> DayRange:
    """Return the days of the archive, days of UTC, that share an instant with a window and its neighbours."""
    near = window.days.widen(window.settle_days)
    start, end = window.search_start_at.astimezone(UTC).date(), window.search_end_at.astimezone(UTC).date()
    return DayRange(min(start, near.first), max(end, near.last))


def lake_files_near(connection: Connection, tables: Collection[str], window: Window) -> list[LakeFile]:
    """Return the files of the lake that hold, as it is now, a day whose rows may belong to the window."""
    found = []
    for table in tables:
        days = set(archive_days(window))
        if window.usage_by_time and table == "api_usage":
            # Its day is reset_date, of which the time of a row may be any number of days away.
            files = find_files(connection, tables=[table])
            days |= {f.day for f in files if _has_time_within(f, window)}
        found += current_files(connection, table, {day for day in days if FIRST_WHOLE <= day <= LAST_WHOLE})
    return found


def is_range(window: Window) -> bool:
    """Return whether several days are computed: copying what is around a single day costs more than its statement."""
    return len(window.days) > 1


def holds_most(files: Collection[LakeFile], window: Window) -> bool:
    """Return whether the lake holds at least half of the days whose rows may belong to a window."""
    days = archive_days(window)
    return 2 * len({f.day for f in files if f.day in days}) >= len(days)


def _has_time_within(file: LakeFile, window: Window) -> bool:
    oldest, newest = file.oldest_event_at, file.newest_event_at
    return (
        oldest is not None and newest is not None and oldest < window.search_end_at and newest >= window.search_start_at
    )
