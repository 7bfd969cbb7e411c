"""Likely robocallers: who calls many businesses, or one of them all day; counted apart, nothing else changes.

A number is one on a day if, in the seven days that end with it, it called many businesses, or one business too often
on a day. So a day is judged when its seven days were rolled up, and later days never change it. Numbers are known by
their keys; callers without a number are none, and calls of no business do not say what a number is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.customers.customer_totals import sums_of
from smarttext_pipelines.database.rolled_up_days import complete_days

DAYS = 7
"""Days, the last one included, whose calls say what a number is."""

LIKELY = """
    WITH candidates AS (
        -- Nearly all numbers call one business: the few that can be one at all are looked at by day.
        SELECT customer_key FROM (
            SELECT customer_key, max(calls_total) AS most_a_day FROM monitoring.customer_days
            WHERE day BETWEEN :since AND :last AND calls_total > 0
                AND customer_key IS NOT NULL AND business_id IS NOT NULL
                AND (CAST(:business AS uuid) IS NULL OR customer_key IN (
                    SELECT customer_key FROM monitoring.customer_days
                    WHERE business_id = :business AND day = ANY (CAST(:days AS date[]))))
            GROUP BY customer_key, business_id
        ) AS b GROUP BY customer_key HAVING count(*) >= :businesses OR max(most_a_day) > :daily_calls
    ), called AS (
        SELECT d.customer_key, d.day, d.business_id, d.calls_total
        FROM monitoring.customer_days AS d JOIN candidates AS c ON c.customer_key = d.customer_key
        WHERE d.day BETWEEN :since AND :last AND d.business_id IS NOT NULL AND d.calls_total > 0
    ), likely AS (
        SELECT c.customer_key, a.day, count(DISTINCT c.business_id) AS businesses, max(c.calls_total) AS most_a_day
        FROM called AS c
        JOIN unnest(CAST(:days AS date[])) AS a (day) ON a.day BETWEEN c.day AND c.day + :before
        GROUP BY c.customer_key, a.day
        HAVING count(DISTINCT c.business_id) >= :businesses OR max(c.calls_total) > :daily_calls
    ), prices AS (
        SELECT s.day, s.business_id, s.usd / t.texts AS usd
        FROM (
            SELECT day, business_id, sum(cost_usd) AS usd FROM monitoring.spend
            WHERE day = ANY (CAST(:days AS date[])) AND service = 'twilio' AND endpoint NOT LIKE '%fee%'
            GROUP BY day, business_id
        ) AS s JOIN (
            SELECT date, business_id, sum(messages_sent - coalesce(sms_suppressed_count, 0)) AS texts
            FROM public.daily_stats WHERE date = ANY (CAST(:days AS date[])) GROUP BY date, business_id
        ) AS t ON t.date = s.day AND coalesce(t.business_id, :nobody) = coalesce(s.business_id, :nobody)
        WHERE t.texts > 0
    ), theirs AS (
        SELECT d.*, l.businesses, l.most_a_day, d.messages_sent - d.sms_suppressed_count AS texts_paid,
               (d.messages_sent - d.sms_suppressed_count) * p.usd AS texts_usd
        FROM likely AS l
        JOIN monitoring.customer_days AS d ON d.customer_key = l.customer_key AND d.day = l.day
        LEFT JOIN prices AS p
            ON p.day = d.day AND coalesce(p.business_id, :nobody) = coalesce(d.business_id, :nobody)
        WHERE (CAST(:business AS uuid) IS NULL OR d.business_id = :business)
            AND (NOT :unattributed OR d.business_id IS NULL)
    )
"""
"""Tables of a statement: ``likely``, the numbers by day; ``theirs``, their rows with the price of their texts."""

SUMS = f"""
    {sums_of(("calls", "missed", "in_time", "late", "never", "unknown"))},
    sum(messages_sent)::bigint AS texts, sum(openai_cost_estimate) AS openai_usd,
    CASE WHEN bool_and(texts_paid = 0 OR texts_usd IS NOT NULL)
        THEN coalesce(sum(texts_usd) FILTER (WHERE texts_paid > 0), 0) END AS texts_usd
"""
_COUNTED = text(
    f"""{LIKELY}
    SELECT day, business_id, b.name AS business,
           grouping(t.day) = 0 AS is_of_day, grouping(t.business_id) = 0 AS is_of_business,
           count(DISTINCT t.customer_key) AS callers,
           count(DISTINCT t.business_id) FILTER (WHERE t.calls_total > 0) AS businesses, {SUMS}
    FROM theirs AS t LEFT JOIN monitoring.business_names AS b ON b.id = t.business_id
    GROUP BY GROUPING SETS ((t.day, t.business_id, b.name), (t.business_id, b.name), ())
    ORDER BY calls DESC, business, t.business_id
    """  # noqa: S608 - constants
)
_NOBODY = UUID(int=0)


@dataclass(frozen=True)
class Limits:
    """From where on a number is a likely robocaller.

    Attributes:
        businesses: Businesses called within ``DAYS`` days, this many or more.
        daily_calls: Calls of one business on one day, more than this.
    """

    businesses: int = 5
    daily_calls: int = 20


LIMITS = Limits()


@dataclass(frozen=True)
class Robocalls:
    """What likely robocallers did, and what was done for them.

    Attributes:
        callers: Numbers.
        businesses: Businesses that they called.
        calls: Calls; ``missed`` of them were missed, and answered ``in_time``, ``late``, ``never`` or ``unknown``.
        texts: Texts attempted to them.
        texts_usd: Their share of the recorded price of each business's texts of the day; None where none is recorded.
        openai_usd: Recorded cost of the OpenAI requests that their texts caused.
    """

    callers: int = 0
    businesses: int = 0
    calls: int = 0
    missed: int = 0
    in_time: int = 0
    late: int = 0
    never: int = 0
    unknown: int = 0
    texts: int = 0
    texts_usd: Decimal | None = Decimal(0)
    openai_usd: Decimal = Decimal(0)

    @property
    def usd(self) -> Decimal | None:
        """What they cost: texts and OpenAI; None where the price of texts is not known."""
        return None if self.texts_usd is None else self.texts_usd + self.openai_usd


@dataclass(frozen=True)
class RobocallsOfDays:
    """Likely robocallers of some days.

    Attributes:
        total: Of the days that are known.
        unknown_days: Days of which nothing is known: one of their seven days was not rolled up after it had ended.
        by_business: The same by business with its name, the most calls first; ``(no business)`` is the name of none.
        by_row: The same by day and business.
    """

    total: Robocalls = field(default_factory=Robocalls)
    unknown_days: frozenset[date] = frozenset()
    by_business: Sequence[tuple[str, Robocalls]] = ()
    by_row: Mapping[tuple[date, UUID | None], Robocalls] = field(default_factory=dict)

    def of(self, day: date, business: UUID | None) -> Robocalls | None:
        """Return those of a day and business; None where they are unknown."""
        return None if day in self.unknown_days else self.by_row.get((day, business), Robocalls())


def read_robocalls(
    connection: Connection,
    days: DayRange,
    limits: Limits,
    zone: ZoneInfo,
    *,
    business: UUID | None = None,
    unattributed: bool = False,
) -> RobocallsOfDays:
    """Return what likely robocallers did, in one statement whatever the number of businesses.

    Args:
        connection: A connection to the event database.
        days: The days.
        limits: From where on a number is one.
        zone: Reporting zone.
        business: Only what they did to this business; all by default. They are judged by what they did to all.
        unattributed: Only what has no business.
    """
    known = known_days(connection, days, zone)
    unknown = frozenset({*days} - set(known))
    values = query_values(known, days, limits, business, unattributed=unattributed)
    total, by_business, by_row = Robocalls(), [], {}
    for row in connection.execute(_COUNTED, values).mappings() if known else ():
        found = Robocalls(**{name: row[name] for name in Robocalls.__dataclass_fields__})
        if row["is_of_day"]:
            by_row[row["day"], row["business_id"]] = found
        elif row["is_of_business"]:
            by_business.append((row["business"] or "(no business)", found))
        elif found.callers:
            total = found
    return RobocallsOfDays(total, unknown, by_business, by_row)


def known_days(connection: Connection, days: DayRange, zone: ZoneInfo) -> list[date]:
    """Return the days that can be judged: each of their seven days was rolled up, by customer, after it had ended."""
    before = DayRange(days.first - timedelta(days=DAYS - 1), days.last)
    complete = complete_days(connection, before, zone, ("customer_days",))
    return [day for day in days if complete.issuperset(DayRange(day - timedelta(days=DAYS - 1), day))]


def query_values(
    known: Sequence[date], days: DayRange, limits: Limits, business: UUID | None, *, unattributed: bool = False
) -> dict[str, object]:
    """Return the parameters of ``LIKELY``."""
    return {
        "days": list(known), "since": days.first - timedelta(days=DAYS - 1), "last": days.last, "before": DAYS - 1,
        "businesses": limits.businesses, "daily_calls": limits.daily_calls, "business": business, "nobody": _NOBODY,
        "unattributed": unattributed,
    }  # fmt: skip
