"""Which days OpenAI is asked for. Pure: the clock is an argument.

A day is final 24 hours after its end at the earliest, and is asked for again once a day for a week, because OpenAI adds
to it and takes from it. Then it is settled.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from smarttext_pipelines.core.days import DayRange, day_end, day_of

UTC_ZONE = ZoneInfo("UTC")
"""OpenAI's days are those of UTC."""

FINAL_AFTER = timedelta(hours=24)
"""How long after its end a day is first asked for: OpenAI's costs are late by nature."""

ASKED_FOR = timedelta(days=7)
"""How long it is asked for again."""

PAUSE = timedelta(hours=12)
"""A day that was asked for within it is not asked for again, however often somebody starts a run."""

COMPARED_DAYS = 8
"""The newest final days, which are still asked for: those that the checks look at."""

MAX_DAYS_BACK = 31
_RETENTION_MARGIN = 2
"""Days of retention are those of the reporting zone, which begin up to a day later."""


def days_in_reach(now: datetime, retention_days: int) -> DayRange:
    """Return the final days whose recorded rows have not left their table yet, a month at most."""
    last = day_of(now - FINAL_AFTER, UTC_ZONE) - timedelta(days=1)
    count = min(MAX_DAYS_BACK, retention_days - _RETENTION_MARGIN)
    return DayRange(last - timedelta(days=count - 1), last)


def compared_days(now: datetime) -> DayRange:
    """Return the days that the checks look at."""
    last = day_of(now - FINAL_AFTER, UTC_ZONE) - timedelta(days=1)
    return DayRange(last - timedelta(days=COMPARED_DAYS - 1), last)


def is_settled(day: date, asked_at: datetime | None) -> bool:
    """Return whether a day was asked for after its week, so that it is asked for no more."""
    return asked_at is not None and asked_at >= day_end(day, UTC_ZONE) + FINAL_AFTER + ASKED_FOR


def is_due(day: date, asked_at: datetime | None, now: datetime) -> bool:
    """Return whether a day in reach is to be asked for now."""
    return not is_settled(day, asked_at) and (asked_at is None or now - asked_at >= PAUSE)


def due_days(now: datetime, reach: DayRange, asked: Mapping[date, datetime]) -> list[date]:
    """Return the days to ask for, in order.

    Args:
        now: Aware.
        reach: Result of ``days_in_reach``.
        asked: Day → when it was last asked for.
    """
    return [day for day in reach if is_due(day, asked.get(day), now)]
