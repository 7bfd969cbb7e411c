"""Twilio's own count and bill stand beside ours, on its days, and what nobody recorded is seen."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.twilio import UsageDay, compare_usage, days_to_compare
from smarttext_pipelines.twilio.client import build_twilio_client
from smarttext_pipelines.twilio.poll import Asker
from smarttext_pipelines.twilio.usage_records import FEES, INBOUND, TEXTS
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events
from smarttext_pipelines_tests.fakes.server import Reply, serving
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio
from smarttext_pipelines_tests.strategies import call_event, events, sms_event

DAY = date(2026, 3, 12)
ONE_DAY = DayRange(DAY, DAY)
NOON = datetime(2026, 3, 12, 12, tzinfo=UTC)


@pytest.fixture
def twilio() -> Iterator[FakeTwilio]:
    with serving(FakeTwilio()) as server:
        yield server


def _compare(database: Database, twilio: FakeTwilio, days: DayRange = ONE_DAY) -> list[UsageDay]:
    client = build_twilio_client("AC" + "0" * 32, "token", base_url=twilio.url)
    asker = Asker(client, max_calls=20, sleep=lambda _: None)
    return compare_usage(database.engine, asker, days)


def _load(database: Database, *texts: dict[str, Any], calls: tuple[dict[str, Any], ...] = ()) -> None:
    earlier = sms_event(999, NOON - timedelta(days=3), message_sid="SMearlier")
    replace_events(database.engine, events(sms_events=[earlier, *texts], call_events=calls))


def _price(database: Database, sid: str, usd: str) -> None:
    database.run(
        "INSERT INTO public.api_usage (id, service, endpoint, tokens_used, cost_estimate, created_at, reset_date)"
        f" VALUES (md5('twilio-price:{sid}')::uuid, 'twilio', 'sms', 0, {usd}, now(), '{DAY}')"
    )


def test_a_week_that_agrees_has_nothing_left(database: Database, twilio: FakeTwilio) -> None:
    """One message of two rows, one that failed with a sid, a text received; a failed request has no sid and no bill."""
    _load(
        database,
        sms_event(1, NOON, message_sid="SM1"),
        sms_event(2, NOON + timedelta(days=2), message_sid="SM1", status="delivered"),
        sms_event(3, NOON, message_sid="SM2", status="undelivered"),
        sms_event(4, NOON, message_sid="", status="failed"),
        sms_event(5, NOON, message_sid="SM3", status="received"),
        calls=(call_event(1, NOON, event_type="sms.inbound", call_sid="SM3"),),
    )
    _price(database, "SM1", "0.0109")
    _price(database, "SM2", "0.0079")
    twilio.usage = [(TEXTS, f"{DAY}", 2, "0.0158"), (FEES, f"{DAY}", 1, "0.003"), (INBOUND, f"{DAY}", 1, "0.0079")]
    (found,) = _compare(database, twilio)
    assert found == UsageDay(DAY, 2, 2, 0, 0, Decimal("0.0188"), Decimal("0.0188"), 1, 1)
    assert (found.unexplained_texts, found.unexplained_inbound, found.unexplained_usd) == (0, 0, 0)


def test_a_message_belongs_to_the_day_of_twilio_on_which_it_was_first_recorded(
    database: Database, twilio: FakeTwilio
) -> None:
    midnight = datetime(2026, 3, 12, tzinfo=UTC)
    _load(
        database,
        sms_event(1, midnight - timedelta(microseconds=1), message_sid="SM1"),
        sms_event(2, midnight + timedelta(hours=1), message_sid="SM1", status="delivered"),
        sms_event(3, midnight, message_sid="SM2"),
    )
    days = _compare(database, twilio, DayRange(DAY - timedelta(days=1), DAY))
    assert [(each.day.day, each.our_texts) for each in days] == [(11, 1), (12, 1)]


def test_texts_and_money_that_nobody_recorded_are_left(database: Database, twilio: FakeTwilio) -> None:
    _load(database, sms_event(1, NOON, message_sid="SM1"))
    _price(database, "SM1", "0.0079")
    twilio.usage = [(TEXTS, f"{DAY}", 500, "3.95")]
    (found,) = _compare(database, twilio)
    assert (found.unexplained_texts, found.unexplained_usd) == (499, Decimal("3.9421"))
    assert not found.are_texts_explained
    assert not found.is_cost_explained


@pytest.mark.parametrize(
    ("theirs", "ours", "is_small"), [(10, 0, True), (11, 0, False), (0, 11, False), (400, 380, True)]
)
def test_what_may_stay_unexplained_is_a_share_or_a_few(theirs: int, ours: int, is_small: bool) -> None:
    found = UsageDay(DAY, theirs, ours, 0, 0, None, Decimal(0), 0, 0)
    assert found.are_texts_explained is is_small
    assert UsageDay(DAY, 0, 0, 0, 0, None, Decimal(0), theirs, ours).are_texts_explained is is_small


def test_a_bill_in_another_currency_is_unknown_and_not_compared(database: Database, twilio: FakeTwilio) -> None:
    _load(database, sms_event(1, NOON, message_sid="SM1"))
    twilio.usage, twilio.price_unit = [(TEXTS, f"{DAY}", 1, "900")], "eur"
    (found,) = _compare(database, twilio)
    assert (found.twilio_usd, found.unexplained_usd, found.is_cost_explained) == (None, None, True)


def test_days_before_the_first_row_are_not_compared(database: Database, twilio: FakeTwilio) -> None:
    _load(database)
    days = _compare(database, twilio, DayRange(DAY - timedelta(days=6), DAY))
    assert [each.day.day for each in days] == [10, 11, 12]


def test_alerts_of_this_pipeline_are_told_apart(database: Database, twilio: FakeTwilio) -> None:
    _load(database)
    database.run(
        "INSERT INTO monitoring.notifications (incident_id, sequence, kind, severity, channel, recipient, message,"
        " status, deadline_at, provider_id, first_attempt_at)"
        " VALUES (1, 1, 'firing', 'critical', 'twilio_sms', 'phone:0', '{}',"
        f" 'sent', now(), 'SMalert', '{NOON.isoformat()}')"
    )
    twilio.usage = [(TEXTS, f"{DAY}", 1, "0.0079")]
    (found,) = _compare(database, twilio)
    assert (found.alert_texts, found.unexplained_texts) == (1, 0)


@pytest.mark.parametrize(
    ("replies", "said"),
    [([Reply(401, '{"code": 20003, "message": "Authenticate"}')], "refused: 401"), ([Reply(503, "")] * 6, "6 times")],
)
def test_a_refusal_is_said_in_one_line(
    database: Database, twilio: FakeTwilio, replies: list[Reply], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load(database)
    answers = iter(replies)
    monkeypatch.setattr(twilio, "answer", lambda *_: next(answers))
    with pytest.raises(SmartTextError, match=said) as refused:
        _compare(database, twilio)
    assert "\n" not in str(refused.value)


def test_the_week_that_is_compared_has_all_its_prices() -> None:
    """A price is asked for 72 hours after a message, so the last day ended more than three days ago."""
    now = datetime(2026, 3, 12, 0, 0, tzinfo=UTC)
    days = days_to_compare(now)
    assert len(days) == 7
    assert datetime.combine(days.last + timedelta(days=1), datetime.min.time(), UTC) <= now - timedelta(hours=72)
