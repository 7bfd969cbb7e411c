"""What is known of the customers of a business, and what to do about each; a statement each, no number."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange

MOST_SHOWN = 200


class Choice(StrEnum):
    """Which customers are listed."""

    everyone = "everyone"
    unanswered = "unanswered"
    heavy = "heavy"
    opted_out = "opted_out"


_CONDITIONS = {
    Choice.everyone: "true",
    Choice.unanswered: "unanswered > 0",
    Choice.heavy: "openai_tokens > 0",
    Choice.opted_out: "opted_out > 0",
}
_ORDERS = {
    Choice.everyone: "last_day DESC, calls + texts DESC",
    Choice.unanswered: "unanswered DESC, last_day DESC",
    Choice.heavy: "openai_tokens DESC",
    Choice.opted_out: "last_day DESC",
}

_CUSTOMERS = """
WITH customers AS (
    SELECT customer_key, min(day) AS first_day, max(day) AS last_day, sum(calls_total)::bigint AS calls,
           sum(calls_missed)::bigint AS missed, sum(unreplied_count)::bigint AS unanswered,
           sum(replied_in_time_count + replied_late_count)::bigint AS answered,
           sum(reply_unknown_count)::bigint AS unknown, sum(messages_received)::bigint AS received,
           sum(texts_sent)::bigint AS texts, sum(texts_failed)::bigint AS failed,
           sum(failed_opted_out)::bigint AS opted_out, sum(failed_invalid_number)::bigint AS invalid,
           sum(openai_tokens_used)::bigint AS openai_tokens, sum(openai_cost_usd) AS openai_usd
    FROM monitoring.customer_days
    WHERE business_id = :business AND customer_key IS NOT NULL AND day BETWEEN :first AND :last
    GROUP BY customer_key
)
SELECT c.*, round(100.0 * openai_tokens / nullif(sum(openai_tokens) OVER (), 0), 1) AS share_percent
FROM customers AS c
"""
_DAYS = """
SELECT t.day, coalesce(b.name, '(no business)') AS business, t.calls_total AS calls, t.calls_missed AS missed,
       t.replied_in_time_count + t.replied_late_count AS answered, t.unreplied_count AS unanswered,
       t.reply_unknown_count AS unknown, t.messages_received AS received, t.texts_sent AS texts,
       t.texts_failed AS failed, t.openai_tokens_used AS openai_tokens, t.openai_cost_usd AS openai_usd
FROM monitoring.customer_days AS t LEFT JOIN monitoring.businesses AS b ON b.id = t.business_id
WHERE t.customer_key = :key ORDER BY t.day DESC, business LIMIT :most
"""


@dataclass(frozen=True)
class Listed:
    """Customers as they are shown.

    Attributes:
        rows: One for each customer.
        count: How many fit the choice; rows are the first of them.
    """

    rows: list[dict[str, Any]]
    count: int


def list_customers(
    connection: Connection, business: UUID, days: DayRange, choice: Choice = Choice.everyone, most: int = MOST_SHOWN
) -> Listed:
    """Return the customers of a business within a range of days.

    Args:
        connection: Any connection.
        business: Whose customers.
        days: Reporting days that are added up.
        choice: Which of them.
        most: How many rows at most.
    """
    chosen = f"SELECT *, count(*) OVER () AS n FROM ({_CUSTOMERS}) AS c WHERE {_CONDITIONS[choice]}"  # noqa: S608
    query = f"{chosen} ORDER BY {_ORDERS[choice]}, customer_key LIMIT :most"
    values = {"business": business, "first": days.first, "last": days.last, "most": most}
    found = [dict(row) for row in connection.execute(text(query), values).mappings()]
    count = found[0]["n"] if found else 0
    rows = [{k: v for k, v in row.items() if k != "n"} | {"next step": next_step(row)} for row in found]
    return Listed(rows, count)


def next_step(row: dict[str, Any]) -> str:
    """Return what a person does about a customer; nothing where nothing is to be done."""
    if row["opted_out"]:
        return "do not text; call"
    if row["invalid"]:
        return "no texts to this number; call"
    if row["unanswered"] and not row["answered"]:
        return "call back: never answered"
    return "call back" if row["unanswered"] else ""


def customer_history(connection: Connection, key: UUID, most: int = MOST_SHOWN) -> list[dict[str, Any]]:
    """Return the days of a customer at every business, the latest first."""
    return [dict(row) for row in connection.execute(text(_DAYS), {"key": key, "most": most}).mappings()]
