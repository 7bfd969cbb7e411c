"""Examples worked out by hand that hold the reference, and therefore everything compared with it, to the contract."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smarttext_pipelines_tests import reference
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    KNOWN_STATUSES,
    SHARED_NUMBER,
    SHARED_SENDERS,
    UNTRUE_TIMES,
    Events,
    Row,
    api_call,
    business,
    call_event,
    event_sets,
    events,
    every_peculiarity,
    owner_alert,
    row_id,
    sms_event,
)

UTC_ZONE = ZoneInfo("UTC")
NEW_YORK = ZoneInfo("America/New_York")
DAY = date(2026, 3, 10)
AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
B1, B2, B3, B4 = BUSINESS_IDS
SMALLEST_OF_ALL = B2
TERMS: dict[str, Any] = {"zone": UTC_ZONE, "settle_days": 4, "shared_senders": SHARED_SENDERS, "as_of": AS_OF}
FACTS = (reference.sms_outcomes, reference.spend, reference.call_volume, reference.owner_alert_delivery)


def at(days: int = 0, hour: int = 12) -> datetime:
    return datetime(2026, 3, 10, hour, tzinfo=UTC) + timedelta(days=days)


def texts(*rows: Row) -> list[Row]:
    """Return sms_events of the given columns, at noon of the day unless they say otherwise."""
    return [sms_event(number, **{"created_at": at(), **row}) for number, row in enumerate(rows)]


def calls(*rows: Row) -> list[Row]:
    return [call_event(number, **{"ts": at(), **row}) for number, row in enumerate(rows)]


def usage(*rows: Row) -> list[Row]:
    return [api_call(number, **{"created_at": at(), **row}) for number, row in enumerate(rows)]


def alerts(*rows: Row) -> list[Row]:
    return [owner_alert(number, **{"created_at": at(), **row}) for number, row in enumerate(rows)]


def outcomes(*rows: Row, day: date = DAY, others: Events | None = None, **terms: Any) -> dict[tuple[Any, ...], Any]:
    return reference.sms_outcomes({**events(**(others or {})), "sms_events": texts(*rows)}, day, **{**TERMS, **terms})


def totals(found: dict[tuple[Any, ...], tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return (messages, late reports, inbound) whatever their dimensions."""
    return tuple(sum(counts[n] for counts in found.values()) for n in range(3))


def only_key(found: dict[Any, Any]) -> dict[str, Any]:
    (key,) = found
    return dict(zip(("business", "audience", "sender", "status", "class", "error"), key, strict=True))


def volume(*rows: Row, day: date = DAY, businesses: list[Row] | None = None, **terms: Any) -> dict[Any, Any]:
    found = events(businesses=businesses or [], call_events=calls(*rows))
    return reference.call_volume(found, day, **{**TERMS, **terms})


def spending(*rows: Row, day: date = DAY, **terms: Any) -> dict[Any, Any]:
    return reference.spend(events(api_usage=usage(*rows)), day, **{**TERMS, **terms})


def delivery(*rows: Row, day: date = DAY) -> dict[Any, Any]:
    return reference.owner_alert_delivery(events(owner_alerts=alerts(*rows)), day, **TERMS)


def stats(day: date = DAY, as_of: datetime = AS_OF, **tables: list[Row]) -> dict[Any, dict[str, Any]]:
    return reference.daily_stats(events(**tables), day, **{**TERMS, "as_of": as_of})


def rates(*statuses: str) -> dict[str, Any]:
    rows = texts(*({"message_sid": f"SM{n}", "status": status} for n, status in enumerate(statuses)))
    return reference.sms_failure_rates(events(sms_events=rows), DAY, **TERMS)[None]


# Days


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", date(2026, 3, 8), 24),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Asia/Beirut", date(2026, 3, 29), 23),  # the clock skips midnight
    ],
)
def test_a_day_lasts_as_long_as_its_zone_says(zone: str, day: date, hours: float):
    found = ZoneInfo(zone)
    begin, end = reference.end_of_day(day - timedelta(days=1), found), reference.end_of_day(day, found)
    assert end - begin == timedelta(hours=hours)
    assert reference.local_day(begin, found) == day
    assert reference.local_day(begin - timedelta(microseconds=1), found) == day - timedelta(days=1)
    assert reference.local_day(end - timedelta(microseconds=1), found) == day


@pytest.mark.parametrize(("microseconds", "day"), [(-1, date(2026, 3, 9)), (0, DAY), (1, DAY)])
def test_every_fact_begins_its_day_at_the_midnight_of_the_zone(microseconds: int, day: date):
    midnight = datetime(2026, 3, 10, 4, 0, tzinfo=UTC) + timedelta(microseconds=microseconds)
    found = events(
        sms_events=texts({"created_at": midnight}),
        call_events=calls({"ts": midnight}),
        api_usage=usage({"created_at": midnight}),
        owner_alerts=alerts({"created_at": midnight}),
    )
    for fact in FACTS:
        days_with_rows = [
            candidate
            for candidate in (date(2026, 3, 8), date(2026, 3, 9), DAY, date(2026, 3, 11))
            if fact(found, candidate, **{**TERMS, "zone": NEW_YORK})
        ]
        assert days_with_rows == [day], fact.__name__


@pytest.mark.parametrize("no_time", [None, "infinity", "-infinity"])
def test_a_row_without_a_finite_time_is_in_no_fact_and_counted_as_undated(no_time: str | None):
    found = events(
        sms_events=texts({"created_at": no_time}, {}),
        call_events=calls({"ts": no_time}, {}, {"ts": no_time}),
        api_usage=usage({"created_at": no_time}),
        owner_alerts=alerts({"created_at": no_time}),
    )
    assert reference.undated_rows(found) == {"sms_events": 1, "call_events": 2, "api_usage": 1, "owner_alerts": 1}
    assert totals(reference.sms_outcomes(found, DAY, **TERMS)) == (1, 0, 0)
    assert reference.call_volume(found, DAY, **TERMS) == {None: (1, 0, 0)}
    assert reference.spend(found, DAY, **TERMS) == {}
    assert reference.owner_alert_delivery(found, DAY, **TERMS) == {}


def test_a_row_without_time_adds_nothing_to_its_message():
    found = outcomes(
        {"message_sid": "SM1"}, {"message_sid": "SM1", "created_at": None, "status": "read", "business_id": B1}
    )
    assert found == {(None, "customer", None, "queued", "in_flight", None): (1, 0, 0)}


# Which rows are one message


def test_a_message_recorded_twice_is_one_message():
    found = outcomes({"message_sid": "SM1", "from_number": "+1"}, {"message_sid": "SM1", "business_id": B1})
    assert found == {(B1, "customer", "+1", "queued", "in_flight", None): (1, 0, 0)}


def test_two_sids_are_two_messages():
    assert totals(outcomes({"message_sid": "SM1"}, {"message_sid": "SM2"})) == (2, 0, 0)


@pytest.mark.parametrize("sid", [None, "", "RATE_LIMITED"])
def test_a_sid_that_is_empty_or_a_placeholder_is_no_key(sid: str | None):
    assert totals(outcomes({"message_sid": sid}, {"message_sid": sid})) == (2, 0, 0)


@pytest.mark.parametrize("sid", [" ", "rate_limited"])
def test_a_sid_that_only_resembles_a_placeholder_is_a_key(sid: str):
    assert totals(outcomes({"message_sid": sid}, {"message_sid": sid})) == (1, 0, 0)


def test_a_failed_send_recorded_twice_is_one_message_by_request_and_recipient():
    failed = {"message_sid": "", "request_id": "req-1", "to_number": "+1", "status": "failed"}
    assert totals(outcomes(failed, {**failed, "message_sid": "RATE_LIMITED"}, {**failed, "message_sid": None})) == (
        1,
        0,
        0,
    )


def test_one_request_to_two_recipients_is_two_messages():
    assert totals(outcomes({"request_id": "req-1", "to_number": "+1"}, {"request_id": "req-1", "to_number": ""})) == (
        2,
        0,
        0,
    )


def test_request_and_recipient_are_not_glued_together():
    assert totals(outcomes({"request_id": "r+1", "to_number": ""}, {"request_id": "r", "to_number": "+1"})) == (2, 0, 0)


def test_an_empty_request_is_no_key():
    assert totals(outcomes({"request_id": ""}, {"request_id": ""}, {"request_id": None})) == (3, 0, 0)


def test_a_sid_a_request_and_a_row_id_of_the_same_text_are_three_messages():
    same = str(row_id("sms_events", 2))
    assert totals(outcomes({"message_sid": same}, {"request_id": same, "to_number": ""}, {})) == (3, 0, 0)


def test_a_sid_counts_before_the_request():
    assert totals(outcomes({"message_sid": "SM1", "request_id": "a"}, {"message_sid": "SM1", "request_id": "b"})) == (
        1,
        0,
        0,
    )


# On which day a message is


def test_a_message_is_on_the_day_of_its_earliest_row_and_on_no_other():
    rows = [{"message_sid": "SM1", "created_at": at(1), "status": "delivered"}, {"message_sid": "SM1"}]
    counts = [totals(outcomes(*rows, day=DAY + timedelta(days=n))) for n in range(-2, 4)]
    assert counts == [(0, 0, 0), (0, 0, 0), (1, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]


def test_a_report_on_the_last_settle_day_counts_and_one_a_day_later_does_not():
    rows = [{"message_sid": "SM1"}, {"message_sid": "SM1", "status": "delivered"}]
    assert only_key(outcomes(rows[0], {**rows[1], "created_at": at(4, 23)}))["status"] == "delivered"
    assert only_key(outcomes(rows[0], {**rows[1], "created_at": at(5, 0)}))["status"] == "queued"


def test_the_settle_window_is_counted_in_calendar_days_and_not_in_hours():
    rows = [
        {"message_sid": "SM1", "created_at": at(0, 0)},
        {"message_sid": "SM1", "created_at": at(4, 23), "status": "read"},
    ]
    assert only_key(outcomes(*rows))["status"] == "read"
    assert only_key(outcomes(*rows, settle_days=3))["status"] == "queued"


def test_a_key_seen_again_within_the_settle_window_is_no_new_message():
    assert outcomes({"message_sid": "SM1", "created_at": at(-4, 0)}, {"message_sid": "SM1"}) == {}


def test_a_key_seen_again_after_the_settle_window_is_a_new_message():
    rows = [
        {"message_sid": "SM1", "created_at": at(-5, 23), "status": "read", "business_id": B1},
        {"message_sid": "SM1"},
    ]
    assert outcomes(*rows) == {(None, "customer", None, "queued", "in_flight", None): (1, 0, 0)}
    assert totals(outcomes(*rows, day=DAY - timedelta(days=5))) == (1, 0, 0)


def test_a_chain_of_rows_within_the_window_of_each_other_is_on_its_first_day_only():
    rows = [{"message_sid": "SM1", "created_at": at(n)} for n in (-8, -4, 0)]
    counts = [totals(outcomes(*rows, day=DAY + timedelta(days=n))) for n in (-8, -4, 0)]
    assert counts == [(1, 0, 0), (0, 0, 0), (0, 0, 0)]


# What a message is


def test_the_status_is_the_highest_and_not_the_latest():
    rows = [
        {"message_sid": "SM1", "status": status, "created_at": at(hour=hour)}
        for hour, status in enumerate(("queued", "delivered", "sent"))
    ]
    assert only_key(outcomes(*rows))["status"] == "delivered"
    assert outcomes(*rows) == outcomes(*reversed(rows))


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("anything", "scheduled"),
        ("scheduled", "accepted"),
        ("accepted", "queued"),
        ("queued", "sending"),
        ("sending", "rate_limited"),
        ("rate_limited", "skipped"),
        ("skipped", "sent"),
        ("sent", "canceled"),
        ("canceled", "failed"),
        ("failed", "undelivered"),
        ("undelivered", "partially_delivered"),
        ("partially_delivered", "delivered"),
        ("delivered", "read"),
    ],
)
def test_each_status_is_below_the_next(lower: str, higher: str):
    rows = [{"message_sid": "SM1", "status": higher}, {"message_sid": "SM1", "status": lower}]
    assert only_key(outcomes(*rows))["status"] == higher


@pytest.mark.parametrize(
    ("recorded", "status", "status_class"),
    [
        ("scheduled", "scheduled", "in_flight"),
        ("accepted", "accepted", "in_flight"),
        ("Queued", "queued", "in_flight"),
        ("SENDING", "sending", "in_flight"),
        ("sent", "sent", "successful"),
        ("delivered", "delivered", "successful"),
        ("read", "read", "successful"),
        ("failed", "failed", "failed"),
        ("undelivered", "undelivered", "failed"),
        ("partially_delivered", "partially_delivered", "failed"),
        ("rate_limited", "rate_limited", "suppressed"),
        ("skipped", "skipped", "suppressed"),
        ("canceled", "canceled", "suppressed"),
        ("unknown", "unknown", "unknown"),
        ("", "unknown", "unknown"),
        ("delivered ", "unknown", "unknown"),
        (None, "unknown", "unknown"),
    ],
)
def test_a_recorded_status_has_one_name_and_one_class(recorded: str | None, status: str, status_class: str):
    found = only_key(outcomes({"status": recorded}))
    assert (found["status"], found["class"]) == (status, status_class)


def test_the_error_code_stands_beside_the_highest_status():
    rows = [
        {"message_sid": "SM1", "status": "failed", "error_code": "99999"},
        {"message_sid": "SM1", "status": "undelivered", "error_code": "30003"},
        {"message_sid": "SM1", "status": "undelivered", "error_code": "30007"},
        {"message_sid": "SM1", "status": "undelivered", "error_code": None},
    ]
    assert only_key(outcomes(*rows))["error"] == "30007"


def test_an_error_code_below_the_highest_status_is_not_shown():
    rows = [{"message_sid": "SM1", "status": "failed", "error_code": "30003"}, {"message_sid": "SM1", "status": "read"}]
    assert only_key(outcomes(*rows))["error"] is None


def test_the_error_code_of_either_equal_rank_counts():
    rows = [
        {"message_sid": "SM1", "status": "rate_limited", "error_code": "b"},
        {"message_sid": "SM1", "status": "skipped", "error_code": "a"},
    ]
    found = only_key(outcomes(*rows))
    assert (found["status"], found["error"]) == ("skipped", "b")


@pytest.mark.parametrize("code", [None, ""])
def test_an_empty_error_code_is_none(code: str | None):
    assert only_key(outcomes({"status": "failed", "error_code": code}))["error"] is None


@pytest.mark.parametrize(("smaller", "greater"), [("B", "a"), ("a", "\u00e9"), ("\uff5e", "\U0001f600"), ("-3", "3")])
def test_texts_are_compared_by_their_bytes(smaller: str, greater: str):
    rows = [{"message_sid": "SM1", "error_code": text, "from_number": text} for text in (greater, smaller)]
    found = only_key(outcomes(*rows))
    assert (found["error"], found["sender"]) == (greater, smaller)


def test_long_texts_are_cut_at_100_characters_and_then_counted_together():
    long = "\u00fc" * 150
    rows = [
        {"error_code": long + "a", "from_number": long + "a"},
        {"error_code": long + "b", "from_number": long + "b"},
    ]
    assert outcomes(*rows) == {(None, "customer", "\u00fc" * 100, "queued", "in_flight", "\u00fc" * 100): (2, 0, 0)}


def test_a_number_is_looked_up_before_it_is_cut():
    long = "+" + "1" * 150
    found = outcomes({"from_number": long}, others=events(businesses=[business(1, twilio_phone=long)]))
    assert only_key(found) | {"business": B1, "sender": long[:100]} == only_key(found)


# Inbound texts and late reports in sms_events


def test_a_message_whose_rows_are_all_inbound_is_no_attempt():
    found = outcomes({"message_sid": "SM1", "status": "received"}, {"message_sid": "SM1", "status": "RECEIVING"})
    assert found == {(None, "customer", None, "unknown", "unknown", None): (0, 0, 1)}


def test_a_message_with_one_outbound_row_is_an_attempt():
    assert totals(outcomes({"message_sid": "SM1", "status": "received"}, {"message_sid": "SM1"})) == (1, 0, 0)


def test_a_message_of_which_only_reports_are_seen_is_a_late_report():
    report = {"message_sid": "SM1", "request_id": "twilio-report", "status": "undelivered", "error_code": "30003"}
    assert outcomes(report, report) == {(None, "customer", None, "undelivered", "failed", "30003"): (0, 1, 0)}


def test_a_report_before_its_attempt_is_part_of_the_attempt():
    report = {"message_sid": "SM1", "request_id": "twilio-report", "status": "delivered", "created_at": at(0, 1)}
    assert totals(outcomes(report, {"message_sid": "SM1", "created_at": at(2)})) == (1, 0, 0)


def test_a_late_report_after_the_window_is_no_attempt_of_its_day():
    rows = [{"message_sid": "SM1", "created_at": at(-5)}, {"message_sid": "SM1", "request_id": "twilio-report"}]
    assert totals(outcomes(*rows)) == (0, 1, 0)


def test_an_inbound_message_that_was_only_reported_is_inbound():
    assert totals(outcomes({"request_id": "twilio-report", "status": "received"})) == (0, 0, 1)


# Audience and business of a message


@pytest.mark.parametrize(
    ("request_id", "audience"),
    [
        ("req-1-owner", "owner"),
        ("-owner", "owner"),
        ("req-1-OWNER", "customer"),
        ("-owner-1", "customer"),
        ("", "customer"),
        (None, "customer"),
    ],
)
def test_a_request_that_ends_in_owner_is_a_text_to_the_owner(request_id: str | None, audience: str):
    rows = [{"message_sid": "SM1", "request_id": None}, {"message_sid": "SM1", "request_id": request_id}]
    assert only_key(outcomes(*rows))["audience"] == audience


@pytest.mark.parametrize(("days", "found"), [(-5, False), (-4, True), (4, True), (5, False)])
def test_an_alert_with_the_sid_makes_it_a_text_to_the_owner_and_names_the_business(days: int, found: bool):
    others = events(owner_alerts=alerts({"message_sid": "SM1", "business_id": B3, "created_at": at(days)}))
    key = only_key(outcomes({"message_sid": "SM1"}, others=others))
    assert (key["audience"], key["business"]) == (("owner", B3) if found else ("customer", None))


def test_alerts_are_looked_for_around_the_day_and_not_around_a_later_row():
    others = events(owner_alerts=alerts({"message_sid": "SM1", "created_at": at(5)}))
    rows = [{"message_sid": "SM1"}, {"message_sid": "SM1", "created_at": at(4)}]
    assert only_key(outcomes(*rows, others=others))["audience"] == "customer"


@pytest.mark.parametrize("sid", ["RATE_LIMITED", "", None])
def test_an_alert_never_meets_a_message_without_a_real_sid(sid: str | None):
    others = events(owner_alerts=alerts({"message_sid": sid}))
    key = only_key(outcomes({"message_sid": sid, "request_id": "req-1"}, others=others))
    assert (key["audience"], key["business"]) == ("customer", None)


def test_an_alert_never_meets_a_request_of_the_same_text():
    others = events(owner_alerts=alerts({"message_sid": "req-1"}))
    assert only_key(outcomes({"request_id": "req-1"}, others=others))["audience"] == "customer"


def test_the_business_is_the_smallest_as_text_among_the_rows():
    found = outcomes(*({"message_sid": "SM1", "business_id": named} for named in (B1, None, B2, B3)))
    assert only_key(found)["business"] == SMALLEST_OF_ALL


def test_the_rows_name_the_business_before_the_alerts_and_the_alerts_before_the_number():
    others = events(
        businesses=[business(4, twilio_phone="+1")],
        owner_alerts=alerts(
            {"message_sid": "SM1", "business_id": B1},
            {"message_sid": "SM1", "business_id": B3},
            {"message_sid": "SM1", "business_id": B2, "created_at": None},
        ),
    )
    row = {"message_sid": "SM1", "from_number": "+1"}
    assert only_key(outcomes(row, {**row, "business_id": B1}, others=others))["business"] == B1
    assert only_key(outcomes(row, others=others))["business"] == B3
    assert only_key(outcomes({**row, "message_sid": "SM2"}, others=others))["business"] == B4


def test_a_number_of_two_businesses_identifies_neither():
    others = events(businesses=[business(1, twilio_phone="+1"), business(2, twilio_phone="+1")])
    assert only_key(outcomes({"from_number": "+1"}, others=others))["business"] is None


def test_a_shared_sender_identifies_nobody():
    others = events(businesses=[business(1, twilio_phone=SHARED_NUMBER)])
    row = {"from_number": SHARED_NUMBER}
    assert only_key(outcomes(row, others=others))["business"] is None
    assert only_key(outcomes(row, others=others, shared_senders=set()))["business"] == B1


@pytest.mark.parametrize("phone", ["", None])
def test_an_empty_number_identifies_nobody_and_is_no_sender(phone: str | None):
    others = events(businesses=[business(1, twilio_phone=phone, public_phone=phone)])
    key = only_key(outcomes({"from_number": ""}, others=others))
    assert (key["business"], key["sender"]) == (None, None)


def test_a_text_is_not_attributed_by_a_public_phone():
    others = events(businesses=[business(1, public_phone="+1")])
    assert only_key(outcomes({"from_number": "+1"}, others=others))["business"] is None


def test_only_the_smallest_sender_is_looked_up():
    others = events(businesses=[business(1, twilio_phone="+2")])
    rows = [{"message_sid": "SM1", "from_number": number} for number in ("+2", "", "+1")]
    key = only_key(outcomes(*rows, others=others))
    assert (key["business"], key["sender"]) == (None, "+1")


# Calls


def test_a_retried_webhook_is_one_call_and_missed_if_any_row_says_so():
    rows = [{"call_sid": "CA1", "event_type": kind} for kind in ("voice.missed", "voice.inbound", "voice.inbound")]
    assert volume(*rows) == {None: (1, 1, 0)}


@pytest.mark.parametrize("sid", [None, ""])
def test_calls_without_sid_are_counted_by_row(sid: str | None):
    assert volume({"call_sid": sid}, {"call_sid": sid}) == {None: (2, 0, 0)}


def test_a_call_sid_and_a_row_id_of_the_same_text_are_two_calls():
    assert volume({"call_sid": str(row_id("call_events", 1))}, {}) == {None: (2, 0, 0)}


def test_the_placeholder_of_texts_is_an_ordinary_call_sid():
    assert volume({"call_sid": "RATE_LIMITED"}, {"call_sid": "RATE_LIMITED"}) == {None: (1, 0, 0)}


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("voice.inbound", (1, 0, 0)),
        ("voice.missed", (1, 1, 0)),
        ("voice.", (1, 0, 0)),
        ("voice.test2", (1, 0, 0)),
        ("sms.inbound", (0, 0, 1)),
    ],
)
def test_an_event_type_is_counted_as_what_it_is(kind: str, counts: tuple[int, int, int]):
    assert volume({"event_type": kind}) == {None: counts}


@pytest.mark.parametrize("kind", ["voice.test", "voice", "voice_missed", "Voice.missed", "sms.outbound", ""])
def test_other_event_types_are_neither_calls_nor_texts(kind: str):
    assert volume({"event_type": kind}) == {}


def test_calls_and_texts_of_one_sid_are_separate():
    rows = [{"call_sid": "X", "event_type": "sms.inbound", "ts": at(-1)}, {"call_sid": "X", "business_id": B1}]
    assert volume(*rows) == {B1: (1, 0, 0)}
    assert volume(*rows, day=DAY - timedelta(days=1)) == {None: (0, 0, 1)}


def test_a_repeated_inbound_text_is_one_text():
    assert volume(*[{"call_sid": "SM1", "event_type": "sms.inbound"}] * 2) == {None: (0, 0, 1)}


def test_a_call_is_on_the_day_of_its_earliest_row_within_the_same_window_as_messages():
    rows = [{"call_sid": "CA1", "ts": at(0, 0)}, {"call_sid": "CA1", "ts": at(4, 23), "event_type": "voice.missed"}]
    assert volume(*rows) == {None: (1, 1, 0)}
    assert volume(*rows, day=DAY + timedelta(days=4)) == {}
    assert volume(*rows, settle_days=3) == {None: (1, 0, 0)}
    assert volume(*rows, day=DAY + timedelta(days=4), settle_days=3) == {None: (1, 1, 0)}


def test_a_test_call_does_not_make_a_call_older():
    rows = [{"call_sid": "CA1", "ts": at(-1), "event_type": "voice.test"}, {"call_sid": "CA1"}]
    assert volume(*rows) == {None: (1, 0, 0)}


def test_a_call_belongs_to_the_smallest_business_among_its_rows():
    assert volume(*({"call_sid": "CA1", "business_id": named} for named in (B3, None, B1))) == {B3: (1, 0, 0)}


@pytest.mark.parametrize(
    ("phones", "whose"),
    [
        ([{"twilio_phone": "+1"}], B1),
        ([{"public_phone": "+1"}], B1),
        ([{"twilio_phone": "+1", "public_phone": "+1"}], B1),
        ([{"twilio_phone": "+1"}, {"public_phone": "+1"}], None),
        ([{"twilio_phone": "+2", "public_phone": "+2"}], None),
    ],
)
def test_a_call_belongs_to_the_one_business_that_has_the_called_number(phones: list[Row], whose: object):
    businesses = [business(n, **columns) for n, columns in enumerate(phones, 1)]
    rows = [{"call_sid": "CA1", "to_number": number} for number in ("+2", "", None, "+1")]
    assert volume(*rows, businesses=businesses) == {whose: (1, 0, 0)}


def test_a_shared_sender_does_not_identify_a_call_or_a_text():
    businesses = [business(1, public_phone=SHARED_NUMBER)]
    rows = [{"to_number": SHARED_NUMBER}, {"to_number": SHARED_NUMBER, "event_type": "sms.inbound"}]
    assert volume(*rows, businesses=businesses) == {None: (1, 0, 1)}


# Spend


def test_spend_adds_up_per_business_service_model_and_endpoint():
    request = {"tokens_used": 100, "cost_estimate": Decimal("0.000001"), "model": "m"}
    assert spending(request, request, {**request, "business_id": B1}, {**request, "endpoint": "e"}) == {
        (None, "openai", "m", "chat"): (2, 200, Decimal("0.000002"), 0, 0),
        (B1, "openai", "m", "chat"): (1, 100, Decimal("0.000001"), 0, 0),
        (None, "openai", "m", "e"): (1, 100, Decimal("0.000001"), 0, 0),
    }


def test_usage_belongs_to_its_reset_date_and_without_one_to_its_day():
    assert spending({"reset_date": DAY, "created_at": at(3)}, {"reset_date": DAY, "created_at": None}, {}) == {
        (None, "openai", None, "chat"): (3, 0, Decimal(0), 0, 0)
    }
    assert spending({"reset_date": DAY, "created_at": at(3)}, day=DAY + timedelta(days=3)) == {}


def test_where_dates_are_those_of_another_zone_usage_belongs_to_the_day_of_its_time():
    by_time = {"usage_by_time": True}
    assert spending({"reset_date": DAY, "created_at": at(3)}, day=DAY + timedelta(days=3), **by_time) != {}
    assert spending({"reset_date": DAY, "created_at": at(3)}, **by_time) == {}
    assert spending({"reset_date": "infinity"}, **by_time) != {}
    for untrue in (None, "infinity", *UNTRUE_TIMES):
        told = spending({"reset_date": DAY, "created_at": untrue}, **by_time)
        assert (told == {}) == (untrue == datetime(2000, 1, 1, tzinfo=UTC)), untrue


def test_an_infinite_reset_date_is_no_day_even_beside_a_time():
    assert spending({"reset_date": "infinity"}) == {}
    assert reference.undated_rows(events(api_usage=usage({"reset_date": "infinity"})))["api_usage"] == 1


def test_usage_with_a_reset_date_is_not_undated():
    assert reference.undated_rows(events(api_usage=usage({"reset_date": DAY, "created_at": None})))["api_usage"] == 0


@pytest.mark.parametrize("nothing", [{}, {"tokens_used": 0, "cost_estimate": Decimal("0.000000")}])
def test_an_empty_marker_is_no_row(nothing: Row):
    assert spending({"endpoint": "daily_reset", **nothing}) == {}


def test_a_marker_with_tokens_or_cost_is_summed_and_is_no_request():
    marker = {"endpoint": "daily_reset", "service": "twilio"}
    assert spending({**marker, "tokens_used": 7}, {**marker, "cost_estimate": Decimal("0.5")}) == {
        (None, "twilio", None, "daily_reset"): (0, 7, Decimal("0.5"), 0, 0)
    }


@pytest.mark.parametrize("endpoint", ["DAILY_RESET", "daily_reset ", "daily_reset" + "x" * 150])
def test_an_endpoint_that_only_resembles_the_marker_is_a_request(endpoint: str):
    assert spending({"endpoint": endpoint}) == {(None, "openai", None, endpoint[:100]): (1, 0, Decimal(0), 0, 0)}


@pytest.mark.parametrize(
    ("tokens", "cost", "unpriced"),
    [
        (5, None, (1, 5)),
        (5, Decimal(0), (1, 5)),
        (5, Decimal("NaN"), (1, 5)),
        (5, Decimal("0.000001"), (0, 0)),
        (5, Decimal("-1"), (0, 0)),
        (0, None, (0, 0)),
        (None, None, (0, 0)),
        (-5, None, (0, 0)),
    ],
)
def test_a_request_is_unpriced_only_with_tokens_and_without_cost(
    tokens: int | None, cost: Decimal | None, unpriced: tuple[int, int]
):
    ((_, _, _, *found),) = spending({"tokens_used": tokens, "cost_estimate": cost}).values()
    assert tuple(found) == unpriced


def test_tokens_and_cost_are_summed_as_recorded_beyond_the_old_limits():
    largest = {"tokens_used": 2_147_483_647, "cost_estimate": Decimal("999999999999.999999")}
    rest = {"tokens_used": -7, "cost_estimate": Decimal("-0.5")}
    assert spending(largest, largest, rest, {"cost_estimate": Decimal("NaN")}) == {
        (None, "openai", None, "chat"): (4, 4_294_967_287, Decimal("1999999999999.499998"), 0, 0)
    }


def test_no_model_and_an_empty_model_are_two():
    assert {key[2] for key in spending({"model": None}, {"model": ""})} == {None, ""}


def test_long_usage_texts_are_cut_and_counted_together():
    long = "x" * 100
    rows = [{"service": long + end, "model": long + end, "endpoint": long + end} for end in "ab"]
    assert spending(*rows) == {(None, long, long, long): (2, 0, Decimal(0), 0, 0)}


# Owner alerts


@pytest.mark.parametrize(
    ("delivered", "sid", "counts"),
    [
        (True, "SM1", (1, 0)),
        (True, "RATE_LIMITED", (0, 1)),
        (True, "", (0, 1)),
        (True, None, (0, 1)),
        (False, "SM1", (0, 1)),
        (None, "SM1", (0, 1)),
    ],
)
def test_an_alert_is_sent_only_if_delivered_with_a_real_sid(
    delivered: bool | None, sid: str | None, counts: tuple[int, int]
):
    assert delivery({"delivered": delivered, "message_sid": sid}) == {(B1, "missed_call"): counts}


def test_two_alerts_with_one_sid_are_two():
    assert delivery(*[{"delivered": True, "message_sid": "SM1"}] * 2) == {(B1, "missed_call"): (2, 0)}


def test_alerts_of_the_pipeline_are_left_out():
    kinds = ("pipeline.failure_rate", "pipeline.", "pipeline_x", "Pipeline.x", "y" * 150)
    assert set(delivery(*({"alert_type": kind} for kind in kinds))) == {
        (B1, "pipeline_x"),
        (B1, "Pipeline.x"),
        (B1, "y" * 100),
    }


# daily_stats


def test_daily_stats_holds_every_column_of_a_business():
    found = stats(
        sms_events=texts(
            *({"message_sid": status, "status": status, "business_id": B1} for status in KNOWN_STATUSES),
            {"message_sid": "odd", "status": "on-hold", "business_id": B1},
            {"message_sid": "late", "request_id": "twilio-report", "business_id": B1},
        ),
        call_events=calls(
            {"business_id": B1, "event_type": "voice.missed"},
            {"business_id": B1},
            {"business_id": B1},
            {"business_id": B1, "event_type": "sms.inbound"},
        ),
        api_usage=usage(
            {"business_id": B1, "tokens_used": 10, "cost_estimate": Decimal("0.25"), "model": "a"},
            {"business_id": B1, "tokens_used": 5},
            {"business_id": B1, "tokens_used": 1, "endpoint": "daily_reset"},
            {"business_id": B1, "tokens_used": 99, "cost_estimate": Decimal(9), "service": "OpenAI"},
        ),
        owner_alerts=alerts(
            {"delivered": True, "message_sid": "SMx"},
            {"delivered": True, "message_sid": "RATE_LIMITED", "alert_type": "urgent_message"},
            {"delivered": True, "message_sid": "SMy", "alert_type": "pipeline.x"},
        ),
    )
    assert found == {
        B1: {
            "business_id": B1,
            "date": DAY,
            "calls_total": 3,
            "calls_missed": 1,
            "calls_answered": 2,
            "messages_received": 1,
            "messages_sent": 14,
            "sms_success_count": 3,
            "sms_failure_count": 3,
            "openai_tokens_used": 16,
            "openai_cost_estimate": Decimal("0.25"),
            "owner_alerts_sent": 1,
            "sms_delivered_count": 2,
            "sms_in_flight_count": 4,
            "sms_suppressed_count": 3,
            "sms_unknown_count": 1,
            "openai_requests": 2,
            "openai_unpriced_requests": 1,
            "owner_alerts_failed": 1,
            "data_through": datetime(2026, 3, 11, tzinfo=UTC),
            "is_final": True,
            "missed_calls_replied": 1,
            "missed_calls_unreplied": 0,
            "missed_calls_reply_unknown": 0,
        }
    }


@pytest.mark.parametrize(
    "tables",
    [
        {"sms_events": texts({"business_id": B1})},
        {"call_events": calls({"business_id": B1})},
        {"call_events": calls({"business_id": B1, "event_type": "sms.inbound"})},
        {"api_usage": usage({"business_id": B1, "service": "twilio"})},
        {"api_usage": usage({"business_id": B1, "endpoint": "daily_reset", "tokens_used": 1})},
        {"owner_alerts": alerts({"delivered": None})},
    ],
)
def test_any_single_event_makes_a_row(tables: dict[str, list[Row]]):
    assert set(stats(**tables)) == {B1}


@pytest.mark.parametrize(
    "tables",
    [
        {"businesses": [business(1)]},
        {"sms_events": texts({"status": "received", "business_id": B1})},
        {"sms_events": texts({"request_id": "twilio-report", "business_id": B1})},
        {"call_events": calls({"event_type": "voice.test", "business_id": B1})},
        {"api_usage": usage({"endpoint": "daily_reset", "business_id": B1})},
        {"owner_alerts": alerts({"alert_type": "pipeline.x"})},
    ],
)
def test_what_is_no_event_makes_no_row(tables: dict[str, list[Row]]):
    assert stats(**tables) == {}


def test_what_belongs_to_no_business_has_one_row_of_its_own():
    found = stats(sms_events=texts({}), call_events=calls({}), api_usage=usage({"business_id": B2}))
    assert {whose: (row["messages_sent"], row["calls_total"]) for whose, row in found.items()} == {
        None: (1, 1),
        B2: (0, 0),
    }


@pytest.mark.parametrize(
    ("as_of", "data_through", "is_final"),
    [
        (at(0, 18), at(0, 18), False),
        (at(1, 0), at(1, 0), False),
        (at(5, 0) - timedelta(microseconds=1), at(1, 0), False),
        (at(5, 0), at(1, 0), True),
    ],
)
def test_a_day_is_final_when_its_settle_window_is_over(as_of: datetime, data_through: datetime, is_final: bool):
    row = stats(sms_events=texts({}), as_of=as_of)[None]
    assert (row["data_through"], row["is_final"]) == (data_through, is_final)


def test_the_end_of_a_day_and_of_its_window_follow_the_zone():
    found = events(sms_events=texts({"created_at": datetime(2026, 3, 8, 5, tzinfo=UTC)}))
    end_of_window = datetime(2026, 3, 13, 4, tzinfo=UTC)
    terms = {**TERMS, "zone": NEW_YORK, "as_of": end_of_window}
    row = reference.daily_stats(found, date(2026, 3, 8), **terms)[None]
    assert (row["data_through"], row["is_final"]) == (datetime(2026, 3, 9, 4, tzinfo=UTC), True)
    earlier = {**terms, "as_of": end_of_window - timedelta(seconds=1)}
    assert not reference.daily_stats(found, date(2026, 3, 8), **earlier)[None]["is_final"]


# sms_failure_rates


def test_failure_rates_hold_every_column():
    statuses = ["delivered", "sent", "failed", "queued", "queued", "skipped", "odd", "read"]
    assert rates(*statuses) == {
        "business_id": None,
        "date": DAY,
        "total_attempts": 8,
        "successful": 3,
        "failed": 1,
        "failure_rate_percent": Decimal("25.00"),
        "in_flight": 2,
        "suppressed": 1,
        "unknown": 1,
        "coverage_percent": Decimal("42.86"),  # delivered, read and failed of seven
        "failure_rate_lower_percent": Decimal("4.56"),
        **{f"failed_{name}": 0 for name in reference.FAILURE_CODES},
        "failed_unmapped": 1,
    }


def test_nothing_decided_has_no_rate_and_no_lower_bound():
    row = rates("queued", "canceled")
    assert (row["failure_rate_percent"], row["failure_rate_lower_percent"]) == (None, None)
    assert row["coverage_percent"] == 0


def test_nothing_but_suppressed_messages_has_no_coverage():
    assert rates("skipped", "canceled")["coverage_percent"] is None


@pytest.mark.parametrize(
    ("status", "coverage"),
    [
        *((status, 100) for status in ("delivered", "read", "undelivered", "failed", "partially_delivered")),
        *((status, 0) for status in ("sent", "queued", "accepted", "scheduled", "sending", "odd")),
        *((status, None) for status in ("canceled", "rate_limited", "skipped")),
    ],
)
def test_an_outcome_is_final_or_not_or_does_not_count(status: str, coverage: int | None):
    assert rates(status)["coverage_percent"] == coverage


@pytest.mark.parametrize("row", [{"status": "received"}, {"request_id": "twilio-report", "status": "failed"}])
def test_no_attempt_has_no_rate(row: Row):
    assert reference.sms_failure_rates(events(sms_events=texts(row)), DAY, **TERMS) == {}


@pytest.mark.parametrize(
    ("part", "whole", "percent"),
    [
        (1, 3, "33.33"),
        (2, 3, "66.67"),
        (1, 800, "0.13"),
        (3, 800, "0.38"),
        (0, 7, "0"),
        (7, 7, "100"),
        (1, 20_001, "0"),
    ],
)
def test_percent_is_rounded_half_up(part: int, whole: int, percent: str):
    assert reference.percent_half_up(part, whole) == Decimal(percent)


@pytest.mark.parametrize(
    ("failed", "successful", "lower"),
    [
        (0, 1, "0.00"),
        (1, 0, "20.65"),  # 1 / (1 + z²)
        (5, 5, "23.66"),
        (5, 4, "26.67"),  # 26.6651
        (10, 90, "5.52"),
        (100, 0, "96.30"),  # 100 / (100 + z²)
    ],
)
def test_the_lower_bound_is_wilsons(failed: int, successful: int, lower: str):
    assert reference.wilson_lower_percent(failed, successful) == Decimal(lower)


# The hand-made set


CENTRE = date(2026, 3, 10)


@pytest.fixture
def peculiar() -> Events:
    return every_peculiarity(NEW_YORK, CENTRE)


def peculiar_terms() -> dict[str, Any]:
    return {**TERMS, "zone": NEW_YORK}


PECULIARITIES: dict[str, Callable[[Events], bool]] = {
    "1 one message is several rows, one of them without business": lambda found: (
        {row["business_id"] for row in found["sms_events"] if row["message_sid"] == "SM-twice"} == {None, B1}
        and any((row["request_id"] or "").endswith("-owner") for row in found["sms_events"])
    ),
    "2 failed and rate-limited sends have no sid of their own": lambda found: (
        sum(row["message_sid"] == "" for row in found["sms_events"]) > 1
        and sum(row["message_sid"] == "RATE_LIMITED" for row in found["sms_events"]) > 1
    ),
    "3 statuses come in any case and in any words": lambda found: (
        {"queued", "Queued", "on-hold", "received"} <= {row["status"] for row in found["sms_events"]}
    ),
    "4 reports arrive late, out of order and twice": lambda found: (
        [row["status"] for row in found["sms_events"] if row["message_sid"] == "SM-twice"][2:]
        == ["delivered", "sent", "delivered"]
    ),
    "5 calls repeat, tests and texts stand among them": lambda found: (
        len([row for row in found["call_events"] if row["call_sid"] == "CA-retried"]) > 2
        and {"voice.test", "sms.inbound", "voice.missed"} <= {row["event_type"] for row in found["call_events"]}
    ),
    "6 numbers are shared": lambda found: (
        len([row for row in found["businesses"] if row["twilio_phone"] == found["businesses"][2]["twilio_phone"]]) == 2
        and any(row["from_number"] == SHARED_NUMBER for row in found["sms_events"])
    ),
    "7 markers and NULL": lambda found: (
        any(row["endpoint"] == "daily_reset" for row in found["api_usage"])
        and all(
            any(row[column] is None for row in found["api_usage"])
            for column in ("tokens_used", "cost_estimate", "reset_date", "created_at", "business_id", "model")
        )
    ),
    "8 delivered beside the placeholder, and NULL": lambda found: (
        any(row["delivered"] and row["message_sid"] == "RATE_LIMITED" for row in found["owner_alerts"])
        and any(row["delivered"] is None for row in found["owner_alerts"])
    ),
    "9 events of old days are gone": lambda found: (
        [row["request_id"] for row in found["sms_events"] if row["message_sid"] == "SM-deleted"] == ["twilio-report"]
    ),
    "10 personal data in payloads and texts": lambda found: (
        any("Jane" in row["payload"] for row in found["sms_events"])
        and any("JANE" in row["payload"] for row in found["call_events"])
        and any("Jane" in row["message_content"] for row in found["owner_alerts"])
    ),
}


@pytest.mark.parametrize("peculiarity", PECULIARITIES)
def test_the_hand_made_set_holds(peculiarity: str, peculiar: Events):
    assert PECULIARITIES[peculiarity](peculiar)


def test_the_messages_of_the_hand_made_set_are_known(peculiar: Events):
    own = "+15550001000"
    assert reference.sms_outcomes(peculiar, CENTRE, **peculiar_terms()) == {
        (B1, "customer", own, "delivered", "successful", None): (1, 0, 0),
        (B3, "owner", SHARED_NUMBER, "queued", "in_flight", None): (1, 0, 0),
        (B3, "customer", None, "failed", "failed", "21610"): (1, 0, 0),
        (B4, "customer", None, "rate_limited", "suppressed", None): (2, 0, 0),
        (B1, "customer", None, "queued", "in_flight", None): (1, 0, 0),
        (B1, "customer", None, "unknown", "unknown", None): (1, 0, 1),
        (None, "customer", SHARED_NUMBER, "sent", "successful", None): (1, 0, 0),
        (None, "customer", "+15550002000", "sent", "successful", None): (1, 0, 0),
        (B1, "customer", own, "undelivered", "failed", "30003"): (1, 0, 0),
    }
    assert reference.sms_outcomes(peculiar, CENTRE - timedelta(days=6), **peculiar_terms()) == {
        (None, "customer", None, "undelivered", "failed", "30007"): (0, 1, 0)
    }


def test_the_other_facts_of_the_hand_made_set_are_known(peculiar: Events):
    assert reference.call_volume(peculiar, CENTRE, **peculiar_terms()) == {B1: (2, 1, 1), None: (2, 0, 0)}
    assert reference.owner_alert_delivery(peculiar, CENTRE, **peculiar_terms()) == {
        (B3, "missed_call"): (1, 0),
        (B4, "missed_call"): (0, 1),
        (B4, "urgent_message"): (0, 1),
    }
    assert reference.spend(peculiar, CENTRE, **peculiar_terms()) == {
        (B2, "openai", None, "daily_reset"): (0, 7, Decimal(0), 0, 0),
        (B1, "openai", "gpt-4o-mini", "chat"): (1, 1000, Decimal("0.0015"), 0, 0),
        (B1, "openai", None, "chat"): (3, 520, Decimal("0.0015"), 1, 500),
        (None, "openai", None, "chat"): (1, 3, Decimal(0), 1, 3),
        (None, "twilio", None, "messages"): (1, 0, Decimal("0.0079"), 0, 0),
    }
    assert reference.undated_rows(peculiar) == {"sms_events": 1, "call_events": 1, "api_usage": 1, "owner_alerts": 1}


# Generated sets

GENERATED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SETS = event_sets(NEW_YORK, date(2026, 3, 8), only_postgres_holds=True)
SOME_DAY = st.integers(-3, 3).map(lambda n: date(2026, 3, 8) + timedelta(days=n))


@GENERATED
@given(found=SETS, day=SOME_DAY, random=st.randoms(use_true_random=False))
def test_no_number_depends_on_the_order_of_the_rows(found: Events, day: date, random: Any):
    shuffled = {table: random.sample(rows, len(rows)) for table, rows in found.items()}
    for function in (*FACTS, reference.daily_stats, reference.sms_failure_rates):
        assert function(found, day, **peculiar_terms()) == function(shuffled, day, **peculiar_terms())


@GENERATED
@given(found=SETS, day=SOME_DAY)
def test_no_number_depends_on_rows_seen_twice(found: Events, day: date):
    """Twice under another id, where a key other than the row id holds the two together."""

    def copies(rows: list[Row], has_key: Callable[[Row], bool]) -> list[Row]:
        return [row | {"id": row_id("copy", number)} for number, row in enumerate(rows) if has_key(row)]

    twice = found | {
        "sms_events": found["sms_events"]
        + copies(found["sms_events"], lambda row: reference.message_key(row)[0] != "row"),
        "call_events": found["call_events"] + copies(found["call_events"], lambda row: bool(row["call_sid"])),
    }
    for fact in (reference.sms_outcomes, reference.call_volume):
        assert fact(found, day, **peculiar_terms()) == fact(twice, day, **peculiar_terms())


@GENERATED
@given(found=SETS)
def test_generated_rows_name_only_businesses_that_exist(found: Events):
    existing = {row["id"] for row in found["businesses"]}
    for table in ("sms_events", "call_events", "api_usage"):
        assert {row["business_id"] for row in found[table]} <= {*existing, None}
    assert {row["business_id"] for row in found["owner_alerts"]} <= existing


@GENERATED
@given(found=event_sets(NEW_YORK, date(2026, 3, 8)))
def test_generated_sets_hold_what_python_and_parquet_can_hold(found: Events):
    times = [
        row[column] for table, column in (("sms_events", "created_at"), ("call_events", "ts")) for row in found[table]
    ]
    assert all(at is None or at.tzinfo is not None for at in times)
    assert not any(cost.is_nan() for row in found["api_usage"] if (cost := row["cost_estimate"]) is not None)
