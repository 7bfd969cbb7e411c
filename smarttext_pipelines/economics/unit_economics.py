"""What each business costs and pays in a month, from rolled-up facts; ``monitoring.unit_economics``.

Only days count that were rolled up after their end. A plan's price is that of the whole month, and the plan is that of
now. A part that is not recorded makes a sum unknown, never smaller: ``known_cost_usd`` says what is recorded of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange, day_end
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.economics.plans import Plan


@dataclass(frozen=True)
class MonthOfBusiness:
    """One business in one month; the columns of ``monitoring.unit_economics`` explain themselves there.

    Attributes:
        business: Name, or ``(no business)``.
    """

    month: date
    business_id: UUID | None
    business: str
    missed_calls: int
    answered_callers: int | None
    unanswered_callers: int | None
    texts: int | None
    tokens: int
    openai_usd: Decimal
    openai_unpriced: int
    texts_usd: Decimal | None
    fees_usd: Decimal | None
    texts_unpriced: int | None
    known_cost_usd: Decimal
    cost_usd: Decimal | None
    usd_per_missed_call: Decimal | None
    usd_per_answered_caller: Decimal | None
    plan: str | None
    plan_usd: Decimal | None
    margin_usd: Decimal | None
    margin_at_most_usd: Decimal | None
    days_known: int
    complete: bool

    @property
    def expected_cost_usd(self) -> Decimal | None:
        """Recorded costs at the month's end, at the pace of the days that are known; None without any."""
        if not self.days_known:
            return None
        return self.known_cost_usd * len(month_days(self.month)) / self.days_known

    @property
    def loses(self) -> bool | None:
        """Whether it costs more than it pays, at the month's end; None where that is unknown."""
        cost = self.expected_cost_usd
        if self.plan_usd is None or cost is None:
            return None
        # What is not recorded could only add to it.
        return True if cost > self.plan_usd else (False if self.cost_usd is not None else None)


_COLUMNS = [each.name for each in fields(MonthOfBusiness) if each.name != "business"]
_SUMS = """
    WITH stats AS (
        SELECT business_id, sum(calls_missed)::bigint AS missed_calls,
               CASE WHEN NOT bool_or(missed_calls_replied IS NULL)
                    THEN sum(missed_calls_replied)::bigint END AS answered,
               CASE WHEN NOT bool_or(missed_calls_unreplied IS NULL)
                    THEN sum(missed_calls_unreplied)::bigint END AS unanswered,
               CASE WHEN NOT bool_or(sms_suppressed_count IS NULL)
                    THEN sum(messages_sent - sms_suppressed_count)::bigint END AS texts
        FROM public.daily_stats WHERE date = ANY (CAST(:days AS date[])) GROUP BY business_id
    ), spent AS (
        SELECT business_id, coalesce(sum(tokens_used) FILTER (WHERE service = 'openai'), 0)::bigint AS tokens,
               coalesce(sum(cost_usd) FILTER (WHERE service = 'openai'), 0) AS openai_usd,
               coalesce(sum(unpriced_requests) FILTER (WHERE service = 'openai'), 0)::bigint AS openai_unpriced,
               sum(cost_usd) FILTER (WHERE service = 'twilio' AND endpoint NOT LIKE '%fee%') AS texts_usd,
               sum(cost_usd) FILTER (WHERE service = 'twilio' AND endpoint LIKE '%fee%') AS fees_usd,
               coalesce(sum(request_count) FILTER (WHERE service = 'twilio' AND endpoint NOT LIKE '%fee%'), 0)::bigint
                   AS priced
        FROM monitoring.spend WHERE day = ANY (CAST(:days AS date[])) GROUP BY business_id
    ), charged AS (
        -- Twilio charges for what it sent; of what failed before that it has no price.
        SELECT business_id, sum(message_count)::bigint AS texts FROM monitoring.sms_outcomes
        WHERE day = ANY (CAST(:days AS date[])) AND status_class <> 'suppressed' AND status <> 'failed'
        GROUP BY business_id
    ), chosen AS (
        SELECT b.id AS business_id, coalesce(a.plan, p.name) AS plan, coalesce(q.price_usd, p.price_usd) AS plan_usd
        FROM monitoring.business_names AS b
        LEFT JOIN jsonb_to_recordset(CAST(:assigned AS jsonb)) AS a (business_id uuid, plan text)
            ON a.business_id = b.id
        LEFT JOIN jsonb_to_recordset(CAST(:plans AS jsonb)) AS q (name text, price_usd numeric) ON q.name = a.plan
        LEFT JOIN jsonb_to_recordset(CAST(:plans AS jsonb)) AS p (name text, price_usd numeric)
            ON p.name = b.subscription_tier
        WHERE coalesce(a.plan, p.name) IS NOT NULL
    ), whom AS (
        SELECT business_id FROM stats UNION SELECT business_id FROM spent UNION SELECT business_id FROM chosen
    ), parts AS (
        SELECT w.business_id, coalesce(t.missed_calls, 0) AS missed_calls,
               CASE WHEN t.missed_calls IS NULL THEN 0 ELSE t.answered END AS answered_callers,
               CASE WHEN t.missed_calls IS NULL THEN 0 ELSE t.unanswered END AS unanswered_callers,
               CASE WHEN t.missed_calls IS NULL THEN 0 ELSE t.texts END AS texts,
               coalesce(s.tokens, 0) AS tokens, coalesce(s.openai_usd, 0) AS openai_usd,
               coalesce(s.openai_unpriced, 0) AS openai_unpriced, s.texts_usd, s.fees_usd,
               greatest(coalesce(c.texts, 0) - coalesce(s.priced, 0), 0) AS texts_unpriced,
               coalesce(s.openai_usd, 0) + coalesce(s.texts_usd, 0) + coalesce(s.fees_usd, 0) AS known_cost_usd,
               p.plan, p.plan_usd
        FROM whom AS w
        LEFT JOIN stats AS t ON t.business_id IS NOT DISTINCT FROM w.business_id
        LEFT JOIN spent AS s ON s.business_id IS NOT DISTINCT FROM w.business_id
        LEFT JOIN charged AS c ON c.business_id IS NOT DISTINCT FROM w.business_id
        LEFT JOIN chosen AS p ON p.business_id = w.business_id
    ), costs AS (
        SELECT p.*, CASE WHEN openai_unpriced = 0 AND texts_unpriced = 0 AND cardinality(CAST(:days AS date[])) > 0
                         THEN known_cost_usd END AS cost_usd
        FROM parts AS p
    ), found AS (
        SELECT CAST(:month AS date) AS month, c.*, round(cost_usd / nullif(missed_calls, 0), 6) AS usd_per_missed_call,
               round(cost_usd / nullif(answered_callers, 0), 6) AS usd_per_answered_caller,
               plan_usd - cost_usd AS margin_usd, plan_usd - known_cost_usd AS margin_at_most_usd,
               cardinality(CAST(:days AS date[]))::smallint AS days_known, CAST(:complete AS boolean) AS complete
        FROM costs AS c
    )
"""
_READ = text(
    f"""
    {_SUMS}
    SELECT {", ".join(f"f.{name}" for name in _COLUMNS)}, coalesce(b.name, '(no business)') AS business
    FROM found AS f LEFT JOIN monitoring.business_names AS b ON b.id = f.business_id
    WHERE CAST(:business AS uuid) IS NULL OR f.business_id = :business
    ORDER BY f.margin_at_most_usd NULLS LAST, f.known_cost_usd DESC, business, f.business_id
    """  # noqa: S608 - constants
)
_KEPT = ", ".join(name for name in _COLUMNS if name not in ("month", "business_id"))
_SET = ", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS if name not in ("month", "business_id"))
_WRITE = text(
    f"""
    {_SUMS}, gone AS (
        DELETE FROM monitoring.unit_economics AS u
        WHERE u.month = :month
            AND NOT EXISTS (SELECT FROM found AS f WHERE f.business_id IS NOT DISTINCT FROM u.business_id)
    )
    INSERT INTO monitoring.unit_economics AS u ({", ".join(_COLUMNS)})
    SELECT {", ".join(_COLUMNS)} FROM found ORDER BY business_id
    ON CONFLICT (month, business_id) DO UPDATE SET {_SET}, updated_at = now()
    WHERE ({", ".join(f"u.{name}" for name in _KEPT.split(", "))})
        IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in _KEPT.split(", "))})
    """  # noqa: S608 - constants
)
_NAMED = text(
    """
    SELECT w.named, count(b.id) AS found, (array_agg(b.id))[1] AS id
    FROM unnest(CAST(:names AS text[])) AS w (named)
    LEFT JOIN monitoring.business_names AS b ON lower(b.name) = lower(w.named) OR b.id::text = lower(w.named)
    GROUP BY w.named ORDER BY w.named
    """
)


def month_days(month: date) -> DayRange:
    """Return the days of the month that a day is in."""
    first = month.replace(day=1)
    return DayRange(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def read_economics(
    connection: Connection,
    month: date,
    plans: Mapping[str, Plan],
    *,
    zone: ZoneInfo,
    now: datetime,
    business: UUID | None = None,
) -> Sequence[MonthOfBusiness]:
    """Return a month of each business, computed from the facts as they are now; the least margin first.

    Args:
        connection: A connection to the event database.
        month: A day of it.
        plans: Result of ``load_plans``.
        zone: Reporting zone.
        now: Time of reading.
        business: Only this business.

    Raises:
        InputError: The plans name a business that there is not, or that several are called.
    """
    values = {**_values(connection, month, plans, zone, now), "business": business}
    return [MonthOfBusiness(**row) for row in connection.execute(_READ, values).mappings()]


def write_economics(
    connection: Connection, month: date, plans: Mapping[str, Plan], *, zone: ZoneInfo, now: datetime
) -> None:
    """Write a month into ``monitoring.unit_economics``; a second time changes nothing. As ``read_economics``."""
    connection.execute(_WRITE, _values(connection, month, plans, zone, now))


def _values(
    connection: Connection, month: date, plans: Mapping[str, Plan], zone: ZoneInfo, now: datetime
) -> dict[str, Any]:
    days = month_days(month)
    known = sorted(complete_days(connection, days, zone))
    priced = [{"name": plan.name, "price_usd": str(plan.price_usd)} for plan in plans.values()]
    assigned = [
        {"business_id": str(business), "plan": plan} for business, plan in assigned_plans(connection, plans).items()
    ]
    return {
        "month": days.first,
        "days": known,
        "complete": len(known) == len(days) and now >= day_end(days.last, zone),
        "plans": json.dumps(priced),
        "assigned": json.dumps(assigned),
    }


def assigned_plans(connection: Connection, plans: Mapping[str, Plan]) -> Mapping[UUID, str]:
    """Return the plan of each business that the file names.

    Raises:
        InputError: It names a business that there is not, or that several are called.
    """
    wanted = {name: plan.name for plan in plans.values() for name in plan.businesses}
    found: dict[UUID, str] = {}
    for row in connection.execute(_NAMED, {"names": list(wanted)}) if wanted else ():
        plan = wanted[row.named]
        if row.found != 1:
            said = "no business is called so or has that id" if not row.found else "several are called so: write its id"
            msg = f"SMARTTEXT_PLANS, plan '{plan}', business '{row.named}': {said}"
            raise InputError(msg)
        if found.setdefault(row.id, plan) != plan:
            msg = f"SMARTTEXT_PLANS: business '{row.named}' has two plans, '{found[row.id]}' and '{plan}'"
            raise InputError(msg)
    return found
