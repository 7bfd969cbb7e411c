"""What an event may hold, and what a bad one does: an error where it was asked for, else nothing to the caller."""

import logging
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines import tracking
from smarttext_pipelines.tracking import cleaning, process, values
from smarttext_pipelines.tracking.fields import Fields

SMS: dict[str, Any] = {"from_": "+15550100", "to": "+15550101", "status": "queued"}
BAD: list[dict[str, Any]] = [
    {"status": None},
    {"status": 7},
    {"to": None},
    {"business_id": "no uuid"},
    {"message_sid": ["SM1"]},
    {"occurred_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - the naive time that is refused
    {"occurred_at": datetime.max.replace(tzinfo=timezone(-timedelta(hours=9)))},
    {"occurred_at": "yesterday"},
]
BAD_USAGE: list[dict[str, Any]] = [
    {"tokens_used": -1},
    {"tokens_used": 2**31},
    {"tokens_used": 1.5},
    {"tokens_used": "5"},
    {"tokens_used": True},
    {"input_tokens": -1},
    {"input_tokens": 2**30, "output_tokens": 2**30},
    {"tokens_used": 1, "cost_estimate": float("nan")},
    {"tokens_used": 1, "cost_estimate": float("-inf")},
    {"tokens_used": 1, "cost_estimate": -1e40},
    {"tokens_used": 1, "cost_estimate": 10**13},
]


@pytest.fixture(autouse=True)
def _nothing_left_over(tmp_path: Path) -> Any:
    yield
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path / "unused")


def test_the_public_names_are_these() -> None:
    assert tracking.__all__ == sorted(tracking.__all__)
    assert set(tracking.__all__) == {
        "BudgetExceeded",
        "Counters",
        "LimitDecision",
        "Reservation",
        "check_openai_usage_limit",
        "configure",
        "counters",
        "flush",
        "get_daily_stats",
        "get_openai_usage",
        "get_sms_failure_rate",
        "reserve_openai_usage",
        "reset_daily_openai_usage",
        "track_call_event",
        "track_openai_usage",
        "track_owner_alert",
        "track_sms_event",
    }
    assert all(getattr(tracking, name).__doc__ for name in tracking.__all__)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:40])
def test_a_bad_value_raises_in_synchronous_use(bad: dict[str, Any], tmp_path: Path) -> None:
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path, synchronous=True)
    with pytest.raises(ValueError, match=next(iter(bad)).rstrip("_")):
        tracking.track_sms_event(**{**SMS, **bad})


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:40])
def test_a_bad_value_is_counted_and_logged_in_buffered_use(
    bad: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path)
    with caplog.at_level(logging.WARNING):
        assert tracking.track_sms_event(**{**SMS, **bad}) is None
    assert (tracking.counters().rejected, tracking.counters().accepted) == (1, 0)
    assert "rejected" in caplog.text
    assert not any(str(value) in caplog.text for value in bad.values() if isinstance(value, str))


@pytest.mark.parametrize("usage", [*BAD_USAGE, {"endpoint": None}], ids=lambda bad: repr(bad)[:40])
def test_usage_that_cannot_be_booked_raises_in_synchronous_use(usage: dict[str, Any], tmp_path: Path) -> None:
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path, synchronous=True)
    with pytest.raises(ValueError, match=list(usage)[-1]):
        tracking.track_openai_usage(**{"endpoint": "chat", **usage})


_ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.text(),
    st.integers(),
    st.floats(),
    st.binary(),
    st.dictionaries(st.text(), st.floats()),
    st.datetimes(),
)


@given(_ANYTHING, _ANYTHING, _ANYTHING, _ANYTHING)
def test_no_value_whatever_reaches_the_caller_as_an_error(first: Any, second: Any, third: Any, fourth: Any) -> None:
    tracking.track_sms_event(from_=first, to=second, status=third, payload=fourth, occurred_at=first)
    tracking.track_openai_usage(endpoint=first, tokens_used=second, cost_estimate=third, model=fourth, metadata=first)
    tracking.track_call_event(event_type=first, call_sid=second, payload=third, business_id=fourth)
    tracking.track_owner_alert(
        business_id=first, owner_phone=second, customer_phone=third, alert_type=fourth, message_content=first
    )
    process.current().close(0)


@pytest.mark.parametrize(
    "good",
    ["+15550100", "5550100", "12345", "Bakery 24", "whatsapp:+15550100", "client:alice", "(415) 555-0100"],
)
def test_every_form_of_an_address_that_twilio_knows_is_taken(good: str) -> None:
    fields = Fields()
    assert (fields.phone("to", good), fields.odd, fields.trimmed) == (good, [], [])


def test_amounts_keep_every_digit_that_can_be_stored() -> None:
    assert values.usd("cost", "0.000001") == Decimal("0.000001")
    assert values.usd("cost", 0.1) == Decimal("0.1")
    assert values.usd("cost", Decimal("999999999999.123456789012345678")) == Decimal("999999999999.123456789012345678")
    assert str(values.usd("cost", Decimal("1e-99999"))) == "0E-18"


def test_a_payload_that_json_holds_is_written_as_it_is() -> None:
    payload = {"text": "a \\u0000 that is text", "emoji": "\U0001f600", "n": [1, 2.5, None, {"x": True}]}
    assert cleaning.tree(payload) == (payload, False)


def test_the_price_of_a_call_is_rounded_up_and_unknown_models_have_none() -> None:
    from smarttext_pipelines.tracking.known_prices import list_price

    at = "2026-01-05T12:00:00+00:00"
    assert list_price("gpt-4o-mini", {"input_tokens": 1, "output_tokens": 0}, at) == Decimal("0.000001")
    assert list_price("no-such-model", {"input_tokens": 100, "output_tokens": 100}, at) is None


def test_the_wrong_policy_is_named() -> None:
    with pytest.raises(ValueError, match="choose closed, open or open_local"):
        tracking.configure(policy="sometimes")
