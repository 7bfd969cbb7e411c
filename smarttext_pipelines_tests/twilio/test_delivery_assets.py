"""Delivery reports in Dagster: when a run is asked for, and what a run says."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.delivery_assets import NO_CREDENTIALS, sms_delivery_reports
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.twilio import days_to_compare
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events
from smarttext_pipelines_tests.fakes.server import serving
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio
from smarttext_pipelines_tests.strategies import events, sms_event


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


def _tick(
    settings: Settings, instance: dg.DagsterInstance, name: str = "delivery_report_schedule"
) -> dg.RunRequest | dg.SkipReason:
    schedules = build_definitions(settings).schedules or []
    schedule = next(s for s in schedules if s.name == name)
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime.now(UTC), resources={"warehouse": Warehouse(settings)}
    ) as context:
        data = schedule.evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else dg.SkipReason(data.skip_message)


def test_without_credentials_it_is_skipped_and_says_so(database: Database, instance: dg.DagsterInstance) -> None:
    assert _tick(database.settings(), instance) == dg.SkipReason(NO_CREDENTIALS)
    done = sms_delivery_reports(warehouse=Warehouse(database.settings()))
    assert done.metadata == {"skipped": NO_CREDENTIALS}


def test_a_run_is_asked_for_only_while_something_is_due_and_counts_what_it_did(
    database: Database, instance: dg.DagsterInstance
) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    replace_events(database.engine, events(sms_events=[sms_event(1, at, message_sid="SM1")]))
    with serving(FakeTwilio()) as twilio:
        twilio.hold("SM1", at.timestamp(), status="delivered", price="-0.0079")
        settings = database.settings(
            twilio_account_sid="AC" + "0" * 32, twilio_auth_token="t" * 32, twilio_base_url=twilio.url
        )
        assert isinstance(_tick(settings, instance), dg.RunRequest)
        done = sms_delivery_reports(warehouse=Warehouse(settings))
        assert done.metadata["statuses_written"] == done.metadata["prices_written"] == done.metadata["calls"] == 1
        assert _tick(settings, instance) == dg.SkipReason("no message is due to be asked for")


def test_the_bill_is_compared_only_with_credentials_and_tells_what_nobody_recorded(
    database: Database, instance: dg.DagsterInstance
) -> None:
    day = days_to_compare(datetime.now(UTC)).last
    at = datetime.combine(day, datetime.min.time(), UTC)
    rows = [sms_event(n, at + timedelta(days=days), message_sid=f"SM{n}") for n, days in ((1, -8), (2, 0))]
    replace_events(database.engine, events(sms_events=rows))
    with serving(FakeTwilio()) as twilio:
        twilio.usage = [("sms-outbound", f"{day}", 100, "0.79")]
        settings = database.settings(
            twilio_account_sid="AC" + "0" * 32, twilio_auth_token="t" * 32, twilio_base_url=twilio.url
        )
        assert isinstance(_tick(settings, instance, "twilio_usage_schedule"), dg.RunRequest)
        done = build_definitions(settings).resolve_job_def("twilio_usage_job").execute_in_process(instance=instance)
    assert {e.check_name: e.passed for e in done.get_asset_check_evaluations()} == {
        "texts_explained": False,
        "cost_explained": True,
    }
    (told,) = done.asset_materializations_for_node("twilio_usage")
    assert told.metadata["unexplained_texts"].value == 99
    days: Any = told.metadata["days"]
    shown = {str(row.data["day (GMT)"]): row.data for row in days.records}
    assert [shown[f"{day}"][name] for name in ("Twilio sent", "recorded", "our alerts", "left")] == [
        "100",
        "1",
        "0",
        "99",
    ]
    (failed,) = [e for e in done.get_asset_check_evaluations() if not e.passed]
    assert (
        failed.description
        == f"99 of 100 texts sent and 0 of 0 received on {day} (GMT) were recorded by nobody; 1 of 7 days differ"
    )
    assert _tick(database.settings(), instance, "twilio_usage_schedule") == dg.SkipReason(NO_CREDENTIALS)
