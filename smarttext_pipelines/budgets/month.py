"""What the month has cost so far, and what it will cost at this pace, from ``monitoring.spend``."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

_SPENT = text(
    """
    SELECT coalesce(sum(cost_usd), 0) AS month_usd, coalesce(sum(unpriced_requests), 0)::bigint AS unpriced_requests,
           (SELECT count(*) FROM monitoring.rollup_days WHERE table_name = 'api_usage' AND rolled_up_at IS NOT NULL
                AND row_day BETWEEN date_trunc('month', CAST(:day AS date))::date AND :day) AS days
    FROM monitoring.spend WHERE day BETWEEN date_trunc('month', CAST(:day AS date))::date AND :day
    """
)


@dataclass(frozen=True)
class MonthSpend:
    """The month up to a day, included.

    Attributes:
        month_usd: Cost of the days that were rolled up.
        unpriced_requests: Requests without a price, which ``month_usd`` lacks.
        days_missing: Days that were not rolled up, which ``month_usd`` lacks, too.
        expected_usd: At the month's end, at the pace of the month so far; None while a day is missing or not over.
    """

    month_usd: Decimal
    unpriced_requests: int
    days_missing: int
    expected_usd: Decimal | None


def read_month(connection: Connection, day: date, *, is_over: bool) -> MonthSpend:
    """Return what the month has cost up to a day.

    Args:
        connection: A connection to the event database.
        day: Last day, included.
        is_over: Whether it was read after its end; a part of a day says nothing about the pace.
    """
    row = connection.execute(_SPENT, {"day": day}).one()
    missing = day.day - row.days
    expected = None if missing or not is_over else row.month_usd / day.day * _days_of_month(day)
    return MonthSpend(row.month_usd, row.unpriced_requests, missing, expected)


def _days_of_month(day: date) -> int:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (following - date(day.year, day.month, 1)).days
