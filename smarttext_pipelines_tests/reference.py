"""The data contract read aloud in plain Python: slow, obvious, and independent of the pipeline.

Nothing here is imported from ``smarttext_pipelines``; ranks, classes and rules are stated again, so that a slip in one
place shows as a difference. Every function answers for one reporting day, from events as plain dictionaries. A time is
an aware datetime; None, anything that is no datetime (such as the text ``infinity``), and a time before 2000 or after
2100 belong to no day. The daily functions take the same options, needed or not, so that a test can call any of them by
name.
"""

import hashlib
import hmac
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
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
WORDS_FOR_NONE = {"undefined", "null", "None", "NaN"}
PLACEHOLDERS = {"RATE_LIMITED", *WORDS_FOR_NONE}
NO_REQUESTS = {*WORDS_FOR_NONE, *("-owner", "undefined-owner", "null-owner", "None-owner", "NaN-owner")}
NO_CODES = {"unknown", "undefined", "null", "none", "nil", "nan", "n/a", "na", "-", "0"}
MAX_ROWS_OF_A_KEY, MAX_NUMBERS_OF_A_KEY = 200, 3
SEPARATORS = (
    " \t\n\r\v\f-.()/"
    "\u00a0\u00ad\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200e\u200f"
    "\u2010\u2011\u2012\u2013\u2014\u2015\u202a\u202c\u202f\u2060\u2212\u3000\ufeff"
)
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
UTC_ZONE = ZoneInfo("UTC")


# Rows of facts, with the names of their columns


class OutcomeKey(NamedTuple):
    business_id: UUID | None
    audience: str
    sender: str | None
    status: str
    status_class: str
    error_code: str | None


class MessageCounts(NamedTuple):
    message_count: int = 0
    late_report_count: int = 0
    inbound_count: int = 0


class SpendKey(NamedTuple):
    business_id: UUID | None
    service: str | None
    model: str | None
    endpoint: str | None


class Spent(NamedTuple):
    request_count: int = 0
    tokens_used: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced_requests: int = 0
    unpriced_tokens: int = 0


class Calls(NamedTuple):
    calls_total: int = 0
    calls_missed: int = 0
    messages_received: int = 0


class Replies(NamedTuple):
    replied_in_time_count: int = 0
    replied_late_count: int = 0
    unreplied_count: int = 0
    reply_unknown_count: int = 0
    wait_p50_ms: int | None = None
    wait_p95_ms: int | None = None
    reply_minutes: int = 5


class AlertKey(NamedTuple):
    business_id: UUID | None
    alert_type: str | None


class Deliveries(NamedTuple):
    sent_count: int = 0
    failed_count: int = 0


class CustomerKey(NamedTuple):
    business_id: UUID | None
    customer_key: str | None


class CustomerCounts(NamedTuple):
    calls_total: int = 0
    calls_missed: int = 0
    replied_in_time_count: int = 0
    replied_late_count: int = 0
    unreplied_count: int = 0
    reply_unknown_count: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    sms_success_count: int = 0
    sms_failure_count: int = 0
    sms_in_flight_count: int = 0
    sms_suppressed_count: int = 0
    sms_unknown_count: int = 0
    openai_requests: int = 0
    openai_tokens_used: int = 0
    openai_cost_estimate: Decimal = Decimal(0)
    openai_unpriced_requests: int = 0


# Days


def in_reach(day: object) -> bool:
    return isinstance(day, date) and date(2000, 1, 1) <= day <= date(2100, 12, 31)


def local_day(at: object, zone: ZoneInfo) -> date | None:
    if not isinstance(at, datetime) or not 1900 < at.year < 2200:
        return None
    day = at.astimezone(zone).date()
    return day if in_reach(day) else None


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC)


def usage_day(row: Row, zone: ZoneInfo, *, usage_by_time: bool = False) -> date | None:
    """Return the day of usage: by its date, or, where dates are those of another zone, by its time if that is sane."""
    at = row["created_at"]
    is_sane = isinstance(at, datetime) and datetime(2000, 1, 1, tzinfo=UTC) <= at < datetime(2101, 1, 1, tzinfo=UTC)
    if row["reset_date"] is None or (usage_by_time and is_sane):
        return local_day(at, zone)
    return row["reset_date"] if in_reach(row["reset_date"]) else None


def undated_rows(events: Events, zone: ZoneInfo = UTC_ZONE, *, usage_by_time: bool = False) -> dict[str, int]:
    def belongs_to_no_day(table: str, row: Row) -> bool:
        if table == "api_usage":
            return usage_day(row, zone, usage_by_time=usage_by_time) is None
        return local_day(row["ts" if table == "call_events" else "created_at"], zone) is None

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


def is_call_sid(sid: str | None) -> bool:
    return bool(sid) and sid not in WORDS_FOR_NONE


def is_real_request(request: str | None) -> bool:
    return bool(request) and request not in NO_REQUESTS


def compared_number(number: str | None) -> str:
    """Return a telephone number without ``whatsapp:``, spaces and separators."""
    text = "".join(letter for letter in number or "" if letter not in SEPARATORS)
    return text[9:] if text.startswith("whatsapp:") else text


def e164(number: str | None) -> str | None:
    """Return a number with plus and country; None where it is withheld, has no country or is none."""
    text = compared_number(number)
    if re.fullmatch("[2-9][0-9]{9}", text):
        return f"+1{text}"
    found = re.fullmatch(r"(?:\+|00|011)?([1-9][0-9]{6,14})", text)
    return f"+{found[1]}" if found and f"+{found[1]}" not in WITHHELD else None


def customer_key_of(number: str | None, secret: bytes) -> str | None:
    found = e164(number)
    return None if found is None else hmac.new(secret, found.encode(), hashlib.sha256).hexdigest()


def counted_code(text: str | None) -> tuple[int, str]:
    """Return (2, the number in it), (1, the word) or, for a word that means none, (0, nothing)."""
    for run in re.findall("[0-9]+", text or ""):
        if 4 <= len(run) <= 6:
            return 2, run
    is_none = (text or "").lower().replace(" ", "") in {"", *NO_CODES}
    return (0, "") if is_none else (1, str(text))


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
    rows: Iterable[Row],
    day: date,
    *,
    keys: Callable[[Row], Sequence[tuple[object, ...]]],
    number: str,
    time: str,
    zone: ZoneInfo,
    settle_days: int,
) -> list[tuple[tuple[object, ...], list[Row]]]:
    """Return, for every key seen on the day and not in the settle window before, its rows to the window's end.

    ``keys`` gives the keys that a row may have, the best first. Where the rows of the day that share one are more than
    a message can have, or name more numbers, it is no key on that day and each row takes its next one.
    """

    def grouped(dated_rows: Iterable[tuple[date, Row]], level: int) -> list[tuple[tuple[object, ...], list[Row]]]:
        rows_of_key = defaultdict(list)
        for row_day, row in dated_rows:
            rows_of_key[keys(row)[min(level, len(keys(row)) - 1)]].append((row_day, row))
        found = []
        for key, members in rows_of_key.items():
            today = [row for row_day, row in members if row_day == day]
            numbers = {compared_number(row[number]) for row in today} - {""}
            if len(today) > MAX_ROWS_OF_A_KEY or len(numbers) > MAX_NUMBERS_OF_A_KEY:
                found += grouped(members, level + 1)
            elif today and not any(day - window <= row_day < day for row_day, _ in members):
                found.append((key, [row for row_day, row in members if day <= row_day <= day + window]))
        return found

    window = timedelta(days=settle_days)
    dated = [(row_day, row) for row in rows if (row_day := local_day(row[time], zone)) is not None]
    return grouped(dated, 0)


def message_keys(row: Row) -> list[tuple[object, ...]]:
    by_row = ("row", row["id"])
    by_request = ("req", row["request_id"], row["to_number"] or "") if is_real_request(row["request_id"]) else by_row
    if not is_real_sid(row["message_sid"]):
        return list(dict.fromkeys([by_request, by_row]))
    # Under a sid that is no key, requests are told apart by themselves; they are not those of rows without a sid.
    within = ("within", row["message_sid"], *by_request) if by_request != by_row else by_row
    return list(dict.fromkeys([("sid", row["message_sid"]), within, by_row]))


def message_key(row: Row) -> tuple[object, ...]:
    return message_keys(row)[0]


def call_keys(row: Row) -> list[tuple[object, ...]]:
    by_row = ("row", row["id"])
    return [("sid", row["call_sid"]), by_row] if is_call_sid(row["call_sid"]) else [by_row]


def grouped_messages(
    events: Events, day: date, *, zone: ZoneInfo, settle_days: int
) -> list[tuple[list[Row], list[Row]]]:
    """Return the rows and the owner alerts of every message of the day."""
    found = groups_of_day(
        events["sms_events"],
        day,
        keys=message_keys,
        number="to_number",
        time="created_at",
        zone=zone,
        settle_days=settle_days,
    )
    return [(rows, alerts_of_message(events, key, day, zone, settle_days)) for key, rows in found]


def grouped_calls(rows: list[Row], day: date, *, zone: ZoneInfo, settle_days: int) -> list[list[Row]]:
    found = groups_of_day(
        rows, day, keys=call_keys, number="from_number", time="ts", zone=zone, settle_days=settle_days
    )
    return [rows_of_call for _, rows_of_call in found]


def alerts_of_message(
    events: Events, key: tuple[object, ...], day: date, zone: ZoneInfo, settle_days: int
) -> list[Row]:
    kind, sid, *_ = key
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
    _, (_, error) = max((rank_and_name(row["status"])[0], counted_code_in_bytes(row)) for row in rows)
    return status, error.decode() or None


def counted_code_in_bytes(row: Row) -> tuple[int, bytes]:
    kind, code = counted_code(row["error_code"])
    return kind, code.encode()


def counted_as(rows: list[Row]) -> MessageCounts:
    """Return how one message counts."""
    if all((row["status"] or "").lower() in {"received", "receiving"} for row in rows):
        return MessageCounts(inbound_count=1)
    if all(row["request_id"] == "twilio-report" for row in rows):
        return MessageCounts(late_report_count=1)
    return MessageCounts(message_count=1)


# Facts


def sms_outcomes(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime | None = None,
) -> dict[OutcomeKey, MessageCounts]:
    outcomes: dict[OutcomeKey, MessageCounts] = {}
    for rows, alerts in grouped_messages(events, day, zone=zone, settle_days=settle_days):
        status, error = status_and_error(rows)
        key = OutcomeKey(
            business_id=business_of_message(events, rows, alerts, shared_senders),
            audience=audience_of(rows, alerts),
            sender=cut(smallest(row["from_number"] for row in rows)),
            status=status,
            status_class=class_of(status),
            error_code=cut(error),
        )
        earlier = outcomes.get(key, MessageCounts())
        outcomes[key] = MessageCounts(*map(sum, zip(earlier, counted_as(rows), strict=True)))
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
) -> dict[SpendKey, Spent]:
    totals: dict[SpendKey, Spent] = {}
    for row, spent in counted_usage(events, day, zone, usage_by_time=usage_by_time):
        key = SpendKey(row["business_id"], cut(row["service"]), cut(row["model"]), cut(row["endpoint"]))
        earlier = totals.get(key, Spent())
        totals[key] = Spent(*map(sum, zip(earlier, spent, strict=True)))
    return totals


def counted_usage(events: Events, day: date, zone: ZoneInfo, *, usage_by_time: bool) -> list[tuple[Row, Spent]]:
    """Return the rows of usage of a day that are counted, with what each counts."""
    found = []
    for row in events["api_usage"]:
        tokens = row["tokens_used"] or 0
        recorded = row["cost_estimate"]
        is_cost = recorded is not None and Decimal(recorded).is_finite() and abs(Decimal(recorded)) < 10**13
        cost = Decimal(recorded) if is_cost else Decimal(0)
        is_marker = row["endpoint"] == "daily_reset"
        if usage_day(row, zone, usage_by_time=usage_by_time) != day or (is_marker and tokens == 0 and cost == 0):
            continue
        is_unpriced = not is_marker and tokens > 0 and cost == 0
        spent = Spent(0 if is_marker else 1, tokens, cost, 1 if is_unpriced else 0, tokens if is_unpriced else 0)
        found.append((row, spent))
    return found


def call_volume(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime | None = None,
) -> dict[UUID | None, Calls]:
    total: Counter[UUID | None] = Counter()
    missed: Counter[UUID | None] = Counter()
    received: Counter[UUID | None] = Counter()
    for call in calls_and_texts(events, day, zone=zone, settle_days=settle_days, shared_senders=shared_senders):
        total[call.business] += not call.is_text
        missed[call.business] += call.is_missed
        received[call.business] += call.is_text
    return {business: Calls(total[business], missed[business], received[business]) for business in {*total, *received}}


class CallOrText(NamedTuple):
    business: UUID | None
    number: str | None
    is_text: bool
    is_missed: bool


def calls_and_texts(
    events: Events, day: date, *, zone: ZoneInfo, settle_days: int, shared_senders: Collection[str]
) -> list[CallOrText]:
    """Return the calls and the inbound texts that began on the day."""
    voice = [
        row
        for row in events["call_events"]
        if row["event_type"].startswith("voice.") and row["event_type"] != "voice.test"
    ]
    texts = [row for row in events["call_events"] if row["event_type"] == "sms.inbound"]
    found = []
    for kind, is_text in ((voice, False), (texts, True)):
        for rows in grouped_calls(kind, day, zone=zone, settle_days=settle_days):
            called = smallest(row["to_number"] for row in rows)
            business = smallest_business(rows) or business_with_number(
                events, called, ["twilio_phone", "public_phone"], shared_senders
            )
            caller = smallest(row["from_number"] for row in rows)
            is_missed = any(row["event_type"] == "voice.missed" for row in rows)
            found.append(CallOrText(business, caller, is_text, is_missed))
    return found


def texts_to_customers(
    events: Events, day: date, *, zone: ZoneInfo, settle_days: int, shared_senders: Collection[str]
) -> list[dict[str, Any]]:
    """Return what is known of the texts that began on the day, on the day before and on the next.

    Of a neighbour's texts one day less is looked at in both directions, so that nothing lies outside the day's window.
    """
    found = []
    for days, window in ((-1, settle_days - 1), (0, settle_days), (1, settle_days - 1)):
        first_day = day + timedelta(days=days)
        for rows, alerts in grouped_messages(events, first_day, zone=zone, settle_days=window):
            if counted_as(rows).message_count and audience_of(rows, alerts) == "customer":
                found.append(
                    {
                        "at": min(row["created_at"] for row in rows),
                        "to": compared_number(smallest(row["to_number"] for row in rows)),
                        "names": {row["request_id"] for row in rows},
                        "business": business_of_message(events, rows, alerts, shared_senders),
                        "class": class_of(status_and_error(rows)[0]),
                    }
                )
    return found


class MissedCall(NamedTuple):
    business: UUID | None
    caller: str
    state: str
    wait_ms: int | None


def missed_calls(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int,
    shared_senders: Collection[str],
    as_of: datetime,
    reply_minutes: int,
) -> list[MissedCall]:
    """Return the missed calls of the day, with what became of each: in time, late, never or unknown."""
    voice = [
        row
        for row in events["call_events"]
        if row["event_type"].startswith("voice.") and row["event_type"] != "voice.test"
    ]
    texts = texts_to_customers(events, day, zone=zone, settle_days=settle_days, shared_senders=shared_senders)
    found = []
    for rows in grouped_calls(voice, day, zone=zone, settle_days=settle_days):
        missed = [row["ts"] for row in rows if row["event_type"] == "voice.missed"]
        if not missed:
            continue
        began, missed_at = min(row["ts"] for row in rows), min(missed)
        business = smallest_business(rows) or business_with_number(
            events, smallest(row["to_number"] for row in rows), ["twilio_phone", "public_phone"], shared_senders
        )
        caller = compared_number(smallest(row["from_number"] for row in rows))
        sid = rows[0]["call_sid"]

        def may_answer(
            text: Row, began: datetime = began, missed_at: datetime = missed_at, caller: str = caller, sid: Any = sid
        ) -> bool:
            names_it = is_call_sid(sid) and sid in text["names"]
            earliest = began - (timedelta(hours=24) if names_it else timedelta(seconds=5))
            return bool(text["to"] == caller and earliest <= text["at"] <= missed_at + timedelta(hours=24))

        near = [text for text in texts if may_answer(text)]
        answers = [t["at"] for t in near if business and t["business"] == business and t["class"] == "successful"]
        promised = missed_at + timedelta(minutes=reply_minutes)
        state, wait_ms = "never", None
        if not caller or caller.lower() in WITHHELD or business is None:
            state = "unknown"
        elif answers:
            state = "in time" if min(answers) <= promised else "late"
            wait_ms = max(0, (min(answers) - missed_at) // timedelta(milliseconds=1))
        elif as_of < promised or any(
            t["class"] in {"in_flight", "unknown"} or (t["class"] == "successful" and t["business"] is None)
            for t in near
            if t["business"] in {None, business}
        ):
            state = "unknown"
        found.append(MissedCall(business, caller, state, wait_ms))
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
) -> dict[UUID | None, Replies]:
    terms: dict[str, Any] = {"zone": zone, "settle_days": settle_days, "shared_senders": shared_senders}
    calls = missed_calls(events, day, as_of=as_of, reply_minutes=reply_minutes, **terms)
    counts: dict[UUID | None, Counter[str]] = defaultdict(Counter)
    waits: dict[UUID | None, list[int]] = defaultdict(list)
    for call in calls:
        counts[call.business][call.state] += 1
        if call.wait_ms is not None:
            waits[call.business].append(call.wait_ms)

    def nearest_rank(business: UUID | None, share: int) -> int | None:
        """Return the smallest wait that at least that many percent of the waits do not exceed."""
        ordered = sorted(waits[business])
        return ordered[math.ceil(Fraction(share * len(ordered), 100)) - 1] if ordered else None

    return {
        business: Replies(
            replied_in_time_count=count["in time"],
            replied_late_count=count["late"],
            unreplied_count=count["never"],
            reply_unknown_count=count["unknown"],
            wait_p50_ms=nearest_rank(business, 50),
            wait_p95_ms=nearest_rank(business, 95),
            reply_minutes=reply_minutes,
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
) -> dict[AlertKey, Deliveries]:
    deliveries: dict[AlertKey, Deliveries] = {}
    for alert in events["owner_alerts"]:
        if local_day(alert["created_at"], zone) != day or alert["alert_type"].startswith("pipeline."):
            continue
        is_sent = alert["delivered"] is True and is_real_sid(alert["message_sid"])
        key = AlertKey(alert["business_id"], cut(alert["alert_type"]))
        sent, failed = deliveries.get(key, Deliveries())
        deliveries[key] = Deliveries(sent + 1, failed) if is_sent else Deliveries(sent, failed + 1)
    return deliveries


def customer_of_request(
    events: Events, request: str | None, day: date, *, zone: ZoneInfo, settle_days: int
) -> str | None:
    """Return the number, with plus and country, of the one customer whose texts name a request near a day."""
    if not is_real_request(request) or request == "twilio-report":
        return None
    window = timedelta(days=settle_days)
    numbers = set()
    for row in events["sms_events"]:
        row_day = local_day(row["created_at"], zone)
        if row["request_id"] != request or row_day is None or not day - window <= row_day <= day + window:
            continue
        sid = row["message_sid"]
        if is_real_sid(sid) and alerts_of_message(events, ("sid", sid), day, zone, settle_days):
            continue
        is_inbound = (row["status"] or "").lower() in {"received", "receiving"}
        numbers.add(e164(row["from_number"] if is_inbound else row["to_number"]))
    numbers -= {None}
    return numbers.pop() if len(numbers) == 1 and not str(request).endswith("-owner") else None


def customer_days(
    events: Events,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int = 4,
    shared_senders: Collection[str] = frozenset(),
    as_of: datetime,
    usage_by_time: bool = False,
    reply_minutes: int = 5,
    secret: bytes,
) -> dict[CustomerKey, CustomerCounts]:
    counts: dict[CustomerKey, Counter[str]] = defaultdict(Counter)
    costs: dict[CustomerKey, Decimal] = defaultdict(Decimal)
    terms: dict[str, Any] = {"zone": zone, "settle_days": settle_days, "shared_senders": shared_senders}

    def of(business: UUID | None, number: str | None) -> CustomerKey:
        return CustomerKey(business, customer_key_of(number, secret))

    for call in calls_and_texts(events, day, **terms):
        count = counts[of(call.business, call.number)]
        count["messages_received"] += call.is_text
        count["calls_total"] += not call.is_text
        count["calls_missed"] += call.is_missed
    states = {
        "in time": "replied_in_time_count",
        "late": "replied_late_count",
        "never": "unreplied_count",
        "unknown": "reply_unknown_count",
    }
    for missed in missed_calls(events, day, as_of=as_of, reply_minutes=reply_minutes, **terms):
        counts[of(missed.business, missed.caller)][states[missed.state]] += 1
    classes = {
        "successful": "sms_success_count",
        "failed": "sms_failure_count",
        "in_flight": "sms_in_flight_count",
        "suppressed": "sms_suppressed_count",
        "unknown": "sms_unknown_count",
    }
    for rows, alerts in grouped_messages(events, day, zone=zone, settle_days=settle_days):
        if counted_as(rows).message_count and audience_of(rows, alerts) == "customer":
            business = business_of_message(events, rows, alerts, shared_senders)
            count = counts[of(business, smallest(row["to_number"] for row in rows))]
            count["messages_sent"] += 1
            count[classes[class_of(status_and_error(rows)[0])]] += 1
    for row, spent in counted_usage(events, day, zone, usage_by_time=usage_by_time):
        if row["service"] == "openai":
            number = customer_of_request(events, row.get("request_id"), day, zone=zone, settle_days=settle_days)
            key = of(row["business_id"], number)
            counts[key]["openai_requests"] += spent.request_count
            counts[key]["openai_tokens_used"] += spent.tokens_used
            counts[key]["openai_unpriced_requests"] += spent.unpriced_requests
            costs[key] += spent.cost_usd
    return {key: CustomerCounts(**count, openai_cost_estimate=costs[key]) for key, count in counts.items()}


# What people read


def failure_class_of(error: str | None) -> str:
    return next((name for name, codes in FAILURE_CODES.items() if error in codes), "unmapped")


def message_counts(outcomes: Mapping[OutcomeKey, MessageCounts]) -> dict[UUID | None, Counter[str]]:
    """Return the attempted messages of each business, counted by status, by class and as ``all`` and ``final``."""
    counts: dict[UUID | None, Counter[str]] = defaultdict(Counter)
    for key, (messages, _, _) in outcomes.items():
        if messages:
            count = counts[key.business_id]
            count["all"] += messages
            count["class " + key.status_class] += messages
            if key.status_class == "failed":
                count["failed " + failure_class_of(key.error_code)] += messages
            count["delivered or read"] += messages if key.status in {"delivered", "read"} else 0
            count["final"] += messages if key.status in OUTCOME_IS_FINAL else 0
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
    businesses = {*messages, *calls, *(key.business_id for key in usage), *(key.business_id for key in alerts)}

    def row_of(business: UUID | None) -> dict[str, Any]:
        sms = messages.get(business, Counter())
        called, replied = calls.get(business, Calls()), replies.get(business, Replies())
        openai = [v for key, v in usage.items() if (key.business_id, key.service) == (business, "openai")]
        delivery = [v for key, v in alerts.items() if key.business_id == business]
        return {
            "business_id": business,
            "date": day,
            "calls_total": called.calls_total,
            "calls_missed": called.calls_missed,
            "calls_answered": called.calls_total - called.calls_missed,
            "messages_received": called.messages_received,
            "messages_sent": sms["all"],
            "sms_success_count": sms["class successful"],
            "sms_failure_count": sms["class failed"],
            "openai_tokens_used": sum(each.tokens_used for each in openai),
            "openai_cost_estimate": sum((each.cost_usd for each in openai), Decimal(0)),
            "owner_alerts_sent": sum(each.sent_count for each in delivery),
            "sms_delivered_count": sms["delivered or read"],
            "sms_in_flight_count": sms["class in_flight"],
            "sms_suppressed_count": sms["class suppressed"],
            "sms_unknown_count": sms["class unknown"],
            "openai_requests": sum(each.request_count for each in openai),
            "openai_unpriced_requests": sum(each.unpriced_requests for each in openai),
            "owner_alerts_failed": sum(each.failed_count for each in delivery),
            "data_through": min(end_of_day(day, zone), as_of),
            "is_final": as_of >= end_of_day(day + timedelta(days=settle_days), zone),
            "missed_calls_replied": replied.replied_in_time_count + replied.replied_late_count,
            "missed_calls_unreplied": replied.unreplied_count,
            "missed_calls_reply_unknown": replied.reply_unknown_count,
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
