"""The weekly test reaches text message and pager once, through the outbox, and leaves nothing open."""

from datetime import date

import dagster as dg
from pydantic import SecretStr

from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now
from smarttext_pipelines.alerting.notify.weekly_test import enqueue_weekly_test
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.fakes.pagerduty import FakePagerDuty
from smarttext_pipelines_tests.fakes.server import serving
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio

MONDAY = date(2026, 3, 16)


def test_a_text_and_a_page_arrive_once_and_the_page_is_resolved(database: Database) -> None:
    with serving(FakeTwilio()) as twilio, serving(FakePagerDuty()) as pager:
        channels = configured_channels(
            database.settings(
                alert_phones="+15558880001",
                twilio_account_sid=SecretStr("AC0"),
                twilio_auth_token=SecretStr("t"),
                twilio_phone_number=SecretStr("+15550000000"),
                twilio_base_url=twilio.url,
                pagerduty_routing_key=SecretStr("k" * 32),
                pagerduty_base_url=pager.url,
            )
        )
        for _ in range(2):
            with database.engine.begin() as connection:
                assert enqueue_weekly_test(connection, channels, MONDAY) == ["pagerduty", "twilio_sms"]
            deliver_now(database.engine, channels, budget_seconds=5)
        (text,) = twilio.messages
        assert "Weekly test: alerts arrive here" in text["body"]
        assert [body["event_action"] for body in pager.bodies] == ["trigger", "resolve"]
        assert pager.open == {}
    assert database.rows("SELECT DISTINCT status FROM monitoring.notifications") == [{"status": "sent"}]


def test_with_neither_the_schedule_skips_and_nothing_is_enqueued(database: Database) -> None:
    settings = database.settings()
    definitions = build_definitions(settings)
    schedule = definitions.resolve_schedule_def("weekly_test_schedule")
    skipped = schedule.evaluate_tick(dg.build_schedule_context()).skip_message
    assert skipped == "neither SMARTTEXT_ALERT_PHONES nor PAGERDUTY_ROUTING_KEY is set"
    assert definitions.resolve_job_def("weekly_test_job").execute_in_process().success
    assert database.rows("SELECT 1 FROM monitoring.notifications") == []
