"""Heartbeats: recorded by one sensor, told to the switch outside when nothing is broken; failures told to Sentry."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sentry_sdk
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
from dagster._utils.error import SerializableErrorInfo
from pydantic import SecretStr

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.instance_heartbeats import watched_parts
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.health.doctor import examine
from smarttext_pipelines.health.service_lines import receiver
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.twilio.callbacks import Receiver
from smarttext_pipelines_tests.alerting.test_alert_sensors import _wait as wait_until
from smarttext_pipelines_tests.asgi import serving_app
from smarttext_pipelines_tests.conftest import Database, fresh_database
from smarttext_pipelines_tests.conftest import Server as PostgresServer
from smarttext_pipelines_tests.defs.test_daemon import daemon
from smarttext_pipelines_tests.events import roll_up_all
from smarttext_pipelines_tests.fakes.sentry import FakeSentry, reporting
from smarttext_pipelines_tests.fakes.server import Reply, Server, serving
from smarttext_pipelines_tests.fakes.slack import FakeSlack


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


class Switch(Server):
    """A dead man's switch."""

    def is_send(self, method: str, path: str) -> bool:
        return False

    def answer(self, *_: Any) -> Reply:
        return Reply(200, "OK")


@pytest.fixture
def switch() -> Iterator[Switch]:
    with serving(Switch()) as fake:
        yield fake


@pytest.fixture
def settings(database: Database, switch: Switch, tmp_path: Path) -> Settings:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    roll_up_all(database.engine, DayRange(yesterday - timedelta(days=1), yesterday))
    return database.settings(data_dir=tmp_path, heartbeat_url=SecretStr(switch.url + "/ping/a-key"))


def _tick(settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    definition = build_definitions(settings).resolve_sensor_def("heartbeat_sensor")
    resources = {"warehouse": Warehouse(settings)}
    with dg.build_sensor_context(instance=instance, resources=resources, cursor=cursor) as context:
        return definition.evaluate_tick(context)


def test_every_part_has_a_heartbeat_and_a_night_is_not_late(settings: Settings) -> None:
    definitions = build_definitions(settings)
    names = {(part.kind, part.name): part.interval for part in _parts(definitions)}
    assert {n for k, n in names if k == "schedule"} == {s.name for s in definitions.schedules or []}
    assert {n for k, n in names if k == "job"} == {j.name for j in definitions.jobs or []}
    assert {n for k, n in names if k == "sensor"} | {"heartbeat_sensor"} == {s.name for s in definitions.sensors or []}
    assert names["schedule", "intraday_rollup_schedule"] == timedelta(minutes=10)
    assert names["job", "rollup_job"] == timedelta(days=1)
    assert names["job", "intraday_rollup_job"] is None
    # Their schedules skip for good reasons: nothing is due, or nobody is configured.
    assert names["job", "delivery_report_job"] is names["job", "weekly_test_job"] is None
    assert names["job", "deliver_notifications_job"] is None


def _parts(definitions: dg.Definitions) -> Any:
    sensors = [s for s in definitions.sensors or [] if s.name != "heartbeat_sensor"]
    return watched_parts(list(definitions.schedules or []), sensors, [j.name for j in definitions.jobs or []])


def test_a_complete_cycle_tells_the_switch_and_a_broken_one_does_not(
    settings: Settings, database: Database, instance: dg.DagsterInstance, switch: Switch
) -> None:
    with serving(FakeSlack()) as slack:
        slack._test = lambda _values: {}  # type: ignore[attr-defined]
        bot = {"slack_bot_token": SecretStr("xoxb"), "slack_channel": "C1", "slack_base_url": slack.url + "/api/"}
        settings = settings.model_copy(update=bot)
        assert _tick(settings, instance).skip_message == "complete; the switch was told"
        assert [path for _, path, _, _ in switch.requests] == ["/ping/a-key"]
    assert _tick(settings, instance).skip_message == "not complete: slack"
    assert len(switch.requests) == 1
    with serving(FakeSlack()) as slack:
        slack._test = lambda _values: {}  # type: ignore[attr-defined]
        settings = settings.model_copy(update={"slack_base_url": slack.url + "/api/"})
        assert _tick(settings, instance).skip_message == "complete; the switch was told"
    assert len(switch.requests) == 2
    (cycle,) = database.rows("SELECT name, last_success_at FROM monitoring.heartbeats WHERE kind = 'cycle'")
    assert datetime.now(UTC) - cycle["last_success_at"] < timedelta(minutes=1)


@contextmanager
def _twilio_away(_: Settings, __: Database) -> Iterator[dict[str, Any]]:
    keys = {"twilio_account_sid": SecretStr("AC" + "0" * 32), "twilio_auth_token": SecretStr("t")}
    yield keys | {"twilio_base_url": "http://127.0.0.1:1"}


@contextmanager
def _receiver_away(_: Settings, __: Database) -> Iterator[dict[str, Any]]:
    with serving_app(Receiver(auth_token="t" * 32, public_url="http://127.0.0.1/t", track=print)) as port:
        url = f"http://127.0.0.1:{port}/t"
        assert receiver(Settings(_env_file=None, receiver_url=url)).state is State.ok
    yield {"receiver_url": url}


@contextmanager
def _disk_full(_: Settings, __: Database) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**12, 10**12, 0))  # type: ignore[attr-defined]
        yield {}


@contextmanager
def _database_away(_: Settings, database: Database) -> Iterator[dict[str, Any]]:
    with database.server.connect() as admin:
        admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,))
    yield {}
    with database.server.connect() as admin:
        admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")


@pytest.mark.parametrize(
    ("name", "away"),
    [
        ("twilio", _twilio_away),
        ("receiver", _receiver_away),
        ("disk", _disk_full),
        ("database", _database_away),
    ],
)
def test_what_is_away_is_named_and_the_switch_is_told_no_more_until_it_is_back(
    settings: Settings, database: Database, instance: dg.DagsterInstance, switch: Switch, name: str, away: Any
) -> None:
    assert _tick(settings, instance).skip_message == "complete; the switch was told"
    with away(settings, database) as changes:
        broken = settings.model_copy(update=changes)
        assert {line.name: line.state for line in examine(broken, dagster=False).lines}[name] is State.fail
        # A tick that fails tells nobody either.
        with suppress(dg.Failure, SmartTextError):
            assert _tick(broken, instance).skip_message == f"not complete: {name}"
        assert len(switch.requests) == 1
    assert _tick(settings, instance).skip_message == "complete; the switch was told"
    assert len(switch.requests) == 2


def test_a_late_sensor_is_an_incident_until_it_ticks_again(
    settings: Settings, database: Database, instance: dg.DagsterInstance, switch: Switch
) -> None:
    _tick(settings, instance)
    database.run(
        "UPDATE monitoring.heartbeats SET watched_since = now() - interval '1 hour'"
        " WHERE name IN ('alert_evaluation_sensor', 'heartbeat_sensor')"
    )
    late = "UPDATE monitoring.heartbeats SET last_success_at = {} WHERE name = %s"
    database.run(late.format("NULL"), "alert_evaluation_sensor")
    before = len(switch.requests)
    assert _tick(settings, instance).skip_message == "not complete: sensor alert_evaluation_sensor"
    raised = "SELECT scope, value::int AS value FROM monitoring.alert_signals"
    assert database.rows(raised) == [{"scope": "heartbeat:sensor alert_evaluation_sensor", "value": 1}]
    database.run(late.format("now()"), "alert_evaluation_sensor")
    assert _tick(settings, instance).skip_message == "complete; the switch was told"
    assert database.rows(raised)[0]["value"] == 0
    assert len(switch.requests) == before + 1


def test_after_a_restart_nothing_is_late_before_it_could_tick_again(
    settings: Settings, database: Database, instance: dg.DagsterInstance
) -> None:
    """A deploy of some minutes must page nobody; what does not come back is told after three minutes."""
    _tick(settings, instance)
    stopped = "UPDATE monitoring.heartbeats SET watched_since = now() - interval '1 day', last_success_at = {}"
    database.run(stopped.format("now() - interval '6 minutes'"))
    assert _tick(settings, instance).skip_message == "complete; the switch was told"
    database.run(
        "UPDATE monitoring.heartbeats SET watched_since = now() - interval '4 minutes' WHERE name = 'heartbeat_sensor'"
    )
    assert "alert_evaluation_sensor" in _tick(settings, instance).skip_message


def test_a_switch_that_does_not_answer_breaks_nothing_and_its_address_is_not_told(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    away = settings.model_copy(update={"heartbeat_url": SecretStr("http://127.0.0.1:1/ping/a-key")})
    said = _tick(away, instance).skip_message
    assert said.startswith("complete; the switch did not answer")
    assert "a-key" not in said


def test_a_successful_run_and_tick_are_recorded(
    settings: Settings, database: Database, instance: dg.DagsterInstance
) -> None:
    assert (
        build_definitions(settings).resolve_job_def("dagster_history_job").execute_in_process(instance=instance).success
    )
    _store_tick(instance, "rollup_drift_sensor", TickStatus.SKIPPED)
    _tick(settings, instance)
    beats = database.rows("SELECT name FROM monitoring.heartbeats WHERE last_success_at IS NOT NULL ORDER BY name")
    assert [row["name"] for row in beats] == [
        "complete", "dagster_history_job", "heartbeat_sensor", "rollup_drift_sensor",
    ]  # fmt: skip


def _store_tick(instance: dg.DagsterInstance, name: str, status: TickStatus, error: str | None = None) -> None:
    origin = RemoteInstigatorOrigin(repository_origin=_repository_origin(), instigator_name=name)
    selector = origin.get_selector().get_id()
    if not any(state.instigator_name == name for state in instance.all_instigator_state()):
        instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING))
    told = SerializableErrorInfo(error, ["stack\n"], "ValueError") if error else None
    now = datetime.now(UTC).timestamp()
    instance.create_tick(
        TickData(origin.get_id(), name, InstigatorType.SENSOR, status, now, error=told, selector_id=selector)
    )


def _repository_origin() -> Any:
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

    return RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("smarttext"), "__repository__")


@pytest.fixture
def told() -> Iterator[FakeSentry]:
    with reporting() as fake:
        yield fake


def test_failed_ticks_are_told_to_sentry_once_each_even_when_the_event_database_is_away(
    settings: Settings, instance: dg.DagsterInstance, told: FakeSentry
) -> None:
    _store_tick(instance, "rollup_drift_sensor", TickStatus.FAILURE, "old")
    assert _tick(settings, instance).cursor == "1"
    _store_tick(instance, "rollup_drift_sensor", TickStatus.FAILURE, "boom +14155550123")
    for _ in range(2):
        _tick(settings, instance, "1")
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://u@127.0.0.1:1/x")})
    with pytest.raises(Exception, match="cannot be used"):
        _tick(away, instance, "1")
    sentry_sdk.flush(5)
    (event,) = told.events
    assert event["message"] == "sensor rollup_drift_sensor: boom [phone]"
    assert event["tags"]["sensor"] == "rollup_drift_sensor"


@dg.op
def _boom() -> None:
    msg = "no route to +14155550123"
    raise ValueError(msg)


@dg.job(name="rollup_job")
def _failing() -> None:
    _boom()


def test_a_failed_run_is_told_to_sentry_once_with_job_run_and_partition(
    settings: Settings, instance: dg.DagsterInstance, told: FakeSentry
) -> None:
    sensor = build_definitions(settings).resolve_sensor_def("run_failure_alert_sensor")
    result = _failing.execute_in_process(
        instance=instance, raise_on_error=False, tags={"dagster/partition": "2026-03-01"}
    )
    for _ in range(2):
        with dg.build_sensor_context(instance=instance, resources={"warehouse": Warehouse(settings)}) as context:
            sensor.evaluate_tick(context)
    sentry_sdk.flush(5)
    (event,) = told.events
    tags = event["tags"]
    assert (tags["job"], tags["run_id"], tags["partition"]) == ("rollup_job", result.run_id, "2026-03-01")
    assert tags["asset"] == "_boom"
    assert "4155550123" not in str(told.envelopes)


def test_a_day_is_written_down_with_runs_failures_and_silence_and_a_rerun_writes_the_same(
    settings: Settings, database: Database, instance: dg.DagsterInstance
) -> None:
    _failing.execute_in_process(instance=instance, raise_on_error=False)
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, created_at) VALUES ('+1', '+2', 'sent', %s)",
        start + timedelta(seconds=1),
    )
    job = build_definitions(settings).resolve_job_def("pipeline_health_job")
    query = (
        "SELECT kind, name, seen_count, failed_count, late_count, lag_seconds > 0 AS lags"
        " FROM monitoring.pipeline_health WHERE day = %s ORDER BY kind, name"
    )
    seen = []
    for _ in range(2):
        result = job.execute_in_process(instance=instance, partition_key=start.date().isoformat())
        rows = {row["name"]: tuple(row.values())[2:] for row in database.rows(query, start.date())}
        seen.append({name: row for name, row in rows.items() if name != "pipeline_health_job"})
        checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
        assert checks == {
            "no_failed_runs": False, "runs_start_in_time": True, "sources_fresh": True, "heartbeats_in_time": True,
        }  # fmt: skip
    assert seen[0] == seen[1]
    assert seen[0]["rollup_job"] == (1, 1, 0, None)
    assert seen[0]["sms_events"] == (1, None, None, True)
    assert seen[0]["call_events"] == (0, None, None, None)


def test_with_the_daemon_killed_the_switch_is_told_no_more_and_doctor_names_it_until_it_runs_again(
    settings: Settings, server: PostgresServer, switch: Switch, tmp_path: Path
) -> None:
    with fresh_database(server) as storage:
        watched = settings.model_copy(update={"dagster_database_url": SecretStr(storage.url)})

        def state() -> State:
            return {line.name: line.state for line in examine(watched, services=False).lines}["daemon"]

        for _ in range(2):
            told = len(switch.requests)
            with daemon(settings, storage.url, tmp_path) as process:
                wait_until(lambda told=told: len(switch.requests) > told, 200, process, tmp_path)  # type: ignore[misc]
                assert state() is State.ok
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            told = len(switch.requests)
            # As if more than two minutes had passed.
            storage.run("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '3 min'")
            assert state() is State.fail
            assert len(switch.requests) == told
