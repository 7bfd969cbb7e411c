"""The archive in the graph: what was archived by table and day, the job that does it, the weekly check of all files."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from smarttext_pipelines.core.errors import DatabaseError, SmartTextError
from smarttext_pipelines.defs.evaluations import failure_metadata
from smarttext_pipelines.defs.metadata import column_schema
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.tables.archive_segments import archive_segments

if TYPE_CHECKING:
    from smarttext_pipelines.retention.run import DayDone

GROUP = "archive"
ARCHIVED = "archived_events"
ARCHIVED_TABLES = ("sms_events", "call_events", "api_usage", "owner_alerts")

_METADATA = {
    "dagster/column_schema": column_schema(archive_segments),
    "dagster/table_name": f"{archive_segments.schema}.{archive_segments.name}",
}


class RetentionConfig(dg.Config):
    """What a person may change when he launches the job.

    Attributes:
        days: Days that rows stay in their tables; 0 is what the settings say.
        tables: Tables to archive.
    """

    days: int = 0
    tables: list[str] = Field(default_factory=lambda: list(ARCHIVED_TABLES))


def build_archived_events(days: dg.DailyPartitionsDefinition) -> dg.AssetSpec:
    """Return the asset that the job reports to, one partition per table and day."""
    return dg.AssetSpec(
        ARCHIVED,
        deps=ARCHIVED_TABLES,
        group_name=GROUP,
        partitions_def=dg.MultiPartitionsDefinition(
            {"day": days, "table": dg.StaticPartitionsDefinition(ARCHIVED_TABLES)}
        ),
        description="Events that were written to Parquet, read back and, where that is allowed, deleted.",
        kinds={"parquet"},
        owners=["team:data"],
        metadata=_METADATA,
    )


@dg.op
def archive_old_events(
    context: dg.OpExecutionContext, config: RetentionConfig, warehouse: dg.ResourceParam[Warehouse]
) -> None:
    """Archive what is old enough; delete it where nobody has to be asked."""
    from smarttext_pipelines.retention.run import raise_failures

    try:
        results = warehouse.archive_days(
            config.days or None, config.tables, done=lambda done: _tell(context, done), begun=lambda _days: None
        )
        raise_failures(results)
    except SmartTextError as error:
        raise dg.Failure(str(error), allow_retries=type(error) is DatabaseError) from None
    context.add_output_metadata(
        {
            "rows_archived": sum(r.rows_archived for r in results),
            "rows_deleted": sum(r.rows_deleted for r in results),
            "days_that_wait": sum(r.waits is not None for r in results),
        }
    )


@dg.job(
    description="Archives days that are old enough: written, read back, and deleted where that is allowed.",
    tags={"dagster/priority": "1", "smarttext/kind": "retention"},
)
def retention_job() -> None:
    """Archive old days."""
    archive_old_events()


@dg.asset(
    deps=[ARCHIVED],
    group_name=GROUP,
    description="Hashes every stored file of the archive, and compares its rows with the manifest.",
    kinds={"parquet"},
    owners=["team:data"],
    metadata=_METADATA,
)
def archive_scrub(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[None]:
    """Check every file."""
    from smarttext_pipelines.retention.manifest_check import WHAT_TO_DO, damage_finding, scrub

    try:
        results = scrub(warehouse.engine(), warehouse.archive())
    except SmartTextError as error:
        raise dg.Failure(str(error), allow_retries=type(error) is DatabaseError) from None
    if found := damage_finding(results):
        msg = f"{found.said}; {WHAT_TO_DO}"
        raise dg.Failure(msg, failure_metadata(found, WHAT_TO_DO), allow_retries=False)
    size = sum(r.segment.bytes or 0 for r in results)
    return dg.MaterializeResult(metadata={"files": len(results), "bytes": size})


def build_retention_schedules(zone: str) -> list[dg.ScheduleDefinition]:
    """Return the schedules of the archive."""

    @dg.schedule(
        job_name="retention_job",
        cron_schedule="0 1 * * *",
        execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Archives old days every night; deletes only where SMARTTEXT_RETENTION_DELETE allows it.",
    )
    def retention_schedule(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest()

    @dg.schedule(
        job_name="archive_scrub_job",
        cron_schedule="0 2 * * 0",
        execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Checks every file of the archive once a week.",
    )
    def archive_scrub_schedule(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest()

    return [retention_schedule, archive_scrub_schedule]


def _tell(context: dg.OpExecutionContext, done: "DayDone") -> None:
    """Report what became of a table and day: a materialization, or a line in the log."""
    if done.failure or done.waits:
        context.log.warning(f"{done.table}, {done.day}: {done.failure or done.waits}")
    if done.segments:
        partition = dg.MultiPartitionKey({"day": done.day.isoformat(), "table": done.table})
        context.log_event(dg.AssetMaterialization(ARCHIVED, partition=partition, metadata=day_metadata(done)))


def day_metadata(done: "DayDone") -> dict[str, str | int | float]:
    """Return what people see of an archived day."""
    return {
        "dagster/partition_row_count": done.rows_archived,
        "rows_deleted": done.rows_deleted,
        "rows_changed_meanwhile": sum(s.changed_rows or 0 for s in done.segments),
        "rows_that_no_file_holds": done.rows_left,
        "bytes": done.bytes,
        "compression_ratio": done.ratio or 0.0,
        "files": ", ".join(str(s.object_key) for s in done.segments),
        "content_sha256": ", ".join(str(s.content_sha256) for s in done.segments),
    }
