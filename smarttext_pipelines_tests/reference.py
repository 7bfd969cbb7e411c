"""The data contract read aloud in plain Python: slow, obvious, and independent of the pipeline.

Nothing here is imported from ``smarttext_pipelines``; ranks, classes and rules are stated again, so that a slip in one
place shows as a difference. Every function answers for one reporting day, from events as plain dictionaries. A time is
an aware datetime; None, or anything that is no datetime (such as the text ``infinity``), belongs to no day. The daily
functions take the same options, needed or not, so that a test can call any of them by name.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

Row = Mapping[str, Any]
Events = Mapping[str, Sequence[Row]]

LOWEST_TO_HIGHEST = (
    {"unknown"},
    {"scheduled"},
    {"accepted"},
    {"queued"},
    {"sending"},
    {"rate_limited", "skipped"},
    {"sent"},
    {"canceled"},
    {"failed"},
    {"undelivered"},
    {"partially_delivered"},
    {"delivered"},
    {"read"},
)
CLASSES = {
    "in_flight": {"scheduled", "accepted", "queued", "sending"},
    "successful": {"sent", "delivered", "read"},
    "failed": {"failed", "undelivered", "partially_delivered"},
    "suppressed": {"rate_limited", "skipped", "canceled"},
}
FAILURE_CODES = {
    "unreachable": {"30003", "30008"},
    "invalid_number": {"30005", "30006", "21211", "21614", "21635"},
    "opted_out": {"21610", "30004"},
    "filtered": {"30007"},
    "registration": {"30034", "30032", "30879"},
    "throughput": {"30001", "30022", "30023", "21611", "20429", "63038"},
    "account": {"20003", "30002", "21606", "21608", "21408"},
    "provider": {"30500"},
    "unmapped": set(),
}
OUTCOME_IS_FINAL = {"delivered", "read", "undelivered", "failed", "partially_delivered"}
PLACEHOLDERS = {"RATE_LIMITED"}
WITHHELD = {
    "anonymous",
    "restricted",
    "unavailable",
    "unknown",
    "+266696687",
    "+7378742833",
    "+2562533",
    "+86282452253",
}
Z = 1.959964


# Days


def local_day(at: object, zone: ZoneInfo) -> date | None:
    return at.astimezone(zone).date() if isinstance(at, datetime) else None


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC)


def usage_day(row: Row, zone: ZoneInfo, *, usage_by_time: bool = False) -> date | None:
    """Return the day of usage: by its date, or, where dates are those of another zone, by its time if that is sane."""
    at = row["created_at"]
    is_sane = isinstance(at, datetime) and datetime(2000, 1, 1, tzinfo=UTC) <= at < datetime(2101, 1, 1, tzinfo=UTC)
    if row["reset_date"] is None or (usage_by_time and is_sane):
        return local_day(at, zone)
    return row["reset_date"] if isinstance(row["reset_date"], date) else None


def undated_rows(events: Events, *, usage_by_time: bool = False) -> dict[str, int]:
    def belongs_to_no_day(table: str, row: Row) -> bool:
        if table == "api_usage":
            return usage_day(row, ZoneInfo("UTC"), usage_by_time=usage_by_time) is None
        return local_day(row["ts" if table == "call_events" else "created_at"], ZoneInfo("UTC")) is None

    return {
        table: sum(belongs_to_no_day(table, row) for row in events[table])
        for table in ("sms_events", "call_events", "api_usage", "owner_alerts")
    }


# Text, statuses, businesses


def smallest(texts: Iterable[str | None]) -> str | None:
    """Return the smallest text that is neither None nor empty, in byte order."""
    return min((text for text in texts if text), key=str.encode, default=None)


def smallest_business(rows: Iterable[Row]) -> UUID | None:
    return min((row["business_id"] for row in rows if row["business_id"] is not None), key=str, default=None)


def cut(text: str | None) -> str | None:
    return None if text is None else text[:100]


def rank_and_name(status: str | None) -> tuple[int, str]:
    name = (status or "").lower()
    for rank, names in enumerate(LOWEST_TO_HIGHEST):
        if name in names:
            return rank, name
    return 0, "unknown"


def class_of(status: str) -> str:
    return next((name for name, statuses in CLASSES.items() if status in statuses), "unknown")


def is_real_sid(sid: str | None) -> bool:
    return bool(sid) and sid not in PLACEHOLDERS


def business_with_number(
    events: Events, number: str | None, phone_columns: Sequence[str], shared_senders: Collection[str]
) -> UUID | None:
    if not number or number in shared_senders:
        return None
    having = [
        business["id"]
        for business in events["businesses"]
        if any(business[phone_column] == number for phone_column in phone_columns)
    ]
    return having[0] if len(having) == 1 else None


# What several rows of one key amount to


def groups_of_day(
    rows: Iterable[Row], day: date, *, key: Callable[[Row], object], time: str, zone: ZoneInfo, settle_days: int
) -> list[list[Row]]:
    """Return, for every key seen on the day and not in the settle window before, its rows to the window's end."""
    window = timedelta(days=settle_days)
    dated_rows_of_key = defaultdict(list)
    for row in rows:
        row_day = local_day(row[time], zone)
        if row_day is not None:
            dated_rows_of_key[key(row)].append((row_day, row))
    groups = []
    for dated_rows in dated_rows_of_key.values():
        seen_on_day = any(row_day == day for row_day, _ in dated_rows)
        seen_before = any(day - window <= row_day < day for row_day, _ in dated_rows)
        if seen_on_day and not seen_before:
            groups.append([row for row_day, row in dated_rows if day <= row_day <= day + window])
    return groups


def message_key(row: Row) -> tuple[object, ...]:
    if is_real_sid(row["message_sid"]):
        return ("sid", row["message_sid"])
    if row["request_id"]:
        return ("req", row["request_id"], row["to_number"] or "")
    return ("row", row["id"])


def call_key(row: Row) -> tuple[object, ...]:
    return ("sid", row["call_sid"]) if row["call_sid"] else ("row", row["id"])


def alerts_of_message(events: Events, rows: list[Row], day: date, zone: ZoneInfo, settle_days: int) -> list[Row]:
    kind, sid, *_ = message_key(rows[0])
    if kind != "sid":
        return []
    window = timedelta(days=settle_days)
    alerts = []
    for alert in events["owner_alerts"]:
        alert_day = local_day(alert["created_at"], zone)
        if alert["message_sid"] == sid and alert_day is not None and day - window <= alert_day <= day + window:
            alerts.append(alert)
    return alerts


def audience_of(rows: list[Row], alerts: list[Row]) -> str:
    to_owner = alerts or any((row["request_id"] or "").endswith("-owner") for row in rows)
    return "owner" if to_owner else "customer"


def business_of_message(
    events: Events, rows: list[Row], alerts: list[Row], shared_senders: Collection[str]
) -> UUID | None:
    named = smallest_business(rows) or smallest_business(alerts)
    if named:
        return named
    sender = smallest(row["from_number"] for row in rows)
    return business_with_number(events, sender, ["twilio_phone"], shared_senders)


def status_and_error(rows: list[Row]) -> tuple[str, str | None]:
    _, status = max(rank_and_name(row["status"]) for row in rows)
    _, error = max((rank_and_name(row["status"])[0], (row["error_code"] or "").encode()) for row in rows)
    return status, error.decode() or None


def counted_as(rows: list[Row]) -> tuple[int, int, int]:
    """Return (message_count, late_report_count, inbound_count) of one message."""
    if all((row["status"] or "").lower() in {"received", "receiving"} for row in rows):
        return 0, 0, 1
    if all(row["request_id"] == "twilio-report" for row in rows):
        return 0, 1, 0
    return 1, 0, 0


# Facts


def sms_outcomes(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime | None = None,
) -> dict[tuple[Any, ...], tuple[int, int, int]]:
    """Return {(business, audience, sender, status, class, error): (message, late report, inbound counts)}."""
    messages = groups_of_day(
        events["sms_events"], day, key=message_key, time="created_at", zone=zone, settle_days=settle_days
    )
    outcomes: dict[tuple[Any, ...], tuple[int, int, int]] = {}
    for rows in messages:
        alerts = alerts_of_message(events, rows, day, zone, settle_days)
        status, error = status_and_error(rows)
        key = (
            business_of_message(events, rows, alerts, shared_senders),
            audience_of(rows, alerts),
            cut(smallest(row["from_number"] for row in rows)),
            status,
            class_of(status),
            cut(error),
        )
        sent, late, inbound = outcomes.get(key, (0, 0, 0))
        sent_more, late_more, inbound_more = counted_as(rows)
        outcomes[key] = (sent + sent_more, late + late_more, inbound + inbound_more)
    return outcomes


def spend(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime | None = None,
    usage_by_time: bool = False,
) -> dict[tuple[Any, ...], tuple[int, int, Decimal, int, int]]:
    """Return {(business, service, model, endpoint): (requests, tokens, cost, unpriced requests and tokens)}."""
    totals: dict[tuple[Any, ...], tuple[int, int, Decimal, int, int]] = {}
    for row in events["api_usage"]:
        tokens = row["tokens_used"] or 0
        recorded = row["cost_estimate"]
        cost = Decimal(0) if recorded is None or Decimal(recorded).is_nan() else Decimal(recorded)
        is_marker = row["endpoint"] == "daily_reset"
        if usage_day(row, zone, usage_by_time=usage_by_time) != day or (is_marker and tokens == 0 and cost == 0):
            continue
        is_unpriced = not is_marker and tokens > 0 and cost == 0
        key = (row["business_id"], cut(row["service"]), cut(row["model"]), cut(row["endpoint"]))
        requests, all_tokens, all_cost, unpriced, unpriced_tokens = totals.get(key, (0, 0, Decimal(0), 0, 0))
        totals[key] = (
            requests + (0 if is_marker else 1),
            all_tokens + tokens,
            all_cost + cost,
            unpriced + (1 if is_unpriced else 0),
            unpriced_tokens + (tokens if is_unpriced else 0),
        )
    return totals


def call_volume(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime | None = None,
) -> dict[UUID | None, tuple[int, int, int]]:
    """Return {business: (calls, missed calls, inbound texts)}."""
    voice = [
        row
        for row in events["call_events"]
        if row["event_type"].startswith("voice.") and row["event_type"] != "voice.test"
    ]
    texts = [row for row in events["call_events"] if row["event_type"] == "sms.inbound"]
    total: Counter[UUID | None] = Counter()
    missed: Counter[UUID | None] = Counter()
    received: Counter[UUID | None] = Counter()

    def business_of(rows: list[Row]) -> UUID | None:
        called = smallest(row["to_number"] for row in rows)
        return smallest_business(rows) or business_with_number(
            events, called, ["twilio_phone", "public_phone"], shared_senders
        )

    for rows in groups_of_day(voice, day, key=call_key, time="ts", zone=zone, settle_days=settle_days):
        total[business_of(rows)] += 1
        missed[business_of(rows)] += any(row["event_type"] == "voice.missed" for row in rows)
    for rows in groups_of_day(texts, day, key=call_key, time="ts", zone=zone, settle_days=settle_days):
        received[business_of(rows)] += 1
    return {business: (total[business], missed[business], received[business]) for business in {*total, *received}}


def texts_to_customers(
    events: Events, day: date, *, zone: ZoneInfo, settle_days: int, shared_senders: Collection[str]
) -> list[dict[str, Any]]:
    """Return what is known, at the end of the day's settle window, of the texts that began on the day or the next."""
    found = []
    for first_day, window in ((day, settle_days), (day + timedelta(days=1), settle_days - 1)):
        for rows in groups_of_day(
            events["sms_events"], first_day, key=message_key, time="created_at", zone=zone, settle_days=window
        ):
            alerts = alerts_of_message(events, rows, first_day, zone, window)
            if counted_as(rows) == (1, 0, 0) and audience_of(rows, alerts) == "customer":
                found.append(
                    {
                        "at": min(row["created_at"] for row in rows),
                        "to": min((row["to_number"] for row in rows), key=str.encode),
                        "business": business_of_message(events, rows, alerts, shared_senders),
                        "class": class_of(status_and_error(rows)[0]),
                    }
                )
    return found


def missed_call_replies(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime,
    reply_minutes: int = 5,
) -> dict[UUID | None, tuple[Any, ...]]:
    """Return {business: (in time, late, never, unknown, median and 95th percentile of the wait in ms, minutes)}."""
    voice = [
        row
        for row in events["call_events"]
        if row["event_type"].startswith("voice.") and row["event_type"] != "voice.test"
    ]
    texts = texts_to_customers(events, day, zone=zone, settle_days=settle_days, shared_senders=shared_senders)
    counts: dict[UUID | None, Counter[str]] = defaultdict(Counter)
    waits: dict[UUID | None, list[int]] = defaultdict(list)
    for rows in groups_of_day(voice, day, key=call_key, time="ts", zone=zone, settle_days=settle_days):
        missed = [row["ts"] for row in rows if row["event_type"] == "voice.missed"]
        if not missed:
            continue
        began, missed_at = min(row["ts"] for row in rows), min(missed)
        business = smallest_business(rows) or business_with_number(
            events, smallest(row["to_number"] for row in rows), ["twilio_phone", "public_phone"], shared_senders
        )
        caller = smallest(row["from_number"] for row in rows)
        near = [t for t in texts if t["to"] == caller and began <= t["at"] <= missed_at + timedelta(hours=24)]
        answers = [t["at"] for t in near if business and t["business"] == business and t["class"] == "successful"]
        promised = missed_at + timedelta(minutes=reply_minutes)
        if caller is None or caller.lower() in WITHHELD or business is None:
            counts[business]["unknown"] += 1
        elif answers:
            counts[business]["in time" if min(answers) <= promised else "late"] += 1
            waits[business].append(max(0, (min(answers) - missed_at) // timedelta(milliseconds=1)))
        elif as_of < promised or any(
            t["class"] in {"in_flight", "unknown"} or (t["class"] == "successful" and t["business"] is None)
            for t in near
            if t["business"] in {None, business}
        ):
            counts[business]["unknown"] += 1
        else:
            counts[business]["never"] += 1

    def nearest_rank(business: UUID | None, share: int) -> int | None:
        """Return the smallest wait that at least that many percent of the waits do not exceed."""
        ordered = sorted(waits[business])
        return ordered[math.ceil(Fraction(share * len(ordered), 100)) - 1] if ordered else None

    return {
        business: (
            *(count[state] for state in ("in time", "late", "never", "unknown")),
            nearest_rank(business, 50),
            nearest_rank(business, 95),
            reply_minutes,
        )
        for business, count in counts.items()
    }


def owner_alert_delivery(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime | None = None,
) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Return {(business, alert type): (sent, failed)}."""
    deliveries: dict[tuple[Any, ...], tuple[int, int]] = {}
    for alert in events["owner_alerts"]:
        if local_day(alert["created_at"], zone) != day or alert["alert_type"].startswith("pipeline."):
            continue
        is_sent = alert["delivered"] is True and is_real_sid(alert["message_sid"])
        key = (alert["business_id"], cut(alert["alert_type"]))
        sent, failed = deliveries.get(key, (0, 0))
        deliveries[key] = (sent + 1, failed) if is_sent else (sent, failed + 1)
    return deliveries


# What people read


def failure_class_of(error: str | None) -> str:
    return next((name for name, codes in FAILURE_CODES.items() if error in codes), "unmapped")


def message_counts(outcomes: Mapping[tuple[Any, ...], tuple[int, int, int]]) -> dict[UUID | None, Counter[str]]:
    """Return the attempted messages of each business, counted by status, by class and as ``all`` and ``final``."""
    counts: dict[UUID | None, Counter[str]] = defaultdict(Counter)
    for (business, _, _, status, status_class, error), (messages, _, _) in outcomes.items():
        if messages:
            counts[business]["all"] += messages
            counts[business]["class " + status_class] += messages
            if status_class == "failed":
                counts[business]["failed " + failure_class_of(error)] += messages
            counts[business]["delivered or read"] += messages if status in {"delivered", "read"} else 0
            counts[business]["final"] += messages if status in OUTCOME_IS_FINAL else 0
    return counts


def daily_stats(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime,
    usage_by_time: bool = False,
) -> dict[UUID | None, dict[str, Any]]:
    """Return {business: the row of daily_stats without id and updated_at}."""
    outcomes = sms_outcomes(events, day, zone=zone, settle_days=settle_days, shared_senders=shared_senders)
    messages = message_counts(outcomes)
    calls = call_volume(events, day, zone=zone, settle_days=settle_days, shared_senders=shared_senders)
    replies = missed_call_replies(
        events, day, zone=zone, settle_days=settle_days, shared_senders=shared_senders, as_of=as_of
    )
    usage = spend(events, day, zone=zone, usage_by_time=usage_by_time)
    alerts = owner_alert_delivery(events, day, zone=zone)
    businesses = {*messages, *calls, *(business for business, *_ in usage), *(business for business, _ in alerts)}

    def row_of(business: UUID | None) -> dict[str, Any]:
        sms = messages.get(business, Counter())
        total, missed, received = calls.get(business, (0, 0, 0))
        in_time, late, never, reply_unknown, *_ = replies.get(business, (0, 0, 0, 0))
        openai = [v for (whose, service, _, _), v in usage.items() if whose == business and service == "openai"]
        delivery = [v for (whose, _), v in alerts.items() if whose == business]
        return {
            "business_id": business,
            "date": day,
            "calls_total": total,
            "calls_missed": missed,
            "calls_answered": total - missed,
            "messages_received": received,
            "messages_sent": sms["all"],
            "sms_success_count": sms["class successful"],
            "sms_failure_count": sms["class failed"],
            "openai_tokens_used": sum(tokens for _, tokens, _, _, _ in openai),
            "openai_cost_estimate": sum((cost for _, _, cost, _, _ in openai), Decimal(0)),
            "owner_alerts_sent": sum(sent for sent, _ in delivery),
            "sms_delivered_count": sms["delivered or read"],
            "sms_in_flight_count": sms["class in_flight"],
            "sms_suppressed_count": sms["class suppressed"],
            "sms_unknown_count": sms["class unknown"],
            "openai_requests": sum(requests for requests, _, _, _, _ in openai),
            "openai_unpriced_requests": sum(unpriced for _, _, _, unpriced, _ in openai),
            "owner_alerts_failed": sum(failed for _, failed in delivery),
            "data_through": min(end_of_day(day, zone), as_of),
            "is_final": as_of >= end_of_day(day + timedelta(days=settle_days), zone),
            "missed_calls_replied": in_time + late,
            "missed_calls_unreplied": never,
            "missed_calls_reply_unknown": reply_unknown,
        }

    return {business: row_of(business) for business in businesses}


def percent_half_up(part: int, whole: int) -> Decimal | None:
    if whole == 0:
        return None
    return Decimal(math.floor(Fraction(10000 * part, whole) + Fraction(1, 2))) / 100


def wilson_lower_percent(failed: int, successful: int) -> Decimal | None:
    n = float(failed + successful)
    if n == 0:
        return None
    p = failed / n
    z2 = Z * Z
    margin = Z * math.sqrt((p * (1 - p) + z2 / (4 * n)) / n)
    lower = (p + z2 / (2 * n) - margin) / (1 + z2 / n)
    return Decimal(math.floor(lower * 10000 + 0.5)) / 100


def sms_failure_rates(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime | None = None,
) -> dict[UUID | None, dict[str, Any]]:
    """Return {business: the row of sms_failure_rates without id and updated_at}, where anything was attempted."""
    outcomes = sms_outcomes(events, day, zone=zone, settle_days=settle_days, shared_senders=shared_senders)
    rates = {}
    for business, sms in message_counts(outcomes).items():
        successful, failed, suppressed = sms["class successful"], sms["class failed"], sms["class suppressed"]
        rates[business] = {
            "business_id": business,
            "date": day,
            "total_attempts": sms["all"],
            "successful": successful,
            "failed": failed,
            "failure_rate_percent": percent_half_up(failed, successful + failed),
            "in_flight": sms["class in_flight"],
            "suppressed": suppressed,
            "unknown": sms["class unknown"],
            "coverage_percent": percent_half_up(sms["final"], sms["all"] - suppressed),
            "failure_rate_lower_percent": wilson_lower_percent(failed, successful),
            **{f"failed_{name}": sms[f"failed {name}"] for name in FAILURE_CODES},
        }
    return rates
