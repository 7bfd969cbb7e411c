"""``monthly_reports``: what each business is told of a month, as files in the data directory; nothing is sent."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from smarttext_pipelines.core.days import is_final
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.jobs import KIND_TAG, PRIORITY_TAG
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import Settings

NAME, REPORTS_JOB = "monthly_reports", "monthly_reports_job"
_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn("business_id", "uuid", description="Business; the file is named by it."),
        dg.TableColumn("month", "text", description="Month of the reporting zone, such as 2026-10."),
        dg.TableColumn("headline", "text", description="The month in a sentence."),
        dg.TableColumn("unknown", "json", description="What is not known, a sentence each."),
        dg.TableColumn("figures", "json", description="Calls, texts and cost; null is unknown."),
        dg.TableColumn("days", "json", description="The same numbers of each day that is over."),
        dg.TableColumn(
            "missed_by_weekday_and_hour", "json", description="Missed calls of each weekday by hour; null: unknown."
        ),
        dg.TableColumn("failures", "json", description="Why texts failed, and who can act."),
        dg.TableColumn("incidents", "json", description="What fired for the business, and what was done about it."),
    ]
)


def build_monthly_reports(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset; a month is a partition as soon as it is over."""

    @dg.asset(
        name=NAME,
        deps=["daily_stats", "missed_call_replies", "spend", "sms_outcomes", "call_events", "alert_incidents"],
        group_name="reports",
        partitions_def=dg.MonthlyPartitionsDefinition(
            start_date=settings.start_date.replace(day=1).isoformat(), timezone=settings.reporting_timezone
        ),
        description="A page for each business that had events in the month, and the same as JSON.",
        kinds={"html"},
        owners=["team:data"],
        metadata={"dagster/column_schema": _COLUMNS},
    )
    def monthly_reports(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult[None]:
        from smarttext_pipelines.reports.missed_hours import all_missed_hours
        from smarttext_pipelines.reports.month_facts import month_of
        from smarttext_pipelines.reports.report_files import write_month

        try:
            month = month_of(warehouse.settings, date.fromisoformat(context.partition_key), datetime.now(UTC))
            # A transaction of its own: the planner of this one is set for a large statement.
            with warehouse.transaction() as connection:
                hours = all_missed_hours(connection, month)
            with warehouse.transaction() as connection:
                done = write_month(connection, month, hours, warehouse.settings.data_dir / "reports")
        except SmartTextError as error:
            raise dg.Failure(str(error)) from None
        return dg.MaterializeResult(
            metadata={
                "businesses": done.businesses,
                "files_written": done.written,
                "files_unchanged": done.unchanged,
                "reports_with_gaps": done.with_gaps,
                "is_settled": month.is_settled,
                "folder": dg.MetadataValue.path(str(done.folder.resolve())),
            }
        )

    return monthly_reports


monthly_reports_job = dg.define_asset_job(
    REPORTS_JOB,
    dg.AssetSelection.assets(NAME),
    description="Writes what each business is told of a month.",
    tags={PRIORITY_TAG: "1", KIND_TAG: "reports"},
)


def _is_written(instance: dg.DagsterInstance, key: str) -> bool:
    """Tell whether the files of a month were last written when its numbers no longer changed by themselves."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(NAME), asset_partitions=[key])
    newest = [record.asset_materialization for record in instance.fetch_materializations(wanted, limit=1).records]
    told = newest[0].metadata.get("is_settled") if newest and newest[0] else None
    return told is not None and bool(told.value)


def build_reports_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule; it asks every morning, so that a month is written also after an outage."""

    @dg.schedule(
        job_name=REPORTS_JOB,
        cron_schedule="30 6 * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Writes the reports of last month as soon as its numbers no longer change by themselves.",
    )
    def monthly_reports_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        at = context.scheduled_execution_time
        last = at.astimezone(settings.zone).date().replace(day=1) - timedelta(days=1)
        key = last.replace(day=1).isoformat()
        if last < settings.start_date:
            return dg.SkipReason("the first month is not over")
        if not is_final(last, settings.zone, settings.settle_days, at):
            return dg.SkipReason(f"the numbers of {last:%Y-%m} may still change by themselves")
        if _is_written(context.instance, key):
            return dg.SkipReason(f"the reports of {last:%Y-%m} are written")
        return dg.RunRequest(partition_key=key)

    return monthly_reports_schedule
