"""What becomes of a missed call, example by example, by the reference."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines_tests import reference
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, call_event, events, sms_event

DAY = date(2026, 3, 10)
AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
CALLER = "+15550100001"
LATER = datetime(2026, 4, 1, tzinfo=UTC)


def _text(minutes: float, status: str, number: int = 1, **columns: Any) -> dict[str, Any]:
    given = {"message_sid": f"SM{number}", "business_id": BUSINESS_IDS[0], "to_number": CALLER, **columns}
    return sms_event(number, AT + timedelta(minutes=minutes), status=status, **given)


def _state(*texts: dict[str, Any], as_of: datetime = LATER, **call: Any) -> str:
    columns = {"call_sid": "CA1", "business_id": BUSINESS_IDS[0], "event_type": "voice.missed", **call}
    set_ = events(call_events=[call_event(1, AT, **columns)], sms_events=texts)
    found = reference.missed_call_replies(set_, DAY, zone=ZoneInfo("UTC"), as_of=as_of)
    ((counts),) = found.values()
    return ("in time", "late", "never", "unknown")[counts[:4].index(1)]


@pytest.mark.parametrize(
    ("texts", "state"),
    [
        ([], "never"),
        ([_text(5, "delivered")], "in time"),
        ([_text(5.1, "sent")], "late"),
        ([_text(24 * 60 + 1, "delivered")], "never"),
        ([_text(-1, "delivered")], "never"),
        ([_text(1, "undelivered")], "never"),
        ([_text(1, "rate_limited")], "never"),
        ([_text(1, "queued")], "unknown"),
        ([_text(1, "on-hold")], "unknown"),
        ([_text(1, "failed"), _text(2, "delivered", 2)], "in time"),
        ([_text(1, "queued"), _text(60, "delivered", 2)], "late"),
        ([_text(1, "delivered", business_id=BUSINESS_IDS[1])], "never"),
        ([_text(1, "delivered", business_id=None)], "unknown"),
        ([_text(1, "delivered", to_number="+15550100002")], "never"),
        ([_text(1, "delivered", request_id="req-owner")], "never"),
        ([_text(1, "queued"), _text(3 * 24 * 60, "delivered", request_id="twilio-report")], "in time"),
        ([_text(1, "queued"), _text(5 * 24 * 60, "delivered", request_id="twilio-report")], "unknown"),
    ],
)
def test_a_missed_call_is_what_is_known_of_its_answer(texts: list[dict[str, Any]], state: str) -> None:
    assert _state(*texts) == state


def test_a_call_is_not_unanswered_before_its_time_is_over() -> None:
    assert _state(as_of=AT + timedelta(minutes=4)) == "unknown"
    assert _state(as_of=AT + timedelta(minutes=5)) == "never"


@pytest.mark.parametrize("call", [{"from_number": None}, {"from_number": "Anonymous"}, {"business_id": None}])
def test_a_call_that_nothing_can_be_matched_to_is_unknown(call: dict[str, Any]) -> None:
    assert _state(**call) == "unknown"
