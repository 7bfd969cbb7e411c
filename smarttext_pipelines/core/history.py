"""Which days keep their numbers, because the events they were computed from are no longer all there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class DayRecord:
    """What ``rollup_days`` knows of a source and day: rows once there, and whether a rollup ever read some."""

    rows: int
    was_read: bool


def short_days(live: Mapping[date, int], recorded: Mapping[date, DayRecord]) -> set[date]:
    """Return the days of which fewer rows are left than were once known."""
    return {day for day, record in recorded.items() if live.get(day, 0) < record.rows}


def days_to_keep(
    days: Iterable[date],
    *,
    live: Mapping[date, int],
    recorded: Mapping[date, DayRecord],
    stored: Iterable[date],
    neighbour_days: int,
) -> set[date]:
    """Return the days that must not be computed again.

    Args:
        days: Days that are asked for.
        live: Rows of the source that can still be read, by day.
        recorded: What was once read, by day.
        stored: Days with stored counts above zero.
        neighbour_days: How far rows of other days change a day; 0 for a source whose days stand alone.

    Returns:
        Days with stored counts and no row left, days with fewer rows than recorded, and days that were computed when
        a neighbour that has lost rows since was still complete.
    """
    short, counted = short_days(live, recorded), set(stored)
    read = {day for day, record in recorded.items() if record.was_read}

    def keeps(day: date) -> bool:
        if day in short or (day in counted and not live.get(day, 0)):
            return True
        near = (day + timedelta(days=n) for n in range(-neighbour_days, neighbour_days + 1))
        return day in read and any(other in short & read for other in near)

    return {day for day in days if keeps(day)}
