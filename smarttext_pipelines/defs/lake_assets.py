"""The event lake in the graph: off until ``SMARTTEXT_LAKE_URL`` says where it is kept."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from smarttext_pipelines.core.days import FIRST_DAY, DayRange
from smarttext_pipelines.core.errors import DatabaseError, SmartTextError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.defs.archive_assets import ARCHIVED_TABLES, GROUP
from smarttext_pipelines.defs.metadata import column_schema
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.tables.lake_files import lake_files
from smarttext_pipelines.settings import Settings

if TYPE_CHECKING:
    from smarttext_pipelines.lake.export import DayExported

NAME = "event_lake"
EXAMINED_DAYS = 30
"""Days before a partition whose files are compared with the rows there are now, and written again where they differ."""


def build_event_lake(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """Return the asset."""

    @dg.asset(
        name=NAME,
        deps=ARCHIVED_TABLES,
        group_name=GROUP,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="Days of events as Parquet, without deletion, for engines that read files. Off until "
        "SMARTTEXT_LAKE_URL is set.",
        kinds={"parquet"},
        owners=["team:data"],
        retry_policy=dg.RetryPolicy(max_retries=2, delay=60),
        metadata={
            "dagster/column_schema": column_schema(lake_files),
            "dagster/table_name": f"{lake_files.schema}.{lake_files.name}",
        },
    )
    def event_lake(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.MaterializeResult[None]]:
        from smarttext_pipelines.lake.export import raise_failures

        keys = context.partition_key_range
        days = DayRange(date.fromisoformat(keys.start), date.fromisoformat(keys.end))
        examined = DayRange(max(FIRST_DAY, days.first - timedelta(days=EXAMINED_DAYS)), days.last)
        try:
            results = warehouse.export_days(examined, lambda done: _tell(context, done))
            raise_failures(results)
        except SmartTextError as error:
            raise dg.Failure(str(error), allow_retries=type(error) is DatabaseError) from None
        again = sum(r.day < days.first for r in results)
        for day in days:
            of_day = [r for r in results if r.day == day]
            written = {"dagster/partition_row_count": sum(r.rows for r in of_day), "files_written": len(of_day)}
            context.add_asset_metadata({**written, "earlier_days_written_again": again}, partition_key=day.isoformat())
        yield dg.MaterializeResult()

    return event_lake


def build_lake_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule, which skips as long as no lake is kept."""

    @dg.schedule(
        job_name=f"{NAME}_job",
        cron_schedule="30 1 * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Writes yesterday into the lake, and days with late rows again; skips where no lake is kept.",
    )
    def event_lake_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if settings.lake_url is None:
            return dg.SkipReason("no lake is kept: SMARTTEXT_LAKE_URL is not set")
        at: datetime = context.scheduled_execution_time
        day = at.astimezone(settings.zone).date() - timedelta(days=1)
        if day < settings.start_date:
            return dg.SkipReason("the first partition is not over")
        return dg.RunRequest(partition_key=day.isoformat())

    return event_lake_schedule


def _tell(context: dg.AssetExecutionContext, done: "DayExported") -> None:
    if done.failure:
        context.log.warning(f"{done.table}, {done.day}: {done.failure}")
    else:
        context.log.info(f"{done.table}, {done.day}: {counted(done.rows, 'row')}, {done.bytes:,} bytes")
