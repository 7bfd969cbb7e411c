"""Which days a scheduled rollup computes. Pure: the complete days and today are arguments."""

from collections.abc import Collection
from datetime import date, timedelta

from smarttext_pipelines.core.days import DayRange

MAX_DAYS_BACK = 31
"""How far back an outage is caught up without anybody asking; older days are a backfill."""


def nightly_days(
    today: date, *, settle_days: int, complete: Collection[date], first_partition: date
) -> DayRange | None:
    """Return the days of the nightly rollup, in one range that ends yesterday.

    Args:
        today: Reporting day on which the schedule ticks.
        settle_days: Days after a day in which its messages may still change.
        complete: Days whose every table was rolled up after the day had ended.
        first_partition: Days before it do not exist.

    Returns:
        From the first day that is not complete (at most ``MAX_DAYS_BACK`` back), but no later than yesterday −
        ``settle_days``; None before the first partition is over.
    """
    yesterday = today - timedelta(days=1)
    if yesterday < first_partition:
        return None
    recent = DayRange(max(first_partition, today - timedelta(days=MAX_DAYS_BACK)), yesterday)
    settling = max(recent.first, yesterday - timedelta(days=settle_days))
    return DayRange(min([settling, *(day for day in recent if day not in complete)]), yesterday)
