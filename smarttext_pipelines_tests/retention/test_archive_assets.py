"""The archive's job, schedule and check with a real database: what they tell, and what they may delete unasked."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from sqlalchemy import text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.database.embedded import embedded_server, ensure_database
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events, roll_up_all

DAY = date(2026, 3, 15)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def loaded(database: Database) -> Database:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    roll_up_all(database.engine, DayRange(DAY, DAY).widen(12))
    return database


def _run(database: Database, instance: dg.DagsterInstance, job: str = "retention_job", **settings: Any) -> Any:
    definitions = build_definitions(database.settings(**settings))
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)


def _live(database: Database) -> int:
    return int(database.rows("SELECT count(*) FROM public.sms_events")[0]["count"])


def _said(result: Any) -> str:
    (failed,) = [e for e in result.all_events if e.is_step_failure]
    return str(failed.step_failure_data.user_failure_data.description)


@pytest.mark.parametrize(
    "settings",
    [{}, {"retention_delete": True}, {"archive_url": "an-archive"}],
    ids=["nothing said", "no place said", "delete not said"],
)
def test_the_job_deletes_nothing_from_a_database_of_others_unasked(
    loaded: Database, instance: dg.DagsterInstance, settings: dict[str, Any]
) -> None:
    before = _live(loaded)
    assert _run(loaded, instance, **settings).success
    assert _live(loaded) == before
    states = loaded.rows("SELECT DISTINCT state, changed_rows FROM monitoring.archive_segments")
    assert states == [{"state": "verified", "changed_rows": 0}]


def test_the_job_tells_each_table_and_day_what_was_archived(
    loaded: Database, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    result = _run(loaded, instance, archive_url=str(tmp_path / "a"), retention_delete=True)
    assert result.success
    assert _live(loaded) == 1, "the undated row stays"
    told = {
        e.materialization.partition: e.materialization.metadata
        for e in result.all_events
        if e.is_step_materialization or e.event_type_value == "ASSET_MATERIALIZATION"
    }
    metadata = {k: v.value for k, v in told["2026-03-15|sms_events"].items()}
    assert metadata["dagster/partition_row_count"] == metadata["rows_deleted"] == 15
    assert metadata["bytes"] > 0
    assert metadata["compression_ratio"] > 0
    assert len(str(metadata["content_sha256"])) == 64
    phones = [row["n"] for row in loaded.rows("SELECT DISTINCT twilio_phone AS n FROM public.businesses") if row["n"]]
    assert phones
    assert not [n for n in phones for m in told.values() if n in str(m)]


def test_a_day_that_fails_fails_the_run_and_the_other_tables_go_on(
    loaded: Database, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "sms_events").write_text("a file where a folder belongs")
    result = _run(loaded, instance, archive_url=str(tmp_path / "a"), retention_delete=True)
    assert not result.success
    assert "sms_events" in _said(result)
    assert "nothing was deleted" in _said(result)
    assert _live(loaded) == 18
    assert loaded.rows("SELECT count(*) FROM public.owner_alerts") == [{"count": 1}]


def test_the_weekly_check_fails_when_a_file_changed_by_a_bit(
    loaded: Database, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = {"archive_url": str(tmp_path / "a"), "retention_delete": True}
    _run(loaded, instance, **settings)
    assert _run(loaded, instance, "archive_scrub_job", **settings).success
    file = next((tmp_path / "a").rglob("*.parquet"))
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    result = _run(loaded, instance, "archive_scrub_job", **settings)
    assert not result.success
    assert "1 of 6 files are not as they were verified, 1 of them the only holders" in _said(result)
    (failure,) = [e.step_failure_data.user_failure_data for e in result.all_events if e.is_step_failure]
    (damaged,) = failure.metadata["concerned"].records
    (row,) = loaded.rows(failure.metadata["sql"].value)
    assert damaged.data["id"] == str(row["id"])
    assert loaded.rows("SELECT count(*) FROM monitoring.archive_segments WHERE failure LIKE '%%damaged%%'") == [
        {"count": 1}
    ]


def test_the_nightly_schedule_asks_for_one_run(loaded: Database, instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(loaded.settings())
    for name in ("retention_schedule", "archive_scrub_schedule"):
        schedule = definitions.resolve_schedule_def(name)
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2026, 11, 20, 1, tzinfo=UTC),
            resources={"warehouse": Warehouse(loaded.settings())},
        ) as context:
            assert len(schedule.evaluate_tick(context).run_requests or []) == 1


def test_the_job_deletes_from_the_embedded_server_without_being_asked(instance: dg.DagsterInstance) -> None:
    # Outside of pytest's own folders, which the server's user cannot enter.
    with tempfile.TemporaryDirectory(prefix="smarttext-test-") as folder:
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder)) as server:
            ensure_database(server, "smarttext")
            settings = Settings(database_url=server.url("smarttext"), data_dir=folder, _env_file=None)
            engine = open_engine(server.url("smarttext"))
            migrate(engine, ZoneInfo("UTC"))
            replace_events(engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
            roll_up_all(engine, DayRange(DAY, DAY).widen(12))
            job = build_definitions(settings).resolve_job_def("retention_job")
            assert job.execute_in_process(instance=instance, raise_on_error=False).success
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT count(*) FROM public.sms_events")) == 1
            assert len(list((Path(folder) / "archive").rglob("*.parquet"))) == 6
