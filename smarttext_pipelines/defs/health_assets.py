"""``pipeline_health``: how each day of the pipeline went, with checks on runs, silence and heartbeats."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from smarttext_pipelines.core.days import day_end, day_start
from smarttext_pipelines.core.health import Line, State, judge_traffic
from smarttext_pipelines.defs.metadata import column_schema
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.health import database
from smarttext_pipelines.health.days import PartHealth, RunTimes, jobs_of, sources_of, write_day
from smarttext_pipelines.health.freshness import SOURCES, read_traffic
from smarttext_pipelines.storage.schema.health import pipeline_health as table

NAME, GROUP = "pipeline_health", "health"
_CHECKS = {
    "no_failed_runs": "Every run of the day succeeded.",
    "runs_start_in_time": "No run of the day waited longer than five minutes to start.",
    "sources_fresh": "No source is silent where the same hours of earlier weeks were not; as of the run.",
    "heartbeats_in_time": "No sensor, schedule or job is later than twice its interval; as of the run.",
}
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def build_pipeline_health(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """Return the asset."""

    @dg.asset(
        name=NAME,
        deps=list(SOURCES),
        group_name=GROUP,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec(name, asset=NAME, description=why) for name, why in _CHECKS.items()],
        description=table.comment,
        kinds={"postgres"},
        owners=["team:data"],
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": f"{table.schema}.{table.name}",
        },
    )
    def pipeline_health(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        zone, rows, now = warehouse.settings.zone, list[PartHealth](), datetime.now(UTC)
        for key in context.partition_keys:
            day = date.fromisoformat(key)
            start, end = day_start(day, zone), day_end(day, zone)
            jobs = jobs_of(_runs(context.instance, start, end))
            with warehouse.transaction() as connection:
                of_day = [*jobs, *sources_of(connection, start, end)]
                write_day(connection, day, of_day)
            context.add_asset_metadata({"rows": dg.MetadataValue.md(_table(of_day))}, partition_key=key)
            rows += of_day
        with warehouse.transaction() as connection:
            traffic = [judge_traffic(each, now) for each in read_traffic(connection, now, zone)]
            beats = database.heartbeats(connection, now)
        yield _counted("no_failed_runs", {r.name: r.failed_count for r in rows if r.failed_count})
        yield _counted("runs_start_in_time", {r.name: r.late_count for r in rows if r.late_count})
        yield _judged("sources_fresh", traffic)
        yield _judged("heartbeats_in_time", beats)
        yield dg.MaterializeResult()

    return pipeline_health


def _runs(instance: dg.DagsterInstance, start: datetime, end: datetime) -> list[RunTimes]:
    """Return the runs that were created on the day and have ended; Dagster keeps them for a while only."""
    wanted = dg.RunsFilter(statuses=_ENDED, created_after=start, created_before=end)
    return [
        RunTimes(
            record.dagster_run.job_name,
            record.dagster_run.status is dg.DagsterRunStatus.FAILURE,
            record.create_timestamp.replace(tzinfo=UTC).timestamp(),
            record.start_time,
            record.end_time,
        )
        for record in instance.get_run_records(wanted)
    ]


def _counted(name: str, found: dict[str, int | None]) -> dg.AssetCheckResult:
    return _result(name, not found, {job: count or 0 for job, count in found.items()})


def _judged(name: str, lines: list[Line]) -> dg.AssetCheckResult:
    bad = {line.name: line.said for line in lines if line.state is State.fail}
    return _result(name, not bad, bad)


def _result(name: str, passed: bool, metadata: Mapping[str, Any]) -> dg.AssetCheckResult:
    warn = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=passed, asset_key=NAME, check_name=name, severity=warn, metadata=metadata)


def _table(rows: list[PartHealth]) -> str:
    head = "| kind | name | seen | failed | late | median s | longest s | lag s |\n|" + " --- |" * 8
    lines = [
        f"| {r.kind} | {r.name} | {r.seen_count} | {_cell(r.failed_count)} | {_cell(r.late_count)} | "
        f"{_cell(r.median_seconds)} | {_cell(r.longest_seconds)} | {_cell(r.lag_seconds)} |"
        for r in rows
    ]
    return "\n".join([head, *lines])


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
