"""``pipeline_health``: how each day of the pipeline went, with checks on runs, silence and heartbeats."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import dagster as dg

from smarttext_pipelines.core.days import day_end, day_start
from smarttext_pipelines.defs.evaluations import Check, evaluation, spec
from smarttext_pipelines.defs.metadata import column_schema, table_metadata
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.health import database_lines
from smarttext_pipelines.health.freshness import SOURCES, read_traffic
from smarttext_pipelines.health.pipeline_days import PartHealth, RunTimes, jobs_of, sources_of, write_day
from smarttext_pipelines.health.pipeline_findings import beats_finding, runs_finding, silence_finding
from smarttext_pipelines.health.verdicts import judge_traffic
from smarttext_pipelines.schema.tables.pipeline_health import pipeline_health as table

NAME, GROUP = "pipeline_health", "health"
_CHECKS = {
    "no_failed_runs": Check(
        "Every run of the day succeeded.",
        "Open the run: the first error in its log says what is missing. Nothing half-written is left; the next run of "
        "the schedule makes up for it, or launch it again.",
    ),
    "runs_start_in_time": Check(
        "No run of the day waited longer than five minutes to start.",
        "Runs wait for others of their kind, or the daemon did not run: see Runs, Queued, and `smarttext doctor`.",
    ),
    "sources_fresh": Check(
        "No source is silent where the same hours of earlier weeks were not; as of the run.",
        "See that the application runs and writes to this database.",
    ),
    "heartbeats_in_time": Check(
        "No sensor, schedule or job is later than twice its interval; as of the run.",
        "See that the daemon and the code server run, then the last tick or run of what is late; `smarttext doctor` "
        "says more.",
    ),
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
        check_specs=[spec(NAME, name, check) for name, check in _CHECKS.items()],
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
        zone, runs, now = warehouse.settings.zone, list[RunTimes](), datetime.now(UTC)
        for key in context.partition_keys:
            day = date.fromisoformat(key)
            start, end = day_start(day, zone), day_end(day, zone)
            runs_of_day = _runs(context.instance, start, end)
            with warehouse.transaction() as connection:
                of_day = [*jobs_of(runs_of_day), *sources_of(connection, start, end)]
                write_day(connection, day, of_day)
            context.add_asset_metadata({"rows": table_metadata([_row(each) for each in of_day])}, partition_key=key)
            runs += runs_of_day
        with warehouse.transaction() as connection:
            traffic = [judge_traffic(each, now) for each in read_traffic(connection, now, zone)]
            beats = database_lines.heartbeats(connection, now)
        days = [date.fromisoformat(key) for key in context.partition_keys]
        found = {
            "no_failed_runs": runs_finding(runs, days, lambda run: run.failed, "failed", "failed_count"),
            "runs_start_in_time": runs_finding(runs, days, lambda run: run.is_late, "started late", "late_count"),
            "sources_fresh": silence_finding(traffic),
            "heartbeats_in_time": beats_finding(beats),
        }
        for name, finding in found.items():
            yield evaluation(NAME, name, _CHECKS[name], finding)
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
            record.dagster_run.run_id,
        )
        for record in instance.get_run_records(wanted)
    ]


def _row(part: PartHealth) -> dict[str, object]:
    return {
        "kind": part.kind,
        "name": part.name,
        "seen": part.seen_count,
        "failed": part.failed_count,
        "late": part.late_count,
        "median s": _rounded(part.median_seconds),
        "longest s": _rounded(part.longest_seconds),
        "lag s": _rounded(part.lag_seconds),
    }


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
