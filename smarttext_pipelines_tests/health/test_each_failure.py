"""Each asset, job, check and channel fails once, and both who must learn of it do."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sentry_sdk
from pydantic import SecretStr

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.evaluation_service import deliver_now
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.outbox import Enqueued, enqueue
from smarttext_pipelines.alerting.signals import CheckedDay
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.evaluations import record
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.defs.run_failures import report_failed_run
from smarttext_pipelines.health.doctor import examine
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests.alerting.test_hostile_names import RECEIVED
from smarttext_pipelines_tests.alerts import World, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.fakes.sentry import FakeSentry, reporting


@pytest.fixture
def told() -> Iterator[FakeSentry]:
    with reporting() as fake:
        yield fake


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return database.settings(data_dir=tmp_path)


NEED_NO_EVENTS = {"dagster_history_job", "dagster_run_history"}
"""What looks at Dagster's storage alone: that fails as all does, when the daemon itself cannot run."""


def _away(settings: Settings) -> Settings:
    twilio = {"twilio_account_sid": SecretStr("AC" + "0" * 32), "twilio_auth_token": SecretStr("t")}
    others = {"openai_admin_key": SecretStr("k" * 20), "openai_base_url": "http://127.0.0.1:1", "lake_url": "lake"}
    nowhere = {"database_url": SecretStr("postgresql://u@127.0.0.1:1/x"), "twilio_base_url": "http://127.0.0.1:1"}
    return settings.model_copy(update=twilio | others | nowhere)


def _newest(partitions: dg.PartitionsDefinition[str] | None) -> str | None:
    return list(partitions.get_partition_keys())[-1] if partitions else None


def _fail(job: dg.JobDefinition, instance: dg.DagsterInstance, **options: Any) -> Any:
    """Return the run without the event database; None where it succeeds nevertheless."""
    result = job.execute_in_process(instance=instance, raise_on_error=False, **options)
    return None if result.success else result.dagster_run


def test_each_asset_that_fails_is_a_notice_and_an_event_of_sentry(
    database: Database, settings: Settings, told: FakeSentry
) -> None:
    world = World(database, now=datetime.now(UTC), rules=only("pipeline_failures"))
    world.begin()
    definitions = build_definitions(_away(settings))
    graph = definitions.resolve_asset_graph()
    names = sorted(key.to_user_string() for key in graph.materializable_asset_keys)
    unnamed, scopes = definitions.resolve_implicit_global_asset_job_def(), {}
    with dg.DagsterInstance.ephemeral() as instance, Warehouse(settings).transaction() as connection:
        for name in names:
            key = dg.AssetKey.from_user_string(name)
            run = _fail(unnamed, instance, asset_selection=[key], partition_key=_newest(graph.get(key).partitions_def))
            scopes[name] = run and report_failed_run(instance, run, connection)
    works = {name for name, scope in scopes.items() if scope is None}
    assert works <= NEED_NO_EVENTS, f"they succeed without the event database: {works}"
    scopes = {name: scope for name, scope in scopes.items() if scope}
    world.tick()
    assert {scope for (scope,) in world.incidents("scope")} == set(scopes.values())
    assert all(scope.startswith(f"run:{name}") for name, scope in scopes.items()), scopes
    sentry_sdk.flush(5)
    assert len({event["tags"]["run_id"] for event in told.events}) == len(scopes)


def test_each_job_that_fails_is_a_notice_and_an_event_of_sentry(
    database: Database, settings: Settings, told: FakeSentry
) -> None:
    definitions = build_definitions(_away(settings))
    jobs = [name for name in definitions.get_repository_def().job_names if not name.startswith("__")]
    with dg.DagsterInstance.ephemeral() as instance, Warehouse(settings).transaction() as connection:
        for name in jobs:
            job = definitions.resolve_job_def(name)
            run = _fail(job, instance, partition_key=_newest(job.partitions_def))
            assert run or name in NEED_NO_EVENTS, f"{name} succeeds without the event database"
            assert not run or str(report_failed_run(instance, run, connection)).startswith(f"run:{name}")
    sentry_sdk.flush(5)
    assert {event["tags"]["job"] for event in told.events} >= set(jobs) - NEED_NO_EVENTS


@pytest.mark.parametrize("is_error", [True, False], ids=["error", "warn"])
def test_each_check_that_fails_is_a_notice_a_line_and_an_event_of_sentry(
    is_error: bool, database: Database, settings: Settings, told: FakeSentry
) -> None:
    world = World(database, now=datetime.now(UTC), rules=only("pipeline_failures", "failed_checks", notify="always"))
    world.begin()
    keys = sorted(build_definitions(settings).resolve_asset_graph().asset_check_keys, key=str)
    for key in keys:
        found = CheckedDay(key.name, None, "3 of 7 rows are odd", is_error)
        record(Warehouse(settings), key.asset_key.to_user_string(), [found], "a run")
    world.tick()
    named = {f"{key.asset_key.to_user_string()}.{key.name}" for key in keys}
    rule = "pipeline_failures" if is_error else "failed_checks"
    incidents = {scope.removeprefix("check:") for name, scope, _ in world.incidents() if name == rule}
    assert incidents - {"group"} == named
    line = {line.name: line for line in examine(settings, services=False, dagster=False).lines}["checks"]
    assert line.state is not State.ok
    assert f"{len(named)} checks" in line.said
    sentry_sdk.flush(5)
    assert {f"{e['tags']['asset']}.{e['tags']['check']}" for e in told.events} == named


@pytest.mark.parametrize("name", CHANNELS)
def test_each_channel_that_is_away_is_a_line_of_the_doctor_and_a_notice_when_it_gives_up(
    name: str, database: Database, settings: Settings, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        channel = RECEIVED[name](stack, tmp_path)[0].channel
    if name == "log":
        (tmp_path / "alerts.log").mkdir()
    world = World(database, now=datetime.now(UTC), rules=only("notifications_dead"))
    world.begin()
    message = Message("firing", 7, "some_rule", "warning", "Hartley Plumbing", "23 of 61 texts failed")
    with database.engine.begin() as connection:
        enqueue(connection, [Enqueued(7, 1, name, channel.recipients[0], message)])
    assert "sent" not in deliver_now(database.engine, [channel], budget_seconds=5).counts

    def outbox() -> State:
        return {line.name: line for line in examine(settings, services=False, dagster=False).lines}["outbox"].state

    assert outbox() is State.warn
    database.run("UPDATE monitoring.notifications SET first_attempt_at = now() - interval '4 minutes'")
    assert outbox() is State.fail
    database.run(
        f"UPDATE monitoring.notifications SET status = 'dead', note = 'no answer', finished_at = '{world.now}'"
    )
    world.tick()
    assert world.incidents("rule, scope") == [("notifications_dead", f"channel:{name}")]
