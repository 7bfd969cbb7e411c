"""An incident of a check or a run ends when that very thing is well, by whatever run, and not before."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sentry_sdk

from smarttext_pipelines.alerting.signals import mark_well, reported_runs
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.defs.run_failures import end_recovered_runs, report_failed_runs
from smarttext_pipelines.defs.run_subject import name_of
from smarttext_pipelines.launch.run_rollup import RollupError
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.alerting.test_alert_sensors import _tick
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events
from smarttext_pipelines_tests.fakes.sentry import FakeSentry, reporting

TODAY = datetime.now(UTC).date()
FIRST, SECOND = TODAY - timedelta(days=3), TODAY - timedelta(days=2)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return database.settings(data_dir=tmp_path)


@pytest.fixture
def told() -> Iterator[FakeSentry]:
    with reporting() as fake:
        yield fake


def _run(settings: Settings, instance: dg.DagsterInstance, first: date, last: date | None = None) -> Any:
    job = build_definitions(settings).resolve_job_def("rollup_job")
    tags = range_tags(DayRange(first, last or first))
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def _look_for_failures(settings: Settings, instance: dg.DagsterInstance) -> None:
    sensor = build_definitions(settings).resolve_sensor_def("run_failure_alert_sensor")
    with dg.build_sensor_context(instance=instance, resources={"warehouse": Warehouse(settings)}) as context:
        sensor.evaluate_tick(context)


def _raised(database: Database) -> dict[str, str]:
    rows = database.rows("SELECT scope, detail FROM monitoring.alert_signals WHERE value > 0 ORDER BY scope")
    return {row["scope"]: row["detail"] for row in rows}


def _of_texts(database: Database) -> list[str]:
    return [scope for scope in _raised(database) if scope.startswith("check:sms_outcomes.")]


def test_a_check_ends_by_the_same_day_only(
    database: Database,
    settings: Settings,
    instance: dg.DagsterInstance,
) -> None:
    for day in (FIRST, SECOND):
        text = strategies.sms_event(
            day.day, datetime(day.year, day.month, day.day, 12, tzinfo=UTC), status="failed", error_code="98765"
        )
        with database.engine.begin() as connection:
            insert_events(connection, {"sms_events": [text]})
    _run(settings, instance, FIRST, SECOND)
    scopes = [f"check:sms_outcomes.error_codes_mapped@{day}" for day in (FIRST, SECOND)]
    assert _of_texts(database) == scopes
    assert f"1 of 1 failed texts on {FIRST} had an error code of no class" in _raised(database)[scopes[0]]
    _tick(settings, instance)
    database.run("UPDATE public.sms_events SET error_code = '30003' WHERE created_at::date = %s", SECOND)
    _run(settings, instance, SECOND)
    _tick(settings, instance)
    assert _of_texts(database) == scopes[:1]
    database.run("UPDATE public.sms_events SET error_code = '30003'")
    _run(settings, instance, FIRST)
    assert _of_texts(database) == []


def test_a_run_ends_when_the_days_that_it_was_to_compute_are_computed(
    database: Database,
    settings: Settings,
    instance: dg.DagsterInstance,
) -> None:
    database.run("ALTER TABLE monitoring.spend RENAME TO away")
    assert not _run(settings, instance, FIRST, SECOND).success
    _look_for_failures(settings, instance)
    (scope,) = _raised(database)
    assert scope == f"run:rollup_job@{FIRST}..{SECOND}"
    assert "spend" in _raised(database)[scope], "the notice quotes the first error"
    database.run("ALTER TABLE monitoring.away RENAME TO spend")
    for day in (TODAY, FIRST):
        assert _run(settings, instance, day).success
        _tick(settings, instance)
        _look_for_failures(settings, instance)
        assert list(_raised(database)) == [scope], "other days, and one of two, say nothing"
    assert _run(settings, instance, SECOND).success
    _tick(settings, instance)
    assert _raised(database) == {}


@pytest.mark.parametrize(
    ("job", "selected", "name"),
    [
        ("rollup_job", [], "rollup_job@2026-03-15"),
        ("rollup_job", ["spend"], "rollup_job of spend@2026-03-15"),
        ("__ASSET_JOB", ["call_volume", "spend"], "call_volume+spend@2026-03-15"),
        ("__ASSET_JOB", ["call_volume", "daily_stats"], "call_volume+daily_stats@2026-03-15"),
        ("__ASSET_JOB", ["a", "b", "c", "d"], "a and 3 more (f729ae)@2026-03-15"),
        ("__ASSET_JOB", ["a", "b", "c", "e"], "a and 3 more (f13954)@2026-03-15"),
        ("__ASSET_JOB", ["spend.undated_rows"], "spend.undated_rows@2026-03-15"),
    ],
)
def test_what_was_run_has_a_name_of_its_own(job: str, selected: list[str], name: str) -> None:
    assert name_of({"job": job, "selected": selected, "first": "2026-03-15", "last": "2026-03-15"}) == name


def test_a_success_of_another_selection_or_of_a_part_ends_no_failure_of_a_check(
    database: Database, instance: dg.DagsterInstance
) -> None:
    """Runs of assets and checks by hand, all of them of the one unnamed job."""

    @dg.asset
    def first() -> None: ...

    @dg.asset
    def second() -> None: ...

    is_broken = [True]

    @dg.asset_check(asset=first)
    def odd() -> dg.AssetCheckResult:
        if is_broken:
            msg = "the database is away"
            raise ValueError(msg)
        return dg.AssetCheckResult(passed=True)

    job = dg.Definitions([first, second], asset_checks=[odd]).resolve_implicit_global_asset_job_def()

    def run(*assets: str, checks: bool = True) -> None:
        job.get_subset(
            asset_selection={dg.AssetKey(name) for name in assets},
            asset_check_selection={odd.check_key} if checks and not assets else None if checks else set(),
        ).execute_in_process(instance=instance, raise_on_error=False)
        with database.engine.begin() as connection:
            report_failed_runs(instance, connection, None)
            end_recovered_runs(instance, connection)

    run()
    assert list(_raised(database)) == ["run:first.odd"]
    is_broken.clear()
    run("second")
    run("first", checks=False)
    assert list(_raised(database)) == ["run:first.odd"], "the check has not run since"
    run("first")
    assert _raised(database) == {}


def test_a_failed_rollup_of_the_command_line_is_reported_without_any_daemon(
    database: Database,
    settings: Settings,
    told: FakeSentry,
) -> None:
    from smarttext_pipelines.launch.run_rollup import run_rollup

    database.run("ALTER TABLE monitoring.spend RENAME TO away")
    alone = settings.model_copy(update={"dagster_database_url": None})
    with pytest.raises(RollupError, match="spend"):
        run_rollup(alone, DayRange(FIRST, FIRST), allow_empty=False)
    (scope,) = _raised(database)
    assert scope == f"run:rollup_job@{FIRST}"
    sentry_sdk.flush(5)
    (event,) = told.events
    assert (event["tags"]["job"], event["tags"]["partition"]) == ("rollup_job", str(FIRST))
    with database.engine.begin() as connection:
        assert mark_well(connection, scope, "Ann")
    with database.engine.begin() as connection:
        assert len(reported_runs(connection)) == 1, "it is not reported anew when runs are looked at again"


def test_a_rollup_of_the_command_line_that_succeeds_ends_the_failure_of_an_earlier_one(
    database: Database, settings: Settings
) -> None:
    from smarttext_pipelines.launch.run_rollup import run_rollup

    alone = settings.model_copy(update={"dagster_database_url": None})
    database.run("ALTER TABLE monitoring.spend RENAME TO away")
    with pytest.raises(RollupError):
        run_rollup(alone, DayRange(FIRST, FIRST), allow_empty=False)
    database.run("ALTER TABLE monitoring.away RENAME TO spend")
    run_rollup(alone, DayRange(SECOND, SECOND), allow_empty=False)
    assert list(_raised(database)) == [f"run:rollup_job@{FIRST}"], "another day says nothing"
    run_rollup(alone, DayRange(FIRST, FIRST), allow_empty=False)
    assert _raised(database) == {}


def test_a_person_can_say_that_a_run_needs_nothing_more(smarttext: Any, database: Database) -> None:
    assert smarttext("alerts", "evaluate")[0] == 0
    database.run(
        "INSERT INTO monitoring.alert_signals (signal, scope, value, detail)"
        " VALUES ('pipeline_failures', 'run:rollup_job@2026-03-15', 1, 'the database was away')"
    )
    assert "1 firing" in smarttext("alerts", "evaluate")[1]
    number = str(database.rows("SELECT max(id) AS id FROM monitoring.incidents")[0]["id"])
    assert "is marked as well by Ann" in smarttext("alerts", "resolve", number, "--by", "Ann")[1]
    assert "is over already" in smarttext("alerts", "resolve", number, "--by", "Ann")[1]
    assert "INC-1" in smarttext("alerts", "list")[1]
    assert "No data" not in smarttext("alerts", "runbook", number)[1]
    assert "Rule `pipeline_failures`" in smarttext("alerts", "runbook", number)[1]
    database.run("UPDATE monitoring.incidents SET clear_since = now() - interval '1 hour', state = 'recovering'")
    smarttext("alerts", "evaluate")
    assert database.rows("SELECT reason FROM monitoring.incidents")[-1]["reason"] == "marked as well by Ann"


def test_silencing_and_acknowledging_by_number_twice_says_so(smarttext: Any, database: Database) -> None:
    smarttext("alerts", "evaluate")
    database.run(
        "INSERT INTO monitoring.alert_signals (signal, scope, value, detail)"
        " VALUES ('pipeline_failures', 'run:x', 1, 'it failed')"
    )
    smarttext("alerts", "evaluate")
    number = str(database.rows("SELECT max(id) AS id FROM monitoring.incidents")[0]["id"])
    assert smarttext("alerts", "silence", number, "--for", "2h")[1].startswith("silence 1 until")
    assert "is there already" in smarttext("alerts", "silence", number, "--for", "2h")[1]
    (row,) = database.rows("SELECT rule, scope, reason FROM monitoring.silences")
    assert row == {"rule": "pipeline_failures", "scope": "run:x", "reason": f"INC-{number}"}
    smarttext("alerts", "ack", number)
    assert "already" in smarttext("alerts", "ack", number)[1]
    listed = smarttext("alerts", "list", "--json")[1]
    assert '"silenced_by": "silence 1' in listed
