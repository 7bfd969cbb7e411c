"""Which days may leave the database. Pure: counts, times and settings are arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted

MIN_DAYS_BEYOND_SETTLING = 7
"""Counters of the present and reports that arrive late must never meet a day that is being archived."""

MAX_DAYS = 36_500
"""A century; beyond it days are no longer valid dates."""


@dataclass(frozen=True)
class RolledUpDay:
    """What a rollup knows of a source and reporting day, and what can be read of it now.

    Attributes:
        rows_recorded: Rows that the last rollup read.
        rolled_up_at: When that was; None where it never was.
        rows_now: Rows in the table and in the archive, each counted once.
    """

    rows_recorded: int
    rolled_up_at: datetime | None
    rows_now: int


def min_retention_days(settle_days: int) -> int:
    """Return the smallest number of days that rows must stay in their table."""
    return settle_days + MIN_DAYS_BEYOND_SETTLING


def require_days(days: int) -> int:
    """Return a number of days that rows can stay; raise InputError for more than a century."""
    if days > MAX_DAYS:
        msg = f"rows can stay for at most {MAX_DAYS:,} days, not {days:,}"
        raise InputError(msg)
    return days


def last_day_to_archive(today: date, *, retention_days: int, settle_days: int) -> date:
    """Return the newest day that is old enough.

    Args:
        today: UTC day that it is now.
        retention_days: Days that rows stay in their table.
        settle_days: Days after a day in which its messages may still change.

    Raises:
        InputError: Rows would have to leave while their numbers may still change, or would stay for ever.
    """
    require_days(retention_days)
    minimum = min_retention_days(settle_days)
    if retention_days < minimum:
        msg = f"rows must stay for at least {minimum} days (SMARTTEXT_SETTLE_DAYS + 7), not {retention_days}"
        raise InputError(msg)
    return today - timedelta(days=retention_days + 1)


def reason_to_wait(
    own: Mapping[date, RolledUpDay],
    following: Mapping[date, RolledUpDay],
    *,
    hold_until: datetime | None,
    now: datetime,
) -> str | None:
    """Return why the rows of a day may not be archived yet, or None when they may.

    Args:
        own: The reporting days that share an instant with the day.
        following: The reporting days of the settle window after it.
        hold_until: Until when rows that were restored stay.
        now: The database's clock.
    """
    if hold_until and hold_until > now:
        return f"restored, stays until {hold_until:%Y-%m-%d}"
    for day, known in sorted({**own, **following}.items()):
        if known.rolled_up_at is None:
            return f"{day} was never rolled up: smarttext rollup --date {day}"
    for day, known in sorted(own.items()):
        if known.rows_now > known.rows_recorded:
            new = known.rows_now - known.rows_recorded
            verb = "is" if new == 1 else "are"
            return f"{counted(new, 'row')} of {day} {verb} not rolled up: smarttext rollup --date {day}"
        if known.rows_now < known.rows_recorded:
            gone = known.rows_recorded - known.rows_now
            verb = "is missing that was" if gone == 1 else "are missing that were"
            return f"{counted(gone, 'row')} of {day} {verb} once rolled up"
    return None


def may_delete_unasked(*, is_embedded: bool, is_wanted: bool, has_archive_url: bool) -> bool:
    """Return whether a schedule may delete what it has verified.

    A laptop that looks at a production database must never become the only holder of its rows.
    """
    return is_embedded or (is_wanted and has_archive_url)
