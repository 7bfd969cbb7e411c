"""Which days are frozen, because the events they were computed from are no longer all there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class DayRecord:
    """What ``rollup_days`` knows of a source and day.

    Attributes:
        rows: Rows that were once there.
        was_read: Whether a rollup read them.
        was_settled: Whether that was after the settle window, so that the day waits for nothing more.
    """

    rows: int
    was_read: bool = False
    was_settled: bool = False


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
    short_elsewhere: Iterable[date] = (),
) -> set[date]:
    """Return the days that must not be computed again.

    Args:
        days: Days that are requested.
        live: Rows of the source that can still be read, by day.
        recorded: What was once read, by day.
        stored: Days with stored counts above zero.
        neighbour_days: How far rows of other days change a day; 0 for a source whose days are independent.
        short_elsewhere: Days of which another source that is looked up has lost rows.

    Returns:
        Days with stored counts and no row left; days with fewer rows than recorded; and settled days without new rows
        near which rows that were once read are gone. A day that is not settled, or has new rows, is computed from what
        there is: keeping it would freeze it at a reading that was too early.
    """
    short, counted = short_days(live, recorded), set(stored)
    lost = {day for day in short if recorded[day].was_read} | set(short_elsewhere)

    def keeps(day: date) -> bool:
        if day in short or (day in counted and not live.get(day, 0)):
            return True
        record = recorded.get(day)
        if record is None or not record.was_settled or live.get(day, 0) > record.rows:
            return False
        near = (day + timedelta(days=n) for n in range(-neighbour_days, neighbour_days + 1))
        return any(other in lost for other in near)

    return {day for day in days if keeps(day)}
