"""Reporting days: calendar days of one IANA zone and the instants at which they begin and end.

A day lasts 23, 23.5, 24, 24.5 or 25 hours; all instants are aware and in UTC. The clock is never read here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from smarttext_pipelines.core.errors import InputError, SettingsError

FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 12, 31)
"""Days that can be requested: a time outside belongs to no day, and the days around them are still valid dates."""


FIRST_INSTANT, LAST_INSTANT = datetime(2000, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
"""Times from the first until before the last belong to a day that can be requested."""


def require_day(day: date) -> date:
    """Return the day if it can be requested; raise InputError otherwise."""
    if not FIRST_DAY <= day <= LAST_DAY:
        msg = f"{day} is out of reach; write a day from {FIRST_DAY} to {LAST_DAY}"
        raise InputError(msg)
    return day


def load_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name such as ``America/New_York``; raise SettingsError for anything else."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"'{name}' is no IANA time zone; set SMARTTEXT_REPORTING_TIMEZONE to one such as America/New_York"
        raise SettingsError(message) from error


def day_of(at: datetime, zone: ZoneInfo) -> date:
    """Return the reporting day that an aware instant belongs to."""
    return at.astimezone(zone).date()


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant (UTC) of a reporting day, also where the clock skips midnight (PEP 495, fold 0)."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def day_end(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant (UTC) that no longer belongs to the day."""
    return day_start(day + timedelta(days=1), zone)


def weeks_before(at: datetime, weeks: int, zone: ZoneInfo) -> datetime:
    """Return the instant (UTC) that many weeks earlier, at the same local time."""
    there = at.astimezone(zone)
    return datetime.combine(there.date() - timedelta(weeks=weeks), there.time(), zone).astimezone(UTC) if weeks else at


def is_final(day: date, zone: ZoneInfo, settle_days: int, at: datetime) -> bool:
    """Return whether the settle window of a day is over, so that late delivery reports no longer change it."""
    return at >= day_end(day + timedelta(days=settle_days), zone)


@dataclass(frozen=True, order=True)
class DayRange:
    """Consecutive reporting days, both ends included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        """Refuse a range that ends before it starts."""
        if self.last < self.first:
            msg = f"the range ends on {self.last}, before it starts on {self.first}; swap the two dates"
            raise InputError(msg)

    def __iter__(self) -> Iterator[date]:
        """Yield the days in order."""
        return (self.first + timedelta(days=n) for n in range(len(self)))

    def __len__(self) -> int:
        """Return the number of days."""
        return (self.last - self.first).days + 1

    def __contains__(self, day: object) -> bool:
        """Return whether a day is in the range."""
        return isinstance(day, date) and self.first <= day <= self.last

    def __str__(self) -> str:
        """Return ``2026-01-31`` or ``2026-01-01 … 2026-01-31``."""
        return str(self.first) if self.first == self.last else f"{self.first} … {self.last}"

    def widen(self, days: int) -> "DayRange":
        """Return the range with that many days added at both ends."""
        return DayRange(self.first - timedelta(days=days), self.last + timedelta(days=days))


def contiguous(days: Iterable[date]) -> list[DayRange]:
    """Return the days as ranges without gaps, in order."""
    ranges: list[DayRange] = []
    for day in sorted(set(days)):
        if ranges and day == ranges[-1].last + timedelta(days=1):
            ranges[-1] = DayRange(ranges[-1].first, day)
        else:
            ranges.append(DayRange(day, day))
    return ranges
