"""Event sets as production writes them: generated (``event_sets``) and one made by hand (``every_peculiarity``).

Values come from small shared pools, so that keys repeat, numbers collide, and times fall on the edges of days. Every
set can be inserted into the PostgreSQL schema as it is; rows name the columns that a definition depends on. The makers
of single rows (``sms_event`` and so on) serve hand-written examples too.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

Row = dict[str, Any]
Events = dict[str, list[Row]]

ID_SPACE = UUID("6d1f0a52-6f0e-4d5c-9a55-0c35b1f7a001")
TABLES = ("businesses", "sms_events", "call_events", "api_usage", "owner_alerts")
MAX_ROWS = 25
DAYS_AROUND = 7

BUSINESS_IDS = (
    UUID("f0000000-0000-4000-8000-000000000001"),
    UUID("0a000000-0000-4000-8000-000000000002"),
    UUID("a0000000-0000-4000-8000-000000000003"),
    UUID("7fffffff-0000-4000-8000-000000000004"),
)
"""Their order as text differs from their place in this list."""

SHARED_NUMBER = "+15550009000"
SHARED_SENDERS = frozenset({SHARED_NUMBER})
LONG = "\u00fc" * 299
"""Two texts that begin so are one dimension after the cut at 100 characters, and 200 bytes there."""

NUMBERS = (
    "+15550001000",
    "+15550002000",
    "+15550003000",
    SHARED_NUMBER,
    "15550001000",
    "+" + LONG,
)
SPELLINGS = ("whatsapp:+15550100001", "(555) 010-0001", "0015550100002", "15550100002", "5550100001", "0755501000")
"""Of the two numbers that customers have, and one without its country."""

SIDS = ("SM1", "SM2", "SM3", "SM4", "SM5", "RATE_LIMITED", "", None)
ODD_SIDS = ("sm1", "rate_limited", " ")
REQUEST_IDS = (
    None,
    "",
    "req-1",
    "req-2",
    "req-2-owner",
    "-owner",
    "SM1-owner",
    "twilio-report",
    "req-2-OWNER",
    "SM1",
    "req-1+15550100001",
)
KNOWN_STATUSES = (
    "queued",
    "sent",
    "delivered",
    "undelivered",
    "failed",
    "accepted",
    "scheduled",
    "sending",
    "read",
    "canceled",
    "partially_delivered",
    "receiving",
    "received",
    "rate_limited",
    "skipped",
)
ODD_STATUSES = ("Delivered", "QUEUED", "Received", "unknown", "UNKNOWN", "", "delivered ", "on-hold", "s" * 300)
ERROR_CODES = (
    None,
    "",
    "30003",
    "30007",
    "21610",
    "30034",
    "-30007",
    "a",
    "B",
    "\u00e9",
    "\uff5e",
    "\U0001f600",
    LONG + "a",
    LONG + "b",
)
"""The last ones sort differently by locale, by UTF-16 unit and by byte."""

CALL_TYPES = ("voice.missed", "voice.inbound", "voice.completed", "voice.test", "sms.inbound")
ODD_CALL_TYPES = ("voice.", "voice", "voice_missed", "Voice.missed", "voice.test2", "sms.outbound", "")
SERVICES = ("openai", "twilio", "OpenAI", "", LONG + "a", LONG + "b")
ENDPOINTS = ("chat", "daily_reset", "DAILY_RESET", "daily_reset ", "", LONG + "a", LONG + "b")
MODELS = (None, "", "gpt-4o-mini", "openai/GPT-4o-2024-05-13", "ft:gpt-4o-mini:a:b", LONG + "a", LONG + "b")
TOKENS = (0, None, 1, 1000, -5, 2_147_483_647, -2_147_483_648)
COSTS = (None, *map(Decimal, ("0", "0.000001", "12.345678", "-0.5", "999999999999.999999", "-999999999999.999999")))
UNTRUE_TIMES = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2101, 1, 1, tzinfo=UTC),
    datetime(9000, 1, 1, tzinfo=UTC),
)
"""Times of usage beside which its date is more likely."""
ALERT_TYPES = ("missed_call", "urgent_message", "pipeline.failure_rate", "pipeline_x", "Pipeline.x", LONG + "a", "")


# Single rows


def row_id(table: str, number: int) -> UUID:
    """Return the id of a generated row; its text is also used as a sid, where it must not meet the row's own key."""
    return uuid5(ID_SPACE, f"{table} {number}")


def business(number: int = 1, **columns: Any) -> Row:
    """Return the business with the number (1 to 4), without phones unless given."""
    return {
        "id": BUSINESS_IDS[number - 1],
        "name": f"Business {number}",
        "public_phone": None,
        "twilio_phone": None,
        **columns,
    }


def sms_event(number: int, created_at: datetime | None, **columns: Any) -> Row:
    """Return a queued text without sid, request, business or error unless given."""
    return {
        "id": row_id("sms_events", number),
        "message_sid": None,
        "from_number": "",
        "to_number": "+15550100001",
        "business_id": None,
        "status": "queued",
        "error_code": None,
        "request_id": None,
        "created_at": created_at,
        **columns,
    }


def call_event(number: int, ts: datetime | None, **columns: Any) -> Row:
    """Return an inbound call without sid, numbers or business unless given."""
    return {
        "id": row_id("call_events", number),
        "call_sid": None,
        "from_number": "+15550100001",
        "to_number": None,
        "business_id": None,
        "event_type": "voice.inbound",
        "ts": ts,
        **columns,
    }


def api_call(number: int, created_at: datetime | None, **columns: Any) -> Row:
    """Return an OpenAI request without tokens, cost, business or reset_date unless given."""
    return {
        "id": row_id("api_usage", number),
        "service": "openai",
        "endpoint": "chat",
        "business_id": None,
        "tokens_used": None,
        "cost_estimate": None,
        "model": None,
        "request_id": None,
        "created_at": created_at,
        "reset_date": None,
        **columns,
    }


def owner_alert(number: int, created_at: datetime | None, **columns: Any) -> Row:
    """Return an alert about a missed call of the first business, not delivered and without sid unless given."""
    return {
        "id": row_id("owner_alerts", number),
        "business_id": BUSINESS_IDS[0],
        "owner_phone": "+15550100009",
        "customer_phone": "+15550100001",
        "alert_type": "missed_call",
        "message_content": "You missed a call.",
        "message_sid": None,
        "delivered": False,
        "created_at": created_at,
        **columns,
    }


def events(**tables: Iterable[Row]) -> Events:
    """Return an event set of the given tables; the others are empty."""
    return {table: list(tables.get(table, ())) for table in TABLES}


# Generated sets


def days_around(centre: date) -> list[date]:
    """Return the days of an event set, the centre first."""
    return sorted((centre + timedelta(days=n) for n in range(-DAYS_AROUND, DAYS_AROUND + 1)), key=lambda d: d != centre)


def instant(day: date, zone: ZoneInfo, at: time = time.min) -> datetime:
    """Return the instant (UTC) of a wall-clock time of a day; the earlier one where the clock shows it twice."""
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)


def clock_changes(zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
    """Return the half hours between two instants at which the zone's offset changes."""
    step = timedelta(minutes=30)
    ticks = [first + step * n for n in range((last - first) // step)]
    return [at for at in ticks if (at - step).astimezone(zone).utcoffset() != at.astimezone(zone).utcoffset()]


def instants_around(zone: ZoneInfo, centre: date) -> list[datetime]:
    """Return noons, and the instants one microsecond around local midnights, UTC midnights and clock changes.

    The centre, its neighbours, and the ends of its settle window of four days appear three times as often.
    """
    days = days_around(centre)
    noons = [instant(day, zone, time(12)) for day in days]
    midnights = [instant(day, zone) for day in days]
    changes = clock_changes(zone, min(midnights), max(midnights))
    others = [*(instant(centre + timedelta(days=n), ZoneInfo("UTC")) for n in (-4, 0, 1, 5)), *changes]
    repeated = [at + timedelta(hours=n) for at in changes for n in (-1, 1)]
    microsecond = timedelta(microseconds=1)
    edges = [at + microsecond * n for at in (*midnights, *others) for n in (-1, 0, 1)]
    found = list(dict.fromkeys((*noons, *edges, *repeated)))
    often = {centre + timedelta(days=n) for n in (-5, -4, -1, 0, 1, 4, 5)}
    return found + 2 * [at for at in found if at.astimezone(zone).date() in often]


def _often(often: Sequence[Any], *seldom: Any, times: int = 3) -> st.SearchStrategy[Any]:
    return st.sampled_from((*often, *seldom, *(value for value in often for _ in range(times - 1))))


def _rows(table: str, columns: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[list[Row]]:
    row_and_copies = st.tuples(st.fixed_dictionaries(columns), st.sampled_from((1, 1, 1, 2, 3)))

    def with_ids(drawn: list[tuple[Row, int]]) -> list[Row]:
        rows = [row for row, copies in drawn for _ in range(copies)]
        return [{"id": row_id(table, number), **row} for number, row in enumerate(rows[:MAX_ROWS])]

    # Branches with a least size are there because a list without one is short on average.
    sizes = ((0, 5), (6, 16), (12, 16))
    return st.one_of(*(st.lists(row_and_copies, min_size=least, max_size=most) for least, most in sizes)).map(with_ids)


def _businesses(count: int) -> st.SearchStrategy[list[Row]]:
    phone = st.sampled_from((None, "", *NUMBERS))
    phones = st.tuples(*(st.tuples(phone, phone) for _ in range(count)))
    return phones.map(
        lambda pairs: [business(n, twilio_phone=own, public_phone=public) for n, (own, public) in enumerate(pairs, 1)]
    )


def _sids(*tables: str) -> st.SearchStrategy[str | None]:
    return _often(SIDS, *ODD_SIDS, *(str(row_id(table, 0)) for table in tables))


def _sets_with(count: int, times: Sequence[Any], dates: Sequence[Any], costs: Sequence[Any]) -> st.SearchStrategy[Any]:
    named, at = BUSINESS_IDS[:count], st.sampled_from(times)
    named_or_none = st.sampled_from((None, None, None, *named))
    sms_events = {
        "message_sid": _sids("sms_events"),
        "from_number": _often(("", NUMBERS[0]), *NUMBERS),
        "to_number": _often(("+15550100001", "+15550100002", ""), *SPELLINGS, "+" + LONG),
        "business_id": named_or_none,
        "status": _often(KNOWN_STATUSES[:4], *KNOWN_STATUSES, *ODD_STATUSES),
        "error_code": _often((None,), *ERROR_CODES, times=len(ERROR_CODES)),
        "request_id": _often((None, "twilio-report"), *REQUEST_IDS),
        "created_at": at,
    }
    call_events = {
        "call_sid": _sids("call_events"),
        "from_number": _often(("+15550100001", "+15550100002"), *SPELLINGS, None, "", "Anonymous", "+266696687"),
        "to_number": st.sampled_from((None, "", *NUMBERS)),
        "business_id": named_or_none,
        "event_type": _often(CALL_TYPES, *ODD_CALL_TYPES),
        "ts": at,
    }
    api_usage = {
        "service": _often(("openai",), *SERVICES, times=len(SERVICES)),
        "endpoint": _often(("chat", "daily_reset"), *ENDPOINTS),
        "business_id": named_or_none,
        "tokens_used": st.sampled_from(TOKENS),
        "cost_estimate": st.sampled_from(costs),
        "model": _often((None, "gpt-4o-mini"), *MODELS),
        "request_id": _often((None, "req-1", "SM1"), *REQUEST_IDS),
        "created_at": st.one_of(at, at, at, st.sampled_from(UNTRUE_TIMES)),
        "reset_date": st.sampled_from((*(None for _ in dates), *dates)),
    }
    owner_alerts = {
        "business_id": st.sampled_from(named),
        "owner_phone": st.just("+15550100009"),
        "customer_phone": st.just("+15550100001"),
        "alert_type": _often(("missed_call",), *ALERT_TYPES),
        "message_content": st.just("You missed a call."),
        "message_sid": _sids(),
        "delivered": st.sampled_from((True, True, False, None)),
        "created_at": at,
    }
    return st.fixed_dictionaries(
        {
            "businesses": _businesses(count),
            "sms_events": _rows("sms_events", sms_events),
            "call_events": _rows("call_events", call_events),
            "api_usage": _rows("api_usage", api_usage),
            "owner_alerts": _rows("owner_alerts", owner_alerts),
        }
    )


@lru_cache
def event_sets(zone: ZoneInfo, centre: date, *, only_postgres_holds: bool = False) -> st.SearchStrategy[Events]:
    """Generate event sets of the days around the centre; rows are often equal but for their id.

    With ``only_postgres_holds`` some times are ``infinity`` (as text) and some costs NaN, which Parquet cannot hold.
    """
    times: list[Any] = [*instants_around(zone, centre), *(None for _ in range(4))]
    dates: list[Any] = days_around(centre)
    costs: list[Any] = [*COSTS]
    if only_postgres_holds:
        times += ["infinity", "-infinity"] * 2
        dates += ["infinity", "-infinity"]
        costs += [Decimal("NaN")]
    return st.one_of(*(_sets_with(count, times, dates, costs) for count in range(1, len(BUSINESS_IDS) + 1)))


def few_sets(sets: st.SearchStrategy[Events], *, emptiest: bool) -> tuple[st.SearchStrategy[Events], int]:
    """Return sets and how many to draw where few are: one with rows in every table, and if asked the emptiest.

    The first set that is drawn is always the emptiest: of one alone, no row would be seen.
    """
    return (sets, 2) if emptiest else (sets.filter(lambda found: all(found.values())), 1)


# One set by hand


def every_peculiarity(zone: ZoneInfo, centre: date) -> Events:
    """Return one fixed set that holds each of the ten peculiarities of the contract's section 2."""

    def noon(days: int = 0, minutes: int = 0) -> datetime:
        return instant(centre + timedelta(days=days), zone, time(12)) + timedelta(minutes=minutes)

    return events(
        businesses=_peculiar_businesses(),
        sms_events=_numbered(sms_event, _peculiar_texts(noon)),
        call_events=_numbered(call_event, _peculiar_calls(noon)),
        api_usage=_numbered(api_call, _peculiar_usage(noon, centre)),
        owner_alerts=_numbered(owner_alert, _peculiar_alerts(noon)),
    )


def _numbered(maker: Any, rows: list[tuple[datetime | None, Row]]) -> list[Row]:
    return [maker(number, at, **columns) for number, (at, columns) in enumerate(rows)]


def _peculiar_businesses() -> list[Row]:
    own, of_two, public = NUMBERS[0], NUMBERS[1], NUMBERS[2]
    return [
        business(1, twilio_phone=own, public_phone=public),
        business(2, twilio_phone=SHARED_NUMBER),
        business(3, twilio_phone=of_two),
        business(4, twilio_phone=of_two, public_phone=own),
    ]


def _peculiar_texts(noon: Any) -> list[tuple[datetime | None, Row]]:
    first, _, third, fourth = BUSINESS_IDS
    own, of_two = NUMBERS[0], NUMBERS[1]
    response = json.dumps({"sid": "SM-twice", "to": "+15550100001", "body": "Sorry we missed you, Jane!"})

    def text(at: datetime | None, **columns: Any) -> tuple[datetime | None, Row]:
        return at, {"payload": "{}", "error_message": None, **columns}

    return [
        # 1: the sender's row, the caller's row; 10: the whole response, with the number and the text in it
        text(noon(), message_sid="SM-twice", from_number=own, request_id="req-1", payload=response),
        text(noon(), message_sid="SM-twice", from_number=own, request_id="req-1", business_id=first),
        # 4: reports out of order, more than once, 72 hours late
        text(noon(0, 9), message_sid="SM-twice", status="delivered", request_id="twilio-report"),
        text(noon(0, 10), message_sid="SM-twice", status="sent", request_id="twilio-report"),
        text(noon(3), message_sid="SM-twice", status="delivered", request_id="twilio-report"),
        # 1: texts to the owner carry no business
        text(noon(), message_sid="SM-owner", from_number=SHARED_NUMBER, request_id="req-2-owner"),
        # 2: a failed send, twice without sid; 10: a number in the error message
        text(noon(), message_sid="", request_id="req-3", status="failed", error_code="21610", business_id=third),
        text(
            noon(0, 1),
            message_sid="",
            request_id="req-3",
            status="failed",
            error_code="21610",
            error_message="The message From/To pair +15550100001 violates a blacklist rule.",
        ),
        # 2: two rate-limited sends under one placeholder
        text(noon(), message_sid="RATE_LIMITED", request_id="req-4", status="rate_limited", business_id=fourth),
        text(noon(), message_sid="RATE_LIMITED", request_id="req-5", status="rate_limited", business_id=fourth),
        # 3: other cases, other words, inbound statuses
        text(noon(), message_sid="SM-case", status="Queued", business_id=first),
        text(noon(), message_sid="SM-word", status="on-hold", business_id=first),
        text(noon(), message_sid="SM-inbound", status="received", business_id=first),
        # 6: a shared sender, a number of two businesses, the number of one
        text(noon(), message_sid="SM-shared", from_number=SHARED_NUMBER, status="sent"),
        text(noon(), message_sid="SM-two", from_number=of_two, status="sent"),
        text(noon(), message_sid="SM-one", from_number=own, status="undelivered", error_code="30003"),
        # 7: no time
        text(None, message_sid="SM-undated", business_id=first),
        # 9: the clean-up has deleted what this late report belongs to
        text(noon(-6), message_sid="SM-deleted", status="undelivered", request_id="twilio-report", error_code="30007"),
    ]


def _peculiar_calls(noon: Any) -> list[tuple[datetime | None, Row]]:
    first, own, public = BUSINESS_IDS[0], NUMBERS[0], NUMBERS[2]
    webhook = json.dumps({"CallSid": "CA-retried", "From": "+15550100001", "CallerName": "JANE DOE"})

    def call(at: datetime | None, sid: str | None, kind: str, **columns: Any) -> tuple[datetime | None, Row]:
        return at, {"payload": "{}", "call_sid": sid, "event_type": kind, **columns}

    return [
        # 5: a retried webhook, inbound and missed; 10: a caller's name
        call(noon(), "CA-retried", "voice.inbound", business_id=first, payload=webhook),
        call(noon(), "CA-retried", "voice.inbound", business_id=first, payload=webhook),
        call(noon(0, 1), "CA-retried", "voice.missed", business_id=first),
        call(noon(), None, "voice.inbound", to_number=public),
        call(noon(), "CA-test", "voice.test", business_id=first),
        call(noon(), "SM-text", "sms.inbound", business_id=first),
        call(noon(), "SM-text", "sms.inbound", business_id=first),
        # 6: the Twilio number of one business is the public number of another
        call(noon(), "CA-two", "voice.inbound", to_number=own),
        call(noon(), "CA-shared", "voice.inbound", to_number=SHARED_NUMBER),
        # 7
        call(None, "CA-undated", "voice.inbound", business_id=first),
    ]


def _peculiar_usage(noon: Any, centre: date) -> list[tuple[datetime | None, Row]]:
    first, second = BUSINESS_IDS[:2]
    cost = Decimal("0.001500")
    return [
        # 7: a marker, a marker that kept tokens, requests of two writers, NULL in every column that may be NULL
        (noon(), {"endpoint": "daily_reset", "tokens_used": 0, "cost_estimate": Decimal(0), "business_id": first}),
        (noon(), {"endpoint": "daily_reset", "tokens_used": 7, "cost_estimate": Decimal(0), "business_id": second}),
        (noon(), {"tokens_used": 1000, "cost_estimate": cost, "model": "gpt-4o-mini", "business_id": first}),
        (noon(), {"tokens_used": 500, "cost_estimate": None, "model": None, "business_id": first}),
        (noon(), {"tokens_used": None, "cost_estimate": None, "business_id": first}),
        (noon(1), {"tokens_used": 20, "cost_estimate": cost, "reset_date": centre, "business_id": first}),
        (None, {"tokens_used": 3, "cost_estimate": Decimal(0), "reset_date": centre}),
        (None, {"tokens_used": 9, "cost_estimate": cost}),
        (noon(), {"service": "twilio", "endpoint": "messages", "cost_estimate": Decimal("0.0079"), "tokens_used": 0}),
    ]


def _peculiar_alerts(noon: Any) -> list[tuple[datetime | None, Row]]:
    third, fourth = BUSINESS_IDS[2], BUSINESS_IDS[3]
    return [
        # 1: what names the business of the text to the owner; 10: a name and a number
        (
            noon(0, 1),
            {
                "message_sid": "SM-owner",
                "delivered": True,
                "business_id": third,
                "message_content": "Missed call from Jane, +15550100001",
            },
        ),
        # 8: delivered beside the placeholder, delivered NULL
        (noon(), {"message_sid": "RATE_LIMITED", "delivered": True, "business_id": fourth}),
        (noon(), {"message_sid": "SM-null", "delivered": None, "business_id": fourth, "alert_type": "urgent_message"}),
        (noon(), {"message_sid": "SM-pipeline", "delivered": True, "alert_type": "pipeline.failure_rate"}),
        # 7
        (None, {"message_sid": "SM-undated-alert", "delivered": True}),
    ]
