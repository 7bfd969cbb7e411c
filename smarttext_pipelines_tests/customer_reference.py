"""The fact ``customer_days`` read aloud in plain Python, on top of ``reference``; nothing here is the pipeline's."""

import hashlib
import hmac
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from smarttext_pipelines_tests import reference as r

SECRET = "the secret of the tests"  # noqa: S105 - of the tests
COUNTS = (
    *("calls_total", "calls_missed", "in time", "late", "never", "unknown", "messages_received"),
    *("texts", "successful", "failed", "in_flight", "suppressed", "class unknown"),
    *("opted_out", "invalid_number", "unreachable", "openai_requests", "openai_tokens"),
)

Customer = tuple[UUID | None, UUID | None]
Counts = dict[Customer, Counter[str]]


def number_of(text: str | None) -> str | None:
    """Return the number by which a customer is known; None for none and for a withheld one."""
    bare = re.sub("^[a-z]{2,12}:", "", r.compared_number(text))
    return None if not bare or bare.lower() in r.WITHHELD else bare


def key_of(number: str | None) -> UUID | None:
    """Return the first half of HMAC-SHA-256 of a number."""
    if number is None:
        return None
    return UUID(bytes=hmac.new(SECRET.encode(), number.encode(), hashlib.sha256).digest()[:16])


def customer_days(
    events: r.Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime,
    usage_by_time: bool = False,
) -> dict[tuple[UUID | None, UUID | None], tuple[Any, ...]]:
    """Return {(business, customer): counts in the order of ``COUNTS``, and the cost in USD}."""
    counts: Counts = defaultdict(Counter)
    _count_calls(counts, events, day, shared_senders, as_of, zone=zone, settle_days=settle_days)
    _count_texts(counts, events, day, shared_senders, zone=zone, settle_days=settle_days)
    cost: dict[Customer, Decimal] = defaultdict(Decimal)
    for row in events["api_usage"]:
        if row["service"] != "openai" or r.usage_day(row, zone, usage_by_time=usage_by_time) != day:
            continue
        spent = r.spend({**events, "api_usage": [row]}, day, zone=zone, usage_by_time=usage_by_time)
        for requests, tokens, usd, _, _ in spent.values():
            key = row["business_id"], _recipient(events, row["request_id"], day, zone)
            counts[key]["openai_requests"] += requests
            counts[key]["openai_tokens"] += tokens
            cost[key] += usd
    return {key: (*(count[name] for name in COUNTS), cost[key]) for key, count in counts.items()}


def _side(rows: list[r.Row], column: str) -> UUID | None:
    return key_of(number_of(r.smallest(row[column] for row in rows)))


def _count_calls(
    counts: Counts, events: r.Events, day: date, shared: Collection[str], as_of: datetime, **options: Any
) -> None:
    def customer_of(rows: list[r.Row]) -> Customer:
        called = r.smallest(row["to_number"] for row in rows)
        by_number = r.business_with_number(events, called, ["twilio_phone", "public_phone"], shared)
        return r.smallest_business(rows) or by_number, _side(rows, "from_number")

    kinds = defaultdict(list)
    for row in events["call_events"]:
        is_call = row["event_type"].startswith("voice.") and row["event_type"] != "voice.test"
        kinds["call" if is_call else row["event_type"]].append(row)
    for rows in r.grouped_calls(kinds["sms.inbound"], day, **options):
        counts[customer_of(rows)]["messages_received"] += 1
    for rows in r.grouped_calls(kinds["call"], day, **options):
        count = counts[customer_of(rows)]
        count["calls_total"] += 1
        if any(row["event_type"] == "voice.missed" for row in rows):
            count["calls_missed"] += 1
            count[_state(events, day, rows, shared, as_of, **options)] += 1


def _count_texts(counts: Counts, events: r.Events, day: date, shared: Collection[str], **options: Any) -> None:
    for rows, alerts in r.grouped_messages(events, day, **options):
        if r.counted_as(rows) != (1, 0, 0) or r.audience_of(rows, alerts) != "customer":
            continue
        count = counts[r.business_of_message(events, rows, alerts, shared), _side(rows, "to_number")]
        status, error = r.status_and_error(rows)
        kind = r.class_of(status)
        count["texts"] += 1
        count["class unknown" if kind == "unknown" else kind] += 1
        if kind == "failed":
            count[r.failure_class_of(error)] += 1


def _state(
    events: r.Events, day: date, rows: list[r.Row], shared_senders: Collection[str], as_of: datetime, **options: Any
) -> str:
    """Return what became of one missed call: of its rows alone, beside all texts."""
    ids = {row["id"] for row in rows}
    alone = [row for row in events["call_events"] if row["id"] in ids]
    found = r.missed_call_replies(
        {**events, "call_events": alone}, day, shared_senders=shared_senders, as_of=as_of, **options
    )
    ((counted),) = found.values()
    return next(name for name, n in zip(("in time", "late", "never", "unknown"), counted, strict=False) if n)


def _recipient(events: r.Events, request: str | None, day: date, zone: ZoneInfo) -> UUID | None:
    """Return the only customer to whom texts of that request went, on the day or on those next to it."""
    if not r.is_real_request(request) or request == "twilio-report" or str(request).endswith("-owner"):
        return None
    numbers = set()
    for row in events["sms_events"]:
        row_day = r.local_day(row["created_at"], zone)
        near = row_day is not None and abs(row_day - day) <= timedelta(days=1)
        if near and row["request_id"] == request and (row["status"] or "").lower() not in {"received", "receiving"}:
            numbers.add(number_of(row["to_number"]))
    numbers -= {None}
    return key_of(numbers.pop()) if len(numbers) == 1 else None
