"""What a daily limit of tokens would have refused of the calls that were made, as the guard would have.

Calls are replayed one after the other in the order of their times, as if each were settled before the next one asks;
those without a time come first. A call asks for its reservation's upper bound where that is still kept, else for what
it used. A refused call adds nothing, so that a smaller one after it may pass. Every business starts a reporting day
with nothing used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.statuses import (
    OWNER_REQUEST_SUFFIX,
    PLACEHOLDER_REQUESTS,
    REPORT_REQUEST_ID,
    RESET_ENDPOINT,
    WHATSAPP_PREFIX,
)
from smarttext_pipelines.schema.near_rows import compared

_RECIPIENT = compared(f"replace(e.to_number, '{WHATSAPP_PREFIX}', '')")
_REPLAY = text(
    f"""
    WITH usage AS MATERIALIZED (
        SELECT u.id, u.created_at AS at, u.request_id, coalesce(u.tokens_used, 0)::bigint AS tokens,
               CASE WHEN u.cost_estimate > 0 AND u.cost_estimate < 1e13 THEN u.cost_estimate::numeric END AS usd,
               u.endpoint IS DISTINCT FROM :marker AND coalesce(u.tokens_used, 0) BETWEEN 0 AND 2147483647 AS is_call,
               u.business_id, coalesce(u.business_id, :nil) AS business_key, b.name, d.day
        FROM monitoring.api_usage AS u
        CROSS JOIN monitoring.installation AS i
        -- OFFSET 0: computed once for each row.
        CROSS JOIN LATERAL (
            SELECT monitoring.usage_day(u.reset_date, u.created_at, i.reporting_timezone, i.reset_date_zone) AS day
            OFFSET 0) AS d
        LEFT JOIN monitoring.business_names AS b ON b.id = u.business_id
        WHERE u.service = 'openai'
            AND (u.reset_date BETWEEN :before AND :after
                 OR u.created_at >= CAST(:before AS date) AND u.created_at < CAST(:after AS date) + 1)
            AND d.day BETWEEN :first AND :last
            AND (CAST(:business AS uuid) IS NULL OR u.business_id = :business)
            AND (CAST(:plan AS text) IS NULL OR b.subscription_tier = :plan)
    ), asked AS MATERIALIZED (
        SELECT u.*, CASE WHEN u.is_call THEN coalesce(r.tokens, u.tokens) ELSE -4611686018427387904 END AS bound,
               row_number() OVER (PARTITION BY u.day, u.business_key ORDER BY u.at NULLS FIRST, u.id) AS place
        FROM usage AS u
        LEFT JOIN monitoring.openai_reservations AS r ON r.request_id = u.request_id AND r.day = u.day
            AND u.id::text = md5('smarttext:openai:' || r.request_id)::uuid::text
    ), refused AS MATERIALIZED (
        SELECT a.*
        FROM (
            SELECT day, business_key, array_agg(bound ORDER BY place) AS bounds,
                   array_agg(tokens ORDER BY place) AS tokens
            FROM asked GROUP BY day, business_key
            -- Of other days nothing can be refused.
            HAVING sum(greatest(bound, tokens, 0)) > :limit
        ) AS d
        CROSS JOIN LATERAL (
            WITH RECURSIVE step (place, used, is_refused) AS (
                SELECT 0, 0::bigint, false
                UNION ALL
                SELECT s.place + 1, CASE WHEN n.is_refused THEN s.used ELSE s.used + d.tokens[s.place + 1] END,
                       n.is_refused
                FROM step AS s
                CROSS JOIN LATERAL (SELECT s.used + d.bounds[s.place + 1] > :limit AS is_refused) AS n
                WHERE s.place < cardinality(d.bounds)
            )
            SELECT place FROM step WHERE is_refused
        ) AS s
        JOIN asked AS a USING (day, business_key, place)
    ), texts AS (
        SELECT DISTINCT r.business_key, r.id, {_RECIPIENT} AS recipient
        FROM refused AS r
        JOIN monitoring.sms_events AS e ON e.request_id = r.request_id
        WHERE e.created_at >= CAST(:before AS date) AND e.created_at < CAST(:after AS date) + 1
            AND e.request_id <> '' AND e.request_id <> ALL (:placeholders) AND e.request_id NOT LIKE :of_owners
    )
    SELECT c.business_id, coalesce(c.name, '(no business)') AS business, c.calls, coalesce(r.refused, 0) AS refused,
           coalesce(r.days_refused, 0) AS days_refused, coalesce(r.refused_tokens, 0) AS refused_tokens,
           coalesce(r.saved_usd, 0) AS saved_usd, coalesce(r.unpriced, 0) AS unpriced,
           coalesce(t.customers, 0) AS customers, coalesce(r.refused, 0) - coalesce(t.calls, 0) AS without_text
    FROM (
        SELECT business_key, business_id, name, count(*) AS calls FROM asked WHERE is_call
        GROUP BY business_key, business_id, name
    ) AS c
    LEFT JOIN (
        SELECT business_key, count(*) AS refused, count(DISTINCT day) AS days_refused,
               sum(tokens)::bigint AS refused_tokens, sum(usd) AS saved_usd,
               count(*) FILTER (WHERE usd IS NULL AND tokens > 0) AS unpriced
        FROM refused GROUP BY business_key
    ) AS r USING (business_key)
    LEFT JOIN (
        SELECT business_key, count(DISTINCT recipient) AS customers, count(DISTINCT id) AS calls
        FROM texts GROUP BY business_key
    ) AS t USING (business_key)
    ORDER BY refused DESC, calls DESC, business, c.business_key
    """  # noqa: S608 - constants
)
_ARCHIVED = text(
    """
    SELECT DISTINCT d.day::date
    FROM monitoring.archive_segments AS s
    CROSS JOIN monitoring.installation AS i
    CROSS JOIN LATERAL generate_series(
        least(s.day, (s.min_at AT TIME ZONE i.reporting_timezone)::date)::timestamp,
        greatest(s.day, (s.max_at AT TIME ZONE i.reporting_timezone)::date)::timestamp, interval '1 day') AS d (day)
    WHERE s.table_name = 'api_usage' AND s.state = 'deleted' AND s.day BETWEEN :before AND :after
        AND d.day BETWEEN :first AND :last
    ORDER BY 1
    """
)


@dataclass(frozen=True)
class ReplayedBusiness:
    """What a limit would have done to one business.

    Attributes:
        business: Name, or ``(no business)``.
        calls: Calls to OpenAI that it made.
        refused: Of these, those that would have been refused.
        days_refused: Days with a refusal.
        refused_tokens: Tokens that the refused calls used.
        saved_usd: Their recorded cost.
        unpriced: Refused calls with tokens and no recorded cost, which ``saved_usd`` lacks.
        customers: People to whom a refused call had led to a text, each once.
        without_text: Refused calls of which no text is known.
    """

    business: str
    business_id: UUID | None
    calls: int
    refused: int = 0
    days_refused: int = 0
    refused_tokens: int = 0
    saved_usd: Decimal = Decimal(0)
    unpriced: int = 0
    customers: int = 0
    without_text: int = 0


_ADDED = ("calls", "refused", "days_refused", "refused_tokens", "saved_usd", "unpriced", "customers", "without_text")


@dataclass(frozen=True)
class Replay:
    """What a limit would have done.

    Attributes:
        limit_tokens: The limit of a business and day.
        days: The days.
        businesses: Those that made a call, the most refused first.
        archived_days: Days of which some usage is in the archive alone, and so is missing here.
    """

    limit_tokens: int
    days: DayRange
    businesses: Sequence[ReplayedBusiness]
    archived_days: Sequence[date] = field(default=())

    @property
    def total(self) -> ReplayedBusiness:
        """The sums; whoever is a customer of two businesses counts twice."""
        return ReplayedBusiness(
            "all", None, **{name: sum(getattr(each, name) for each in self.businesses) for name in _ADDED}
        )


def replay_limit(
    connection: Connection, limit_tokens: int, days: DayRange, *, business: UUID | None = None, plan: str | None = None
) -> Replay:
    """Return what a daily limit would have refused; limits in USD, grants and other limits are left out.

    Args:
        connection: A connection to the event database, of a role that reads its events.
        limit_tokens: Tokens that a business may use on a reporting day.
        days: The days.
        business: Only this business.
        plan: Only businesses that have this plan now.
    """
    near = days.widen(1)
    bounds = {"first": days.first, "last": days.last, "before": near.first, "after": near.last}
    values = {
        "limit": limit_tokens, "business": business, "plan": plan, "nil": UUID(int=0), "marker": RESET_ENDPOINT,
        "placeholders": [*PLACEHOLDER_REQUESTS, REPORT_REQUEST_ID], "of_owners": f"%{OWNER_REQUEST_SUFFIX}",
    }  # fmt: skip
    found = connection.execute(_REPLAY, {**bounds, **values}).mappings()
    businesses = [ReplayedBusiness(**row) for row in found]
    return Replay(limit_tokens, days, businesses, archived_days(connection, days))


def archived_days(connection: Connection, days: DayRange) -> Sequence[date]:
    """Return the days of which some usage is in the archive alone, in order."""
    near = days.widen(1)
    bounds = {"first": days.first, "last": days.last, "before": near.first, "after": near.last}
    return tuple(connection.execute(_ARCHIVED, bounds).scalars())
