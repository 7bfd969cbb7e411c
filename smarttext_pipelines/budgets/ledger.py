"""The budgets as people see and set them; admission itself is in ``schema/guardrail``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from smarttext_pipelines.budgets.limit_forecast import PRIOR, REACHED_AT
from smarttext_pipelines.core.errors import InputError

NIL = UUID(int=0)


class EveryBusiness(Enum):
    """Stands for every business where None is what has none."""

    every = "every"


EVERY = EveryBusiness.every


@dataclass(frozen=True)
class BudgetUse:
    """One business today; amounts of tokens, and of USD.

    Attributes:
        business: Name, or ``(no business)``.
        allowed_tokens: Limit and grants; None is no limit.
        reached_at: When the limit of tokens will be reached, from the hours of the week of the business; at the rate of
            the last hour where they are not known, or the limit is less than an hour away. None when not today.
    """

    business: str
    business_id: UUID | None
    used_tokens: Decimal
    reserved_tokens: Decimal
    allowed_tokens: Decimal | None
    used_usd: Decimal
    allowed_usd: Decimal | None
    refused: int
    reached_at: datetime | None

    @property
    def percent(self) -> float | None:
        """Use of the scarcer unit, in percent; None without a limit."""
        shares = [
            float(100 * used / allowed)
            for used, allowed in ((self.used_tokens, self.allowed_tokens), (self.used_usd, self.allowed_usd))
            if allowed
        ]
        return max(shares, default=None)


@dataclass(frozen=True)
class Granted:
    """A grant, made now or before.

    Attributes:
        is_new: Whether it was made now.
        day: Reporting day it counts for.
        tokens: What it gives.
        usd: What it gives.
        allowed_tokens: Limit and grants of the day now; None is no limit, or a grant of before.
        allowed_usd: As in USD.
    """

    grant_id: str
    is_new: bool
    day: date
    tokens: Decimal
    usd: Decimal
    allowed_tokens: Decimal | None = None
    allowed_usd: Decimal | None = None


_USE_OF = """
    SELECT coalesce(s.name, '(no business)') AS business, b.business_id, b.used_tokens, b.reserved_tokens,
           b.limit_tokens + b.granted_tokens AS allowed_tokens, b.used_usd, b.limit_usd + b.granted_usd AS allowed_usd,
           coalesce(r.refused, 0)::bigint AS refused, f.reached_at
    FROM monitoring.openai_budgets AS b
    CROSS JOIN monitoring.installation AS i
    LEFT JOIN monitoring.business_names AS s ON s.id = b.business_id
    LEFT JOIN (
        SELECT business_key, sum(refused_count) AS refused FROM (
            SELECT day, business_key, refused_count FROM monitoring.openai_refusals
            UNION ALL SELECT day, business_key, refused_count FROM monitoring.openai_refusals_new
        ) AS both_kinds WHERE day = monitoring.today() GROUP BY business_key
    ) AS r ON r.business_key = b.business_key
    LEFT JOIN monitoring.openai_tokens_of_the_hour() AS hour ON hour.business_id IS NOT DISTINCT FROM b.business_id
    LEFT JOIN (
        {forecast}
    ) AS usual ON usual.business_key = b.business_key
    CROSS JOIN LATERAL (
        -- Longer than any day is never, and may be longer than an interval can say.
        SELECT least((b.limit_tokens + b.granted_tokens - b.used_tokens) / nullif(hour.tokens, 0), 48) AS hours
    ) AS left_over
    CROSS JOIN LATERAL (SELECT now() + left_over.hours * interval '1 hour' AS at) AS rate
    CROSS JOIN LATERAL (
        SELECT least(usual.reached_at,
                     CASE WHEN (usual.business_key IS NULL OR left_over.hours < 1) AND hour.tokens > 0
                               AND rate.at < (b.day + 1)::timestamp AT TIME ZONE i.reporting_timezone
                          THEN greatest(rate.at, now()) END) AS reached_at
    ) AS f
    WHERE b.day = monitoring.today() {which}
    ORDER BY greatest(b.used_tokens / nullif(b.limit_tokens + b.granted_tokens, 0),
                      b.used_usd / nullif(b.limit_usd + b.granted_usd, 0)) DESC NULLS LAST, b.business_key
"""
_BUDGETS = """
    SELECT b.business_key, b.day, b.used_tokens AS used, b.limit_tokens + b.granted_tokens AS allowed, now() AS at
    FROM monitoring.openai_budgets AS b WHERE b.day = monitoring.today() {which}
"""


def _use(which: str) -> TextClause:
    forecast = REACHED_AT.format(budgets=_BUDGETS.format(which=which), prior=PRIOR)
    return text(_USE_OF.format(which=which, forecast=forecast))


_USE, _USE_OF_ONE = _use(""), _use("AND b.business_key = :key")
_SET = text(
    """
    INSERT INTO monitoring.openai_limits (scope, name, limit_tokens, limit_usd, updated_by)
    VALUES (:scope, :name, :tokens, :usd, :author)
    ON CONFLICT (scope, name) DO UPDATE SET limit_tokens = excluded.limit_tokens, limit_usd = excluded.limit_usd,
        updated_by = excluded.updated_by, updated_at = now()
    """
)
_APPLY = text(
    """
    UPDATE monitoring.openai_budgets AS b SET limit_tokens = l.limit_tokens, limit_usd = l.limit_usd
    FROM (SELECT day, business_key, (monitoring.openai_limit(business_id)).* FROM monitoring.openai_budgets
          WHERE day >= monitoring.today() ORDER BY day, business_key FOR UPDATE) AS l
    WHERE b.day = l.day AND b.business_key = l.business_key
    """
)
_GRANT = text(
    """
    WITH opened AS (
        SELECT monitoring.open_openai_budgets(ARRAY[monitoring.today()], ARRAY[CAST(:business AS uuid)])
    ), granted AS (
        INSERT INTO monitoring.openai_grants (grant_id, business_id, day, tokens, usd, author, reason)
        SELECT :grant_id, :business, monitoring.today(), :tokens, :usd, :author, :reason FROM opened
        ON CONFLICT DO NOTHING RETURNING day
    )
    SELECT day FROM granted
    """
)
_ADD = text(
    """
    UPDATE monitoring.openai_budgets SET granted_tokens = granted_tokens + :tokens, granted_usd = granted_usd + :usd
    WHERE day = :day AND business_key = coalesce(CAST(:business AS uuid), CAST(:nil AS uuid))
    RETURNING limit_tokens + granted_tokens AS allowed_tokens, limit_usd + granted_usd AS allowed_usd
    """
)
_GRANTED = text("SELECT business_id, day, tokens, usd FROM monitoring.openai_grants WHERE grant_id = :grant_id")
_PLANS = text(
    "SELECT DISTINCT subscription_tier FROM monitoring.businesses WHERE subscription_tier IS NOT NULL ORDER BY 1"
)
_NAME = text("SELECT name FROM monitoring.businesses WHERE id = :business")


def read_budgets(connection: Connection, business: UUID | EveryBusiness | None = EVERY) -> Sequence[BudgetUse]:
    """Return today's budgets, the most used first.

    Args:
        connection: A connection to the event database.
        business: Of which; None is what has no business.
    """
    if isinstance(business, EveryBusiness):
        found = connection.execute(_USE)
    else:
        found = connection.execute(_USE_OF_ONE, {"key": business or NIL})
    return [BudgetUse(**row) for row in found.mappings()]


def set_limit(
    connection: Connection, scope: str, name: str, tokens: int | None, usd: Decimal | None, author: str
) -> None:
    """Set a daily limit, also for the day that goes on; None is no limit."""
    values = {"scope": scope, "name": name, "tokens": tokens, "usd": usd, "author": author}
    connection.execute(_SET, values)
    connection.execute(_APPLY)


def plans(connection: Connection) -> list[str]:
    """Return the plans that businesses have."""
    return list(connection.execute(_PLANS).scalars())


def name_of(connection: Connection, business: UUID | None) -> str:
    """Return the name of a business as people know it."""
    name = connection.execute(_NAME, {"business": business}).scalar() if business else None
    return str(name or business or "(no business)")


def grant(
    connection: Connection, business: UUID | None, tokens: int, usd: Decimal, *, grant_id: str, author: str, reason: str
) -> Granted:
    """Allow more today, once per grant id.

    Raises:
        InputError: The id is that of a grant to another business.
    """
    values = {"business": business, "tokens": tokens, "usd": usd, "grant_id": grant_id, "author": author}
    day = connection.execute(_GRANT, {**values, "reason": reason}).scalar()
    if day is None:
        before = connection.execute(_GRANTED, {"grant_id": grant_id}).one()
        if before.business_id != business:
            other = name_of(connection, before.business_id)
            msg = f"that id was granted to {other} before; nothing is added: leave --id out, or choose another"
            raise InputError(msg)
        return Granted(grant_id, False, before.day, before.tokens, before.usd)
    now = connection.execute(_ADD, {"tokens": tokens, "usd": usd, "day": day, "business": business, "nil": NIL}).one()
    return Granted(grant_id, True, day, Decimal(tokens), usd, now.allowed_tokens, now.allowed_usd)


def open_day(connection: Connection, business: UUID | None = None) -> None:
    """Note that the day was opened, as the SQL function does; touches no usage."""
    connection.execute(text("SELECT public.reset_daily_openai_usage(:business)"), {"business": business})


def reap(connection: Connection) -> int:
    """Book reservations that were not settled within 15 minutes at their upper bound; return how many."""
    return int(connection.execute(text("SELECT monitoring.reap_openai_reservations()")).scalar_one())
