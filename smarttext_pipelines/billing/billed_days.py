"""OpenAI's bill beside ours: what it charges by its own days (UTC), and what the recorded rows do not explain."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.billing.ask_days import UTC_ZONE, days_in_reach, due_days, is_settled
from smarttext_pipelines.billing.costs_answer import EXACT, DayCosts
from smarttext_pipelines.core.days import DayRange, contiguous, day_end, day_start
from smarttext_pipelines.core.openai_prices import LARGEST_COST
from smarttext_pipelines.core.statuses import RESET_ENDPOINT
from smarttext_pipelines.database.connect import connected

if TYPE_CHECKING:
    from smarttext_pipelines.billing.costs_client import CostsClient

CURRENCY = "USD"
LIMIT_PERCENT, MIN_USD = Decimal(5), Decimal(1)
"""What may stay unexplained on a day: this share of OpenAI's number, or this much."""

_ASKED = text("SELECT day, asked_at FROM monitoring.openai_cost_days WHERE day BETWEEN :first AND :last")
# One writer at a time: a day is replaced as a whole.
_LOCK = text("LOCK TABLE monitoring.openai_cost_days IN SHARE ROW EXCLUSIVE MODE")
_WRITE_DAYS = text(
    """
    INSERT INTO monitoring.openai_cost_days AS d (day, asked_at, is_told)
    SELECT a.day, :now, a.is_told FROM jsonb_to_recordset(CAST(:days AS jsonb)) AS a (day date, is_told boolean)
    ON CONFLICT (day) DO UPDATE SET asked_at = excluded.asked_at, is_told = d.is_told OR excluded.is_told
    """
)
_DELETE = text("DELETE FROM monitoring.openai_costs WHERE day = ANY (CAST(:days AS date[]))")
_INSERT = text(
    """
    INSERT INTO monitoring.openai_costs (day, project_id, line_item, currency, amount)
    SELECT c.day, c.project_id, c.line_item, c.currency, c.amount FROM jsonb_to_recordset(CAST(:costs AS jsonb))
        AS c (day date, project_id text, line_item text, currency text, amount numeric)
    """
)
_RECORD = text(
    """
    WITH recorded AS (
        SELECT (created_at AT TIME ZONE 'UTC')::date AS day, sum(c.usd) AS usd,
               count(*) FILTER (WHERE endpoint <> :marker AND tokens_used > 0 AND c.usd = 0) AS unpriced
        FROM monitoring.api_usage CROSS JOIN LATERAL (SELECT
            CASE WHEN abs(cost_estimate) < CAST(:largest AS numeric) THEN cost_estimate ELSE 0 END AS usd) AS c
        WHERE service = 'openai' AND created_at >= :begins_at AND created_at < :ends_at GROUP BY 1
    ), began AS (
        SELECT least((SELECT created_at FROM monitoring.api_usage WHERE service = 'openai' AND created_at IS NOT NULL
                          ORDER BY created_at LIMIT 1),
                     (SELECT CAST(min(day) + 1 AS timestamp) AT TIME ZONE 'UTC'
                      FROM monitoring.spend WHERE service = 'openai')) AS at
    )
    UPDATE monitoring.openai_cost_days AS d
    SET recorded_usd = CASE WHEN b.at < CAST(w.day AS timestamp) AT TIME ZONE 'UTC' THEN coalesce(r.usd, 0) END,
        unpriced_requests = coalesce(r.unpriced, 0)
    FROM unnest(CAST(:days AS date[])) AS w (day) LEFT JOIN recorded AS r USING (day) CROSS JOIN began AS b
    WHERE w.day = d.day
    """
)
_READ = text(
    """
    SELECT d.day, d.asked_at, d.is_told, d.recorded_usd, d.unpriced_requests, c.currency, sum(c.amount) AS amount
    FROM monitoring.openai_cost_days AS d LEFT JOIN monitoring.openai_costs AS c USING (day)
    WHERE d.day BETWEEN :first AND :last GROUP BY d.day, c.currency ORDER BY d.day, c.currency
    """
)


@dataclass(frozen=True)
class BilledDay:
    """A day of OpenAI's (UTC) in its numbers and in ours.

    Attributes:
        day: Day in UTC.
        asked_at: When OpenAI last answered for it.
        is_told: Whether an answer had the day.
        billed: What OpenAI charges, by currency; empty for nothing.
        recorded_usd: What was recorded; None before the first row.
        unpriced_requests: Requests that have no recorded price.
    """

    day: date
    asked_at: datetime
    is_told: bool
    billed: Mapping[str, Decimal]
    recorded_usd: Decimal | None
    unpriced_requests: int

    @property
    def is_complete(self) -> bool:
        """Whether OpenAI told of the day: no cost at all is not believed where requests were recorded."""
        return self.is_told and bool(self.billed or not (self.recorded_usd or self.unpriced_requests))

    @property
    def billed_usd(self) -> Decimal | None:
        """What OpenAI charges in USD; None while it is not told, or where it charges in other currencies alone."""
        nothing = None if self.billed or not self.is_complete else Decimal(0)
        return self.billed.get(CURRENCY, nothing)

    @property
    def other_currencies(self) -> str:
        """What OpenAI charges in other currencies; never added to anything."""
        return ", ".join(f"{amount:,f} {name}" for name, amount in self.billed.items() if name != CURRENCY)

    @property
    def unexplained_usd(self) -> Decimal | None:
        """USD that OpenAI charges and nobody recorded; below zero, the other way round; None where one is unknown."""
        if self.billed_usd is None or self.recorded_usd is None:
            return None
        return EXACT.subtract(self.billed_usd, self.recorded_usd)

    @property
    def is_explained(self) -> bool:
        """Whether what is left is small; of an unknown number nothing is claimed."""
        left = self.unexplained_usd
        return left is None or left.copy_abs() <= max(MIN_USD, (self.billed_usd or Decimal(0)) * LIMIT_PERCENT / 100)


def ask_costs(engine: Engine, client: "CostsClient", now: datetime, retention_days: int) -> list[date]:
    """Ask for the days that are due, write what OpenAI told, and read what was recorded on the days not settled.

    Args:
        engine: Result of ``open_engine``.
        client: Asks OpenAI; each range of days is one chain of pages.
        now: Aware.
        retention_days: Setting; days whose rows may have left their table are not compared.

    Returns:
        The days that were asked for.

    Raises:
        SmartTextError: OpenAI refuses or does not answer; what the days had stays.
    """
    reach = days_in_reach(now, retention_days)
    with connected(engine) as connection:
        asked = {row.day: row.asked_at for row in connection.execute(_ASKED, _bounds(reach))}
    due = due_days(now, reach, asked)
    told: dict[date, DayCosts] = {}
    for days in contiguous(due):
        told |= client.costs(days)
    with connected(engine) as connection, connection.begin():
        connection.execute(_LOCK)
        _write(connection, due, told, now)
        _record(connection, [day for day in reach if day in due or not is_settled(day, asked.get(day))])
    return due


def read_billed(connection: Connection, days: DayRange) -> list[BilledDay]:
    """Return the days that were asked for, in order."""
    found: dict[date, BilledDay] = {}
    for row in connection.execute(_READ, _bounds(days)):
        before = found[row.day].billed if row.day in found else {}
        billed = {**before, row.currency: row.amount} if row.currency else before
        found[row.day] = BilledDay(row.day, row.asked_at, row.is_told, billed, row.recorded_usd, row.unpriced_requests)
    return list(found.values())


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return a sum that is not rounded."""
    return reduce(EXACT.add, amounts, Decimal(0))


def _write(connection: Connection, asked: Iterable[date], told: Mapping[date, DayCosts], now: datetime) -> None:
    """Replace the days that have costs; an answer without any takes nothing away."""
    days = [{"day": str(day), "is_told": day in told} for day in asked]
    if not days:
        return
    connection.execute(_WRITE_DAYS, {"days": json.dumps(days), "now": now})
    costs = [{"day": str(day), "amount": str(amount), **vars(key)} for day in told for key, amount in told[day].items()]
    connection.execute(_DELETE, {"days": [day for day in told if told[day]]})
    connection.execute(_INSERT, {"costs": json.dumps(costs)})


def _record(connection: Connection, days: list[date]) -> None:
    if not days:
        return
    bounds = {"begins_at": day_start(days[0], UTC_ZONE), "ends_at": day_end(days[-1], UTC_ZONE)}
    values = {"days": days, "largest": LARGEST_COST, "marker": RESET_ENDPOINT}
    connection.execute(_RECORD, {**values, **bounds})


def _bounds(days: DayRange) -> dict[str, date]:
    return {"first": days.first, "last": days.last}
