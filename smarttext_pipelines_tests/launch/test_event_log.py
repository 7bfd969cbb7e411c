"""What Dagster's storage keeps of a run, and that a deleted run leaves nothing behind."""

import os
from datetime import date

import dagster as dg
import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines_tests.bench.instance import stored_instance
from smarttext_pipelines_tests.conftest import Database

DAYS = DayRange(date(2026, 3, 1), date(2026, 3, 5))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", os.environ.get("DAGSTER_EVENT_BATCH_SIZE", "0"))


def test_a_run_keeps_one_row_per_check_and_a_deleted_run_none(database: Database, empty_database: Database) -> None:
    storage = empty_database
    job = build_definitions(database.settings()).resolve_job_def("rollup_job")
    checks = len({key for key in job.asset_layer.asset_graph.asset_check_keys})
    counted = "SELECT count(*) AS n FROM asset_check_executions WHERE run_id = %s"
    with stored_instance(storage.plain_url) as instance:
        runs = [job.execute_in_process(instance=instance, tags=range_tags(DAYS)).run_id for _ in range(2)]
        assert [storage.rows(counted, run) for run in runs] == [[{"n": checks}]] * 2
        outputs = "SELECT count(*) AS n FROM event_logs WHERE run_id = %s AND dagster_event_type = 'STEP_OUTPUT'"
        assert storage.rows(outputs, runs[0]) == [{"n": len(job.asset_layer.executable_asset_keys)}]
        partitions = instance.get_materialized_partitions(dg.AssetKey("daily_stats"))
        assert partitions == {day.isoformat() for day in DAYS}
        instance.delete_run(runs[0])
        assert storage.rows(counted, runs[0]) == [{"n": 0}]
        # The last result of a check stays, whatever happens to its run.
        instance.delete_run(runs[1])
        assert storage.rows(counted, runs[1]) == [{"n": checks}]
        assert storage.rows("SELECT count(*) AS n FROM event_logs") == [{"n": 0}]
