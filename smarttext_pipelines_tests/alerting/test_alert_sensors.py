"""Alerting in Dagster: ticks, failed runs and checks; once through the real daemon into a server that is like Slack."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from smarttext_pipelines.alerting.evaluation_service import LOG_FILE, configured_channels
from smarttext_pipelines.alerting.rules.rules_file import SHIPPED
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.alert_assets import open_incidents
from smarttext_pipelines.defs.alert_sensors import deliver_notifications_job
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.alerts import MINUTE, World
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.defs.test_daemon import daemon
from smarttext_pipelines_tests.events import insert_events
from smarttext_pipelines_tests.fakes.server import serving
from smarttext_pipelines_tests.fakes.slack import FakeSlack


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Return settings with rules that notify at every hour, so that the tests pass at night, too."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(SHIPPED.read_text(encoding="utf-8").replace("notify: daytime", "notify: always"))
    return database.settings(data_dir=tmp_path, alert_rules=rules)


def _tick(settings: Settings, instance: dg.DagsterInstance) -> Any:
    definition = build_definitions(settings).resolve_sensor_def("alert_evaluation_sensor")
    with dg.build_sensor_context(instance=instance, resources={"warehouse": Warehouse(settings)}) as context:
        return definition.evaluate_tick(context)


def _world(database: Database) -> World:
    world = World(database, now=datetime.now(UTC))
    world.businesses(3)
    return world


def test_a_tick_tells_what_it_finds_and_asks_for_no_run(
    database: Database, settings: Settings, instance: dg.DagsterInstance
) -> None:
    world = _world(database)
    first = _tick(settings, instance)
    assert (first.run_requests, first.skip_message) == ([], "nothing to report")
    world.send(1, ago=MINUTE, status="failed", error_code="30034", message_sid="")
    assert _tick(settings, instance).skip_message == "1 firing, 1 sent"
    assert "was refused because the sender is not registered" in (settings.data_dir / LOG_FILE).read_text()
    assert _tick(settings, instance).skip_message == "nothing to report"


def test_more_than_fits_into_a_tick_asks_for_one_run(
    database: Database, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarttext_pipelines.defs.alert_sensors.SENSOR_BUDGET_SECONDS", 0)
    world = _world(database)
    _tick(settings, instance)
    world.send(1, ago=MINUTE, status="failed", error_code="30034", message_sid="")
    (request,) = _tick(settings, instance).run_requests
    assert request.run_key is None
    result = (
        build_definitions(settings)
        .resolve_job_def(deliver_notifications_job.name)
        .execute_in_process(instance=instance, raise_on_error=False)
    )
    assert result.success
    assert world.outbox("status") == [("sent",)]
    assert _tick(settings, instance).run_requests == []


def test_rules_that_cannot_be_read_keep_nothing_from_being_delivered(
    database: Database, settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    world = _world(database)
    world.channels = configured_channels(settings)
    world.tick(0)
    world.send(1, ago=MINUTE, status="failed", error_code="30034", message_sid="")
    world.tick(0)
    assert world.outbox("status") == [("pending",)]
    with pytest.raises(InputError, match="SMARTTEXT_ALERT_RULES"):
        _tick(settings.model_copy(update={"alert_rules": tmp_path / "missing.yaml"}), instance)
    assert world.outbox("status") == [("sent",)]


def test_a_failed_check_is_an_incident_until_it_passes(
    database: Database, settings: Settings, instance: dg.DagsterInstance
) -> None:
    _tick(settings, instance)
    day = datetime.now(UTC).date()
    undated = strategies.sms_event(1, None, message_sid="SM1")
    with database.engine.begin() as connection:
        insert_events(connection, {"sms_events": [undated]})
    run = lambda: (  # noqa: E731
        build_definitions(settings)
        .resolve_job_def("rollup_job")
        .execute_in_process(instance=instance, tags=range_tags(DayRange(day, day)))
    )
    run()
    told = _tick(settings, instance)
    assert told.skip_message == "1 firing, 1 sent"
    assert (
        "Check sms_outcomes undated_rows: 1 rows of sms_events have no time"
        in (settings.data_dir / LOG_FILE).read_text()
    )
    (signal,) = database.rows("SELECT detail FROM monitoring.alert_signals")
    assert signal["detail"].startswith("1 rows of sms_events have no time")
    assert "smarttext retention run --undated" in signal["detail"], "what to do"
    with database.engine.connect() as connection:
        shown: Any = open_incidents(connection, datetime.now(UTC), settings.zone).event.metadata["open_incidents"]
    (row,) = shown.records
    assert str(row.data["what"]).endswith("check: sms_outcomes undated_rows")
    database.run("DELETE FROM public.sms_events")
    run()
    _tick(settings, instance)
    signals = database.rows("SELECT scope, value FROM monitoring.alert_signals")
    assert [(row["scope"], int(row["value"])) for row in signals] == [("check:sms_outcomes.undated_rows", 0)]


def test_a_failed_run_is_an_incident_until_its_job_succeeds(
    database: Database, settings: Settings, instance: dg.DagsterInstance
) -> None:
    _tick(settings, instance)
    sensor = build_definitions(settings).resolve_sensor_def("run_failure_alert_sensor")
    job = build_definitions(settings).resolve_job_def("dagster_history_job")

    @dg.job(name="dagster_history_job")
    def failing() -> None:
        _fail()

    failing.execute_in_process(instance=instance, raise_on_error=False)
    with dg.build_sensor_context(instance=instance, resources={"warehouse": Warehouse(settings)}) as context:
        sensor.evaluate_tick(context)
    assert _tick(settings, instance).skip_message == "1 firing, 1 sent"
    assert "Run of dagster_history_job: failed: ValueError: boom" in (settings.data_dir / LOG_FILE).read_text()
    assert job.execute_in_process(instance=instance).success
    _tick(settings, instance)
    assert database.rows("SELECT value FROM monitoring.alert_signals")[0]["value"] == 0


@dg.op
def _fail() -> None:
    msg = "boom +15558880001"
    raise ValueError(msg)


def test_a_day_of_alerts_is_told_in_metadata(
    database: Database, settings: Settings, instance: dg.DagsterInstance
) -> None:
    world = _world(database)
    _tick(settings, instance)
    world.send(1, ago=MINUTE, status="failed", error_code="30034", message_sid="")
    _tick(settings, instance)
    day = datetime.now(UTC).date()
    result = (
        build_definitions(settings)
        .resolve_job_def("alert_report_job")
        .execute_in_process(instance=instance, tags=range_tags(DayRange(day, day)))
    )
    told = {
        event.asset_key.to_user_string(): {k: v.value for k, v in event.materialization.metadata.items()}
        for event in result.all_events
        if event.is_step_materialization
    }
    assert (told["alert_incidents"]["fired"], told["notifications"]["sent"]) == (1, 1)
    assert told["notifications"]["median_seconds_to_notify"] < 60


@pytest.mark.soak
def test_with_the_daemon_an_incident_is_in_slack_within_minutes(
    server: Server, database: Database, tmp_path: Path
) -> None:
    world = _world(database)
    with fresh_database(server) as storage, serving(FakeSlack()) as slack:
        settings = database.settings(
            data_dir=tmp_path,
            slack_bot_token=SecretStr("xoxb"),
            slack_channel="C1",
            slack_base_url=slack.url + "/api/",
        )
        with daemon(settings, storage.url, tmp_path) as process:
            _wait(lambda: database.rows("SELECT 1 FROM monitoring.rule_states"), 120, process, tmp_path)
            world.now = datetime.now(UTC)
            # Of another business: what its number is refused for would inhibit the rate of its own texts.
            world.send(1, business=2, ago=MINUTE, status="failed", error_code="30034", message_sid="")
            world.failing()
            begun = time.monotonic()
            _wait(lambda: _posted(slack, "not registered"), 120, process, tmp_path)
            _wait(lambda: _posted(slack, "23 of 61"), 180 - (time.monotonic() - begun), process, tmp_path)
        assert all("555888" not in message["text"] for message in slack.messages.values())
        log = (tmp_path / "daemon.log").read_text()
        assert "555888" not in log
        assert "xoxb" not in log


def _posted(slack: FakeSlack, words: str) -> bool:
    return any(words in message["text"] for message in slack.messages.values())


def _wait(is_done: Any, seconds: float, process: Any, folder: Path) -> None:
    deadline = time.monotonic() + seconds
    while not is_done():
        assert process.poll() is None, (folder / "daemon.log").read_text()[-2000:]
        assert time.monotonic() < deadline, (folder / "daemon.log").read_text()[-2000:]
        time.sleep(0.5)
