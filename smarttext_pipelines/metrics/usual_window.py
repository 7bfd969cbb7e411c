"""One window for all of a shape: an expression is built over it once, and its times are moved to those of another.

Building and compiling take seconds, which is most of what a day of few rows costs. Two windows of one shape differ in
days, zone and time of reading alone, and every time in an expression is a day near their first or their last one,
less than half a day from the beginning of such a day, or as far from the time of reading.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from smarttext_pipelines.core.days import DayRange, day_start

if TYPE_CHECKING:
    from smarttext_pipelines.metrics.metric import Window

W = TypeVar("W", bound="Window")
_FIRST, _LAST = date(9100, 1, 1), date(9120, 1, 1)
_READ_AT = datetime(9110, 1, 1, tzinfo=UTC)
_NEAR = timedelta(days=1000)
"""How far from one of these three the times of a window can be; others are constants."""

_HALF_A_DAY = timedelta(hours=12)
_ZONE = ZoneInfo("UTC")


def usual(window: W) -> W:
    """Return the window over which expressions of its shape are built."""
    days = DayRange(_FIRST, _FIRST if len(window.days) == 1 else _LAST)
    return replace(window, days=days, zone=_ZONE, as_of=_READ_AT)


def moved(value: date, window: "Window") -> date:
    """Return the time of a window for one that an expression over ``usual(window)`` holds.

    Args:
        value: A date, or an instant.
        window: The window to move it to.
    """
    if not isinstance(value, datetime):
        return _moved_day(value, window)
    if abs(value - _READ_AT) <= _NEAR:
        return window.as_of + (value - _READ_AT)
    day = (value + _HALF_A_DAY).date()
    moved_day = _moved_day(day, window)
    return value if moved_day == day else day_start(moved_day, window.zone) + (value - day_start(day, _ZONE))


def _moved_day(day: date, window: "Window") -> date:
    for usual_day, its_day in ((_FIRST, window.days.first), (_LAST, window.days.last)):
        if abs(day - usual_day) <= _NEAR:
            return its_day + (day - usual_day)
    return day
