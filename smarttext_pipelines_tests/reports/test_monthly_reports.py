"""The asset writes a page for each business that had events, once, and nothing else."""

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.report_assets import NAME
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.reports.world import ALWAYS, CALLER, JOINED, OUR_NUMBER, fill

_TABLES = """
    SELECT format('%%I.%%I', n.nspname, c.relname) AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'monitoring') AND c.relkind = 'r' ORDER BY 1
"""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    # A schedule asks for the instance by its reference, which an ephemeral one has not.
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        yield instance


def _rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table."""
    names = [row["name"] for row in database.rows(_TABLES)]
    return {name: database.rows(f"SELECT t::text AS row FROM {name} AS t ORDER BY 1") for name in names}


def _write(database: Database, instance: dg.DagsterInstance, folder: Path, month: str = "2026-03-01") -> dict[str, Any]:
    job = build_definitions(database.settings(data_dir=folder)).resolve_job_def("monthly_reports_job")
    result = job.execute_in_process(instance=instance, partition_key=month)
    (event,) = [each for each in result.all_events if each.is_step_materialization]
    return {name: each.value for name, each in event.materialization.metadata.items()}


def test_each_business_with_events_gets_a_page_and_a_second_run_changes_nothing(
    database: Database, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    fill(database)
    before = _rows(database)
    first = _write(database, instance, tmp_path)
    place = tmp_path / "reports" / "2026-03"
    assert {path.name for path in place.iterdir()} == {
        f"{business}.{form}" for business in (ALWAYS, JOINED) for form in ("html", "json")
    }
    assert (first["businesses"], first["files_written"], first["reports_with_gaps"]) == (2, 4, 1)
    times = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    again = _write(database, instance, tmp_path)
    assert (again["files_written"], again["files_unchanged"]) == (0, 4)
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == times
    assert json.loads((place / f"{ALWAYS}.json").read_text())["figures"]["missed"] == 93
    assert _rows(database) == before, "nothing is written to the database"
    written = "".join(path.read_text() for path in place.iterdir()) + str(first)
    assert CALLER.removeprefix("+") not in written
    assert OUR_NUMBER not in written


def test_a_month_without_any_event_writes_no_file(
    database: Database, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert _write(database, instance, tmp_path)["businesses"] == 0
    assert not (tmp_path / "reports").exists()


def test_the_schedule_asks_for_last_month_once_it_is_settled_and_until_it_is_written(
    database: Database, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = database.settings(data_dir=tmp_path)
    definitions = build_definitions(settings)
    schedule = definitions.resolve_schedule_def("monthly_reports_schedule")

    def asks(day: int) -> list[str | None]:
        with dg.build_schedule_context(
            instance=instance,
            repository_def=definitions.get_repository_def(),
            scheduled_execution_time=datetime(2026, 4, day, 6, 30, tzinfo=UTC),
            resources={"warehouse": Warehouse(settings)},
        ) as context:
            return [each.partition_key for each in schedule.evaluate_tick(context).run_requests or []]

    assert asks(4) == []
    assert asks(5) == asks(20) == ["2026-03-01"]
    for settled in (False, True):
        written = dg.AssetMaterialization(NAME, partition="2026-03-01", metadata={"is_settled": settled})
        instance.report_runless_asset_event(written)
        assert asks(21) == ([] if settled else ["2026-03-01"])
