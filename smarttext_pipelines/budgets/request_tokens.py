"""Tokens of an OpenAI request by week, business, model and endpoint, and requests of which no customer is known.

Percentiles are nearest ranks over the requests that recorded tokens. They are read from live rows, so a week of which
rows are in the archive alone is unknown. Whose request it was is read from ``customer_days``, which archiving leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.budgets.limit_replay import archived_days
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.statuses import RESET_ENDPOINT
from smarttext_pipelines.database.rolled_up_days import complete_days

_READ = text(
    """
    WITH usage AS (
        SELECT u.business_id, u.model, u.endpoint, u.tokens_used AS tokens,
               d.day - (extract(isodow FROM d.day)::integer - 1) AS week
        FROM monitoring.api_usage AS u
        CROSS JOIN monitoring.installation AS i
        -- OFFSET 0: computed once for each row.
        CROSS JOIN LATERAL (
            SELECT monitoring.usage_day(u.reset_date, u.created_at, i.reporting_timezone, i.reset_date_zone) AS day
            OFFSET 0) AS d
        WHERE u.service = 'openai' AND u.endpoint IS DISTINCT FROM :marker
            AND (u.reset_date BETWEEN :before AND :after
                 OR u.created_at >= CAST(:before AS date) AND u.created_at < CAST(:after AS date) + 1)
            AND d.day BETWEEN :first AND :last
            AND (CAST(:business AS uuid) IS NULL OR u.business_id = :business)
    ), counted AS (
        SELECT week, business_id, model, endpoint, count(*) AS requests,
               count(*) FILTER (WHERE coalesce(tokens, 0) <= 0) AS without_tokens,
               coalesce(sum(tokens) FILTER (WHERE tokens > 0), 0)::bigint AS tokens,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY tokens) FILTER (WHERE tokens > 0) AS p50,
               percentile_disc(0.95) WITHIN GROUP (ORDER BY tokens) FILTER (WHERE tokens > 0) AS p95
        FROM usage WHERE week <> ALL (CAST(:unknown AS date[])) GROUP BY week, business_id, model, endpoint
    ), ranked AS (
        SELECT c.*, sum(tokens) OVER (PARTITION BY business_id, model, endpoint) AS of_series FROM counted AS c
    )
    SELECT r.week, r.business_id, coalesce(b.name, '(no business)') AS business, r.model, r.endpoint, r.requests,
           r.without_tokens, r.tokens, r.p50, r.p95
    FROM (
        SELECT *, dense_rank() OVER (ORDER BY of_series DESC, business_id, model, endpoint) AS place FROM ranked
    ) AS r LEFT JOIN monitoring.business_names AS b ON b.id = r.business_id
    WHERE CAST(:most AS integer) IS NULL OR r.place <= :most ORDER BY r.place, r.week
    """
)
_ATTRIBUTED = text(
    """
    SELECT c.week, c.business_id, b.name AS business, c.requests, c.without_customer
    FROM (
        SELECT day - (extract(isodow FROM day)::integer - 1) AS week, business_id,
               sum(openai_requests)::bigint AS requests,
               coalesce(sum(openai_requests) FILTER (WHERE customer_key IS NULL), 0)::bigint AS without_customer
        FROM monitoring.customer_days
        WHERE day = ANY (CAST(:days AS date[])) AND openai_requests > 0
            AND (CAST(:business AS uuid) IS NULL OR business_id = :business)
        GROUP BY GROUPING SETS ((1), (1, business_id)) HAVING grouping(business_id) = :is_of_all
    ) AS c LEFT JOIN monitoring.business_names AS b ON b.id = c.business_id
    ORDER BY c.week, c.without_customer DESC, business, c.business_id
    """
)


@dataclass(frozen=True)
class RequestTokens:
    """Requests of a week, business, model and endpoint.

    Attributes:
        week: Its Monday.
        business_id: Business; None for what names none.
        business: Its name, or ``(no business)``.
        model: As recorded; None where none is.
        endpoint: As recorded.
        requests: Requests, ``without_tokens`` of which recorded none.
        tokens: Tokens of all.
        p50: Half of the requests with tokens have this many or fewer; None where none has any.
        p95: 95 % of them have this many or fewer.
    """

    week: date
    business_id: UUID | None
    business: str
    model: str | None
    endpoint: str | None
    requests: int
    without_tokens: int
    tokens: int
    p50: int | None
    p95: int | None


@dataclass(frozen=True)
class Attributed:
    """Requests of a week, and those of which no one customer is known.

    Attributes:
        week: Its Monday.
        requests: Requests of the days that were rolled up by customer.
        without_customer: Of these, those whose ``request_id`` leads to no customer, or to several.
        business_id: Business; None for what names none, and for all.
        business: Its name; None for all and for none.
    """

    week: date
    requests: int
    without_customer: int
    business_id: UUID | None = None
    business: str | None = None


@dataclass(frozen=True)
class TokensOfRequests:
    """What requests used in some days.

    Attributes:
        days: The days.
        rows: By series, the one with the most tokens first, and week.
        archived_days: Days of which usage is in the archive alone; their weeks are not among ``rows``.
        attributed: By week, or by week and business.
        days_without_customers: Days that were not rolled up by customer, so not in ``attributed``.
    """

    days: DayRange
    rows: Sequence[RequestTokens]
    archived_days: Sequence[date] = field(default=())
    attributed: Sequence[Attributed] = field(default=())
    days_without_customers: int = 0


WEEKS = 8
"""Weeks that are shown by default, that of yesterday included."""


def usual_days(today: date) -> DayRange:
    """Return the days that are shown by default: whole weeks, and the one of yesterday up to it."""
    yesterday = today - timedelta(days=1)
    return DayRange(monday(yesterday) - timedelta(weeks=WEEKS - 1), yesterday)


def monday(day: date) -> date:
    """Return the first day of a day's week."""
    return day - timedelta(days=day.weekday())


def read_request_tokens(
    connection: Connection,
    days: DayRange,
    zone: ZoneInfo,
    *,
    business: UUID | None = None,
    by_business: bool = False,
    most: int | None = None,
) -> TokensOfRequests:
    """Return what requests used, in one statement for percentiles and one for customers.

    Args:
        connection: A connection to the event database, of a role that reads its events.
        days: The days; a week of which only some are among them has only those.
        zone: Reporting zone.
        business: Only this business.
        by_business: Whether ``attributed`` is by business, too.
        most: Series at most: those with the most tokens.
    """
    near, archived = days.widen(1), archived_days(connection, days)
    values = {
        "first": days.first, "last": days.last, "before": near.first, "after": near.last, "marker": RESET_ENDPOINT,
        "business": business, "unknown": sorted({monday(day) for day in archived}), "most": most,
    }  # fmt: skip
    rows = [RequestTokens(**row) for row in connection.execute(_READ, values).mappings()]
    known = complete_days(connection, days, zone, ("customer_days",))
    asked = {"days": sorted(known), "business": business, "is_of_all": int(not by_business)}
    attributed = [Attributed(**row) for row in connection.execute(_ATTRIBUTED, asked).mappings()]
    return TokensOfRequests(days, rows, archived, attributed, len(days) - len(known))
