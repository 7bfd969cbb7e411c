"""Dagster's storage after 30 days of schedules: real runs and ticks, copied under new ids for each day that passes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.run_history import delete_runs
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.instance import stored_instance
from smarttext_pipelines_tests.bench.tools import Line
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

FULL_DAYS, INTRADAY_RUNS, BUDGET_RUNS, LIMIT = 30, 144, 48, "200 MB"
BUSINESSES, EVENTS_PER_DAY = 40, 3_000

_COPY = """
INSERT INTO runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set,
                  create_timestamp, update_timestamp, start_time, end_time, backfill_id)
SELECT copy.id, snapshot_id, pipeline_name, mode, status, replace(run_body, '{run}', copy.id), partition,
       partition_set, copy.at, copy.at, start_time, end_time, backfill_id
FROM runs, copy WHERE run_id = '{run}';
INSERT INTO run_tags (run_id, key, value)
SELECT copy.id, key, value FROM run_tags, copy WHERE run_tags.run_id = '{run}';
INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
SELECT copy.id, replace(event, '{run}', copy.id), dagster_event_type, copy.at, step_key, asset_key,
       (partition::date + {later})::text
FROM event_logs, copy WHERE run_id = '{run}' ORDER BY copy.at, event_logs.id;
INSERT INTO asset_event_tags (event_id, asset_key, key, value, event_timestamp)
SELECT new.id, tag.asset_key, key, value, new.timestamp
FROM event_logs AS new
JOIN copy ON copy.id = new.run_id
JOIN event_logs AS old ON old.run_id = '{run}' AND old.asset_key = new.asset_key
    AND old.dagster_event_type = new.dagster_event_type
    AND (old.partition::date + {later})::text IS NOT DISTINCT FROM new.partition
JOIN asset_event_tags AS tag ON tag.event_id = old.id;
INSERT INTO asset_check_executions (asset_key, check_name, partition, run_id, execution_status, evaluation_event,
                                    evaluation_event_timestamp, materialization_event_storage_id, create_timestamp)
SELECT asset_key, check_name, partition, copy.id, execution_status, replace(evaluation_event, '{run}', copy.id),
       copy.at, materialization_event_storage_id, copy.at
FROM asset_check_executions, copy WHERE run_id = '{run}' ORDER BY copy.at;
"""
_COPIES = """
CREATE TEMPORARY TABLE copy AS
SELECT gen_random_uuid()::text AS id, timestamp '{at}' + n * interval '1 day' / {runs} AS at
FROM generate_series(0, {runs} - 1) AS n;
"""
# A schedule ticks every ten minutes; three sensors every minute, one twice, one every five; dagster.yaml keeps ticks
# without a run for a day.
_TICKS_OF_A_DAY = """
INSERT INTO job_ticks (job_origin_id, selector_id, status, type, timestamp, tick_body)
SELECT job_origin_id, selector_id, status, type, timestamp + {later} * interval '1 day', tick_body
FROM job_ticks, generate_series(1, CASE status WHEN 'SKIPPED' THEN 7488 ELSE 144 END)
WHERE id <= (SELECT min(id) + 1 FROM job_ticks);
"""
_PURGE_TICKS = """
DELETE FROM job_ticks WHERE status = 'SKIPPED' AND id > (SELECT min(id) + 1 FROM job_ticks)
    AND timestamp < (SELECT min(timestamp) FROM job_ticks) + ({later} - 1) * interval '1 day';
"""


def measure(server: Server, scale: float) -> list[Line]:
    """Return what is stored after the days, and what a run of each kind adds."""
    days = max(5, int(FULL_DAYS * scale))
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with fresh_database(server) as database, fresh_database(server) as storage:
        migrate(database.engine, ZoneInfo("UTC"))
        now = datetime.now(UTC)
        load_sample(database.url, SampleSpec(40, BUSINESSES, EVENTS_PER_DAY, 7, now.date(), now))
        with stored_instance(storage.plain_url) as instance:
            nightly, intraday, budgets = _real_runs(database, instance, first)
            _real_ticks(instance, intraday, first)
            begun = _bytes(storage)
            for day in range(1, days + 1):
                _copy(storage, intraday, INTRADAY_RUNS, first, day)
                _copy(storage, budgets, BUDGET_RUNS, first, day)
                _copy(storage, nightly, 1, first, day)
                storage.run(_TICKS_OF_A_DAY.format(later=day))
                storage.run(_PURGE_TICKS.format(later=day))
                delete_runs(instance, now=first + timedelta(days=day + 1), keep=(nightly, intraday, budgets))
                storage.run("VACUUM")
            stored = _bytes(storage)
            runs = instance.get_runs_count()
    return [
        Line("storage with one run of each kind", f"{begun / 1e6:.0f} MB"),
        Line(
            f"after {days} days of {INTRADAY_RUNS} intraday, {BUDGET_RUNS} budget runs and one nightly",
            f"{stored / 1e6:.0f} MB",
            LIMIT,
        ),
        Line("runs that are kept", f"{runs:,}"),
    ]


def _real_runs(database: Database, instance: dg.DagsterInstance, first: datetime) -> tuple[str, str, str]:
    """Run the nightly, the intraday and the budgets job and return their ids."""
    definitions = build_definitions(database.settings())
    today = first.date()
    week = DayRange(today - timedelta(days=5), today - timedelta(days=1))
    ids = []
    for job, tags in (("rollup_job", range_tags(week)), ("intraday_rollup_job", range_tags(DayRange(today, today)))):
        ids.append(definitions.resolve_job_def(job).execute_in_process(instance=instance, tags=tags).run_id)
    budgets = definitions.resolve_job_def("openai_budgets_job").execute_in_process(instance=instance)
    return ids[0], ids[1], budgets.run_id


def _real_ticks(instance: dg.DagsterInstance, run: str, at: datetime) -> None:
    for status, outcome in (
        (TickStatus.SKIPPED, {"skip_reason": "nothing is asked for between 2025-01-01 and 2026-06-30"}),
        (TickStatus.SUCCESS, {"run_ids": [run], "run_keys": []}),
    ):
        named = {"instigator_origin_id": "0" * 40, "instigator_name": "rollup_request_sensor"}
        kind = {"instigator_type": InstigatorType.SENSOR, "selector_id": "0" * 40, "status": status}
        instance.create_tick(TickData(**named, **kind, timestamp=at.timestamp(), **outcome))


def _copy(storage: Database, run: str, runs: int, first: datetime, later: int) -> None:
    at = (first + timedelta(days=later)).replace(tzinfo=None).isoformat(" ")
    with storage.server.connect(storage.name) as connection, connection.transaction():
        connection.execute(_COPIES.format(at=at, runs=runs))
        connection.execute(_COPY.format(run=run, later=later))
        connection.execute("DROP TABLE copy")


def _bytes(storage: Database) -> int:
    return int(storage.rows("SELECT pg_database_size(current_database()) AS bytes")[0]["bytes"])
