"""Likely robocallers one by one, by key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.customers.robocallers import LIKELY, SUMS, Limits, Robocalls, known_days, query_values

_LISTED = text(
    f"""{LIKELY}
    SELECT customer_key, max(businesses) AS businesses, max(most_a_day) AS most_a_day,
           min(day) AS first_day, max(day) AS last_day, {SUMS}
    FROM theirs GROUP BY customer_key ORDER BY calls DESC, customer_key LIMIT :most
    """  # noqa: S608 - constants
)


@dataclass(frozen=True)
class Robocaller:
    """A likely robocaller in some days.

    Attributes:
        customer_key: Key of the number, 64 hexadecimal digits.
        businesses: The most businesses that it called within ``DAYS`` days.
        most_a_day: The most calls of one business on one of these days.
        first_day: First day on which it was one and did anything, and ``last_day`` the last one.
        robocalls: What it did on these days.
    """

    customer_key: str
    businesses: int
    most_a_day: int
    first_day: date
    last_day: date
    robocalls: Robocalls


def list_robocallers(
    connection: Connection,
    days: DayRange,
    limits: Limits,
    zone: ZoneInfo,
    business: UUID | None = None,
    most: int = 100,
) -> tuple[Sequence[Robocaller], frozenset[date]]:
    """Return likely robocallers, those with the most calls first, and the days of which they are unknown.

    Args:
        connection: A connection to the event database.
        days: The days.
        limits: From where on a number is one.
        zone: Reporting zone.
        business: Only what they did to this business.
        most: How many at most.
    """
    known = known_days(connection, days, zone)
    values = query_values(known, days, limits, business) | {"most": most}
    counts = [name for name in Robocalls.__dataclass_fields__ if name not in ("callers", "businesses")]
    found = [
        Robocaller(
            **{name: row[name] for name in ("customer_key", "businesses", "most_a_day", "first_day", "last_day")},
            robocalls=Robocalls(callers=1, businesses=row["businesses"], **{name: row[name] for name in counts}),
        )
        for row in (connection.execute(_LISTED, values).mappings() if known else ())
    ]
    return found, frozenset({*days} - set(known))
