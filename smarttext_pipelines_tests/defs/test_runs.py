"""What runs, schedules and sensors do with a real database and a real instance."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.assets import FACTS, STATS
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.defs.run_history import delete_runs
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import cells, insert_events, replace_events

DAY = date(2026, 3, 15)
DAYS = DayRange(DAY, DAY).widen(2)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def stored_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Slower: an instance that a tick with a partition can be evaluated against."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def loaded(database: Database) -> Database:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    return database


def _definitions(database: Database) -> dg.Definitions:
    return build_definitions(database.settings())


def _run(database: Database, instance: dg.DagsterInstance, days: DayRange, job: str = "rollup_job") -> Any:
    return (
        _definitions(database)
        .resolve_job_def(job)
        .execute_in_process(instance=instance, tags=range_tags(days), raise_on_error=False)
    )


@dataclass(frozen=True)
class Ran:
    """A run of several days, which the tests of what it told only read."""

    database: Database
    instance: dg.DagsterInstance
    result: Any


@pytest.fixture(scope="module")
def ran(server: Server, template: str) -> Iterator[Ran]:
    with fresh_database(server, template) as database, dg.DagsterInstance.ephemeral() as instance:
        replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
        yield Ran(database, instance, _run(database, instance, DAYS))


def _metadata(result: Any, asset: str) -> dict[str, dict[str, Any]]:
    found = [e.materialization for e in result.all_events if e.is_step_materialization]
    return {
        m.partition: {k: v.value for k, v in m.metadata.items()} for m in found if m.asset_key == dg.AssetKey(asset)
    }


def _tick(database: Database, instance: dg.DagsterInstance, schedule: str, at: datetime) -> Any:
    definitions = _definitions(database)
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        resources={"warehouse": Warehouse(database.settings())},
        repository_def=definitions.get_repository_def(),
    ) as context:
        return definitions.resolve_schedule_def(schedule).evaluate_tick(context)


def _sense(database: Database, instance: dg.DagsterInstance, sensor: str) -> Any:
    definition = _definitions(database).resolve_sensor_def(sensor)
    with dg.build_sensor_context(instance=instance, resources={"warehouse": Warehouse(database.settings())}) as context:
        return definition.evaluate_tick(context)


def test_a_range_run_tells_each_partition_its_own_numbers(ran: Ran) -> None:
    assert ran.result.success
    by_day = _metadata(ran.result, "daily_stats")
    assert set(by_day) == {day.isoformat() for day in DAYS}
    told = by_day[DAY.isoformat()]
    rows = cells(ran.database.engine, "daily_stats")
    assert told["dagster/partition_row_count"] == len(rows)
    assert told["texts_sent"] == sum(row["messages_sent"] for row in rows)
    assert by_day[DAYS.first.isoformat()]["dagster/partition_row_count"] == 0
    assert {"sql", "preview", "businesses", "rows_changed"} <= set(told)
    assert "plot" in by_day[DAYS.last.isoformat()]


def test_every_check_of_a_run_is_evaluated_once_for_its_range(ran: Ran) -> None:
    evaluations = ran.result.get_asset_check_evaluations()
    told = {(e.asset_key.to_user_string(), e.check_name): e.passed for e in evaluations}
    declared = {
        (spec.asset_key.to_user_string(), spec.name)
        for asset in _definitions(ran.database).assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.check_specs
        if asset.key.to_user_string() in (*FACTS, *STATS)
    }
    assert (set(told), len(evaluations)) == (declared, len(declared))
    assert told["sms_outcomes", "agrees_with_sources"]
    assert not told["sms_outcomes", "undated_rows"]


def test_what_a_run_tells_holds_no_telephone_number(ran: Ran) -> None:
    told = " ".join(str(event.event_specific_data) for event in ran.result.all_events)
    assert "+1555" not in told


def test_sources_are_observed_with_their_newest_event(ran: Ran) -> None:
    for name in ("sms_events", "call_events", "api_usage", "owner_alerts", "businesses"):
        (seen,) = ran.instance.fetch_observations(dg.AssetKey(name), limit=1).records
        assert seen.asset_observation is not None
        assert "dagster/row_count" in seen.asset_observation.metadata


def test_a_database_that_was_never_migrated_fails_the_run_in_one_line(
    empty_database: Database, instance: dg.DagsterInstance
) -> None:
    result = _run(empty_database, instance, DAYS)
    failure = next(e for e in result.all_events if e.is_step_failure)
    said = failure.step_failure_data.user_failure_data.description
    assert "run `smarttext migrate`" in said
    assert "\n" not in said


def test_a_column_that_is_missing_fails_its_asset_in_one_line_and_writes_nothing(
    loaded: Database, instance: dg.DagsterInstance
) -> None:
    loaded.run("ALTER TABLE public.sms_events DROP COLUMN request_id")
    result = _run(loaded, instance, DAYS)
    failures = {e.step_key: e.step_failure_data for e in result.all_events if e.is_step_failure}
    assert "has no such column" in failures["sms_outcomes"].user_failure_data.description
    assert cells(loaded.engine, "sms_outcomes") == []
    assert cells(loaded.engine, "daily_stats") == []


def test_the_night_rolls_up_what_is_not_complete(loaded: Database, instance: dg.DagsterInstance) -> None:
    at = datetime(2026, 3, 18, 0, 5, tzinfo=UTC)
    first = _tick(loaded, instance, "rollup_schedule", at).run_requests[0]
    assert first.tags.items() >= range_tags(DayRange(date(2026, 2, 15), date(2026, 3, 17))).items()
    assert _run(loaded, instance, DayRange(date(2026, 2, 15), date(2026, 3, 17))).success
    second = _tick(loaded, instance, "rollup_schedule", at).run_requests[0]
    assert second.tags.items() >= range_tags(DayRange(date(2026, 3, 13), date(2026, 3, 17))).items()


def test_the_intraday_schedule_skips_with_a_reason_when_no_source_changed(
    loaded: Database, stored_instance: dg.DagsterInstance
) -> None:
    at = datetime(2026, 3, 15, 12, 10, tzinfo=UTC)
    (request,) = _tick(loaded, stored_instance, "intraday_rollup_schedule", at).run_requests
    assert request.partition_key == "2026-03-15"
    result = (
        _definitions(loaded)
        .resolve_job_def("intraday_rollup_job")
        .execute_in_process(instance=stored_instance, partition_key="2026-03-15")
    )
    assert result.success
    skipped = _tick(loaded, stored_instance, "intraday_rollup_schedule", at + timedelta(minutes=10))
    assert skipped.skip_message == "no source has new rows of 2026-03-15"


def test_update_daily_stats_is_served_by_a_run_that_starts_later(
    loaded: Database, instance: dg.DagsterInstance
) -> None:
    loaded.run("SELECT public.update_daily_stats(NULL, '2026-03-15')")
    (request,) = _sense(loaded, instance, "rollup_request_sensor").run_requests
    assert request.tags.items() >= range_tags(DayRange(DAY, DAY)).items()
    again = _sense(loaded, instance, "rollup_request_sensor").run_requests
    assert [r.run_key for r in again] == [request.run_key], "an unserved request asks under the same key"
    assert _run(loaded, instance, DayRange(DAY, DAY)).success
    assert "nothing is asked for" in _sense(loaded, instance, "rollup_request_sensor").skip_message
    assert loaded.rows("SELECT * FROM monitoring.rollup_requests") == []


def test_a_rollup_that_began_before_a_request_does_not_serve_it(loaded: Database, instance: dg.DagsterInstance) -> None:
    assert _run(loaded, instance, DayRange(DAY, DAY)).success
    loaded.run("SELECT public.update_daily_stats(NULL, '2026-03-15')")
    assert len(_sense(loaded, instance, "rollup_request_sensor").run_requests) == 1


def test_days_that_changed_are_asked_for_with_those_around_them(loaded: Database, instance: dg.DagsterInstance) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    late = strategies.sms_event(900, yesterday, message_sid="SM900")
    with loaded.engine.begin() as connection:
        insert_events(connection, {"sms_events": [late]})
    assert "asked for" in _sense(loaded, instance, "rollup_drift_sensor").skip_message
    asked = loaded.rows("SELECT row_day, reason FROM monitoring.rollup_requests ORDER BY row_day")
    assert [row["row_day"] for row in asked] == [yesterday.date() - timedelta(days=n) for n in range(4, -1, -1)]
    assert {row["reason"] for row in asked} == {f"{yesterday.date()}: sms_events has 1 rows, 0 were read"}


def test_old_runs_go_and_every_partition_keeps_its_last_materialization(
    loaded: Database, instance: dg.DagsterInstance
) -> None:
    job = _definitions(loaded).resolve_job_def("intraday_rollup_job")
    runs = [job.execute_in_process(instance=instance, partition_key="2026-03-15").run_id for _ in range(3)]
    failed = instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE)
    assert delete_runs(instance, now=datetime.now(UTC) + timedelta(days=2.5)) == 2
    assert {run.run_id for run in instance.get_runs()} == {runs[-1], failed.run_id}
    assert delete_runs(instance, now=datetime.now(UTC) + timedelta(days=4)) == 1
    assert [run.run_id for run in instance.get_runs()] == [runs[-1]]
    for asset in (*FACTS, *STATS):
        assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {"2026-03-15"}


def test_runs_of_people_stay_for_ninety_days(loaded: Database, instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        _run(loaded, instance, DayRange(DAY, DAY))
    assert delete_runs(instance, now=datetime.now(UTC) + timedelta(days=89)) == 0
    assert delete_runs(instance, now=datetime.now(UTC) + timedelta(days=91)) == 1


def test_without_a_database_url_a_tick_says_what_to_set(instance: dg.DagsterInstance) -> None:
    from smarttext_pipelines.core.errors import SettingsError
    from smarttext_pipelines.settings import Settings

    with pytest.raises(SettingsError, match="SMARTTEXT_DATABASE_URL is not set"):
        Warehouse(Settings(_env_file=None)).engine()
    with pytest.raises(DatabaseError, match="cannot be used"):
        Warehouse(Settings(database_url="postgresql://nobody@127.0.0.1:1/none", _env_file=None)).engine()
