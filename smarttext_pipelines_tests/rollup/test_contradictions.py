"""Checks that compare sources see it when one of them tells another story."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.rollup.quality import SHARE_CHECKS, Share
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    api_call,
    business,
    call_event,
    events,
    owner_alert,
    sms_event,
)

DAY = date(2026, 3, 16)
AT = datetime(2026, 3, 16, 12, tzinfo=UTC)
ONE = {"business_id": BUSINESS_IDS[0]}


def _share(database: Database, name: str, **tables: Any) -> Share | None:
    replace_events(database.engine, events(businesses=[business(1)], **tables))
    days = DayRange(DAY, DAY)
    roll_up_all(database.engine, days)
    check = next(check for check in SHARE_CHECKS if check.name == name)
    with database.engine.connect() as connection:
        return check.read(connection, days).get(DAY)


TEXT = sms_event(1, AT, message_sid="SM1", status="delivered", **ONE)
CALL = call_event(1, AT, call_sid="CA1", **ONE)
INBOUND = call_event(2, AT, call_sid="SM9", event_type="sms.inbound", **ONE)


@pytest.mark.parametrize(("calls", "part"), [([], 1), ([CALL], 0), ([INBOUND], 0)])
def test_texts_of_a_business_without_calls_are_seen(database: Database, calls: list[Any], part: int) -> None:
    assert _share(database, "texts_have_calls", sms_events=[TEXT], call_events=calls) == Share(part, 1)


@pytest.mark.parametrize(("usage", "part"), [([], 1), ([api_call(1, AT, tokens_used=5, **ONE)], 0)])
def test_answers_without_usage_are_seen(database: Database, usage: list[Any], part: int) -> None:
    share = _share(database, "answers_have_usage", sms_events=[TEXT], call_events=[INBOUND], api_usage=usage)
    assert share == Share(part, 1)


@pytest.mark.parametrize(("status", "part"), [("undelivered", 1), ("delivered", 0), ("queued", 0)])
def test_a_delivered_alert_whose_text_failed_is_seen(database: Database, status: str, part: int) -> None:
    alerts = [owner_alert(1, AT, message_sid="SM1", delivered=True)]
    texts = [sms_event(1, AT, message_sid="SM1", status="queued"), sms_event(2, AT, message_sid="SM1", status=status)]
    assert _share(database, "delivered_alerts_arrived", owner_alerts=alerts, sms_events=texts) == Share(part, 1)


@pytest.mark.parametrize(("code", "part"), [("30007", 0), ("39999", 1), (None, 0)])
def test_a_code_of_no_class_is_seen(database: Database, code: str | None, part: int) -> None:
    text = sms_event(1, AT, message_sid="SM1", status="failed", error_code=code, **ONE)
    assert _share(database, "error_codes_mapped", sms_events=[text]) == Share(part, 1)
