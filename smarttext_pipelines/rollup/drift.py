"""Compare what sources hold now with what rollups once read."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import EngineChoice, Parameters, SourceDay
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.schema.installation import counts_usage_by_time
from smarttext_pipelines.schema.tables.internal import rollup_days

SourceDays = dict[tuple[str, date], SourceDay]


@dataclass(frozen=True)
class ChangedDay:
    """A source and day that has rows which the last rollup did not read."""

    day: date
    source: str
    rows: int
    recorded: int

    def __str__(self) -> str:
        """Return the reason to roll the day up again."""
        return f"{self.source} has {self.rows} rows, {self.recorded} were read"


def readable_days(connection: Connection, days: DayRange, zone: ZoneInfo, archive: ArchiveTarget | None) -> SourceDays:
    """Return what every source and its archive hold now, by source and day; days without rows are left out."""
    by_time = counts_usage_by_time(connection)
    window = Window(days=days, zone=zone, settle_days=0, as_of=datetime.now(UTC), usage_by_time=by_time)
    choice = EngineChoice(connection, Parameters(window), archive)
    return {(source, day): found for source in SOURCE_TIMES for day, found in choice.source_days(source).items()}


def recorded_days(connection: Connection, days: DayRange) -> SourceDays:
    """Return what rollups read, by source and day."""
    t = rollup_days.c
    columns = select(t.table_name, t.row_day, t.rows, t.newest_event_at)
    within = columns.where(t.table_name.in_(SOURCE_TIMES), t.row_day.between(days.first, days.last))
    return {(name, day): SourceDay(rows, newest) for name, day, rows, newest in connection.execute(within)}


def changed_days(
    connection: Connection, days: DayRange, zone: ZoneInfo, archive: ArchiveTarget | None = None
) -> list[ChangedDay]:
    """Return where rows were added since the last rollup; rows that have gone ask for nothing.

    A row that was changed in place is not seen; the nightly settle window covers it.
    """
    recorded = recorded_days(connection, days)

    def is_changed(key: tuple[str, date], live: SourceDay) -> bool:
        read = recorded.get(key, SourceDay())
        return live.rows > read.rows or (live.rows == read.rows and live.newest_event_at != read.newest_event_at)

    live = readable_days(connection, days, zone, archive)
    return [
        ChangedDay(day, source, found.rows, recorded.get((source, day), SourceDay()).rows)
        for (source, day), found in sorted(live.items())
        if is_changed((source, day), found)
    ]
