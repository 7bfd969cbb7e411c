"""Facts of a month as a rollup leaves them, for tests of what is computed from them."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from smarttext_pipelines.database.rolled_up_days import RECORDED_TABLES
from smarttext_pipelines_tests.conftest import Database

MARCH = date(2026, 3, 1)
AFTER = datetime(2026, 4, 10, tzinfo=UTC)


def days_of(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


def roll_up(database: Database, days: Iterable[date], at: datetime = AFTER) -> None:
    """Record that days were rolled up."""
    for day in days:
        database.run(
            "INSERT INTO monitoring.rollup_days (table_name, row_day, rows, rolled_up_at, checked_at) "
            "SELECT name, %s, 0, %s, %s FROM unnest(%s::text[]) AS name",
            *(day, at, at, list(RECORDED_TABLES)),
        )


def stats(database: Database, business: UUID | None, day: date, **values: int) -> None:
    cells: dict[str, Any] = {
        "calls_missed": 0, "missed_calls_replied": 0, "missed_calls_unreplied": 0, "messages_sent": 0,
        "sms_suppressed_count": 0, **values,
    }  # fmt: skip
    names = ", ".join(cells)
    database.run(
        f"INSERT INTO public.daily_stats (business_id, date, {names}) VALUES (%s, %s{', %s' * len(cells)})",
        business, day, *cells.values(),
    )  # fmt: skip


def spend(
    database: Database, business: UUID | None, day: date, service: str, endpoint: str, count: int, usd: str, **more: int
) -> None:
    database.run(
        "INSERT INTO monitoring.spend (id, day, business_id, service, endpoint, request_count, tokens_used, cost_usd, "
        "unpriced_requests, unpriced_tokens) VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, %s, %s, %s, 0)",
        *(day, business, service, endpoint, count, more.get("tokens", 0), usd, more.get("unpriced", 0)),
    )


def outcomes(database: Database, business: UUID | None, day: date, status: str, status_class: str, count: int) -> None:
    database.run(
        "INSERT INTO monitoring.sms_outcomes (id, day, business_id, audience, status, status_class, message_count, "
        "late_report_count, inbound_count) VALUES (gen_random_uuid(), %s, %s, 'customer', %s, %s, %s, 0, 0)",
        *(day, business, status, status_class, count),
    )
