"""Schedules in the reporting zone. Each computes what is due from what was done, so an outage catches up by itself."""

from datetime import date, datetime, timedelta

import dagster as dg

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.defs.archive_assets import build_retention_schedules
from smarttext_pipelines.defs.delivery_assets import build_delivery_schedule
from smarttext_pipelines.defs.digest_assets import build_digest_schedule
from smarttext_pipelines.defs.economics_assets import build_economics_schedule
from smarttext_pipelines.defs.jobs import UNFINISHED
from smarttext_pipelines.defs.lake_assets import build_lake_schedule
from smarttext_pipelines.defs.openai_costs import build_costs_schedule
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.planning import MAX_DAYS_BACK, nightly_days
from smarttext_pipelines.defs.report_assets import build_reports_schedule
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.defs.twilio_usage import build_usage_schedule
from smarttext_pipelines.defs.weekly_test_job import build_weekly_test_schedule
from smarttext_pipelines.settings import Settings

_RUNNING = dg.DefaultScheduleStatus.RUNNING


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Return every schedule."""
    zone = settings.reporting_timezone
    return [
        _plain("openai_budgets", "*/30 * * * *", zone, "Reads today's OpenAI use and checks the counter."),
        _plain("openai_usage_reset", "1 0 * * *", zone, "Notes that the OpenAI day was opened."),
        _nightly(settings),
        _intraday(settings),
        _of_yesterday(settings, "alert_report", "20 0 * * *", "Counts yesterday's incidents and notifications."),
        _of_yesterday(settings, "pipeline_health", "25 0 * * *", "Writes down how yesterday went."),
        _plain("dagster_history", "30 3 * * *", zone, "Keeps Dagster's own storage small."),
        build_delivery_schedule(settings),
        build_usage_schedule(settings),
        build_costs_schedule(settings),
        build_digest_schedule(settings),
        build_reports_schedule(settings),
        build_economics_schedule(settings),
        build_weekly_test_schedule(settings),
        *build_retention_schedules(zone),
        build_lake_schedule(settings),
    ]


def _plain(name: str, cron: str, zone: str, description: str) -> dg.ScheduleDefinition:
    """Return a schedule that launches its job at every tick."""
    return dg.ScheduleDefinition(
        name=f"{name}_schedule",
        job_name=f"{name}_job",
        cron_schedule=cron,
        execution_timezone=zone,
        default_status=_RUNNING,
        description=description,
    )


def _today(context: dg.ScheduleEvaluationContext, settings: Settings) -> date:
    at: datetime = context.scheduled_execution_time
    return at.astimezone(settings.zone).date()


def _nightly(settings: Settings) -> dg.ScheduleDefinition:
    @dg.schedule(
        job_name="rollup_job",
        cron_schedule="5 0 * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=_RUNNING,
        description="Rolls up everything that is not complete or not settled, up to yesterday, in one run.",
    )
    def rollup_schedule(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.RunRequest | dg.SkipReason:
        day = _today(context, settings)
        with warehouse.transaction() as connection:
            recent = DayRange(day, day).widen(MAX_DAYS_BACK)
            complete = complete_days(connection, recent, settings.zone)
        days = nightly_days(
            day, settle_days=settings.settle_days, complete=complete, first_partition=settings.start_date
        )
        return dg.RunRequest(tags=range_tags(days)) if days else dg.SkipReason("the first partition is not over")

    return rollup_schedule


def _intraday(settings: Settings) -> dg.ScheduleDefinition:
    @dg.schedule(
        job_name="intraday_rollup_job",
        cron_schedule="*/10 * * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=_RUNNING,
        description="Refreshes today when a source has new rows.",
    )
    def intraday_rollup_schedule(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.RunRequest | dg.SkipReason:
        day = _today(context, settings)
        if day < settings.start_date:
            return dg.SkipReason(f"the first partition is {settings.start_date}")
        unfinished = dg.RunsFilter(job_name="intraday_rollup_job", statuses=UNFINISHED)
        if context.instance.get_runs_count(unfinished):
            return dg.SkipReason("the last refresh is not finished")
        changed = warehouse.changed_days(DayRange(day, day))
        if not changed:
            return dg.SkipReason(f"no source has new rows of {day}")
        return dg.RunRequest(
            partition_key=day.isoformat(), tags={"smarttext/changed": ", ".join(c.source for c in changed)}
        )

    return intraday_rollup_schedule


def _of_yesterday(settings: Settings, name: str, cron: str, description: str) -> dg.ScheduleDefinition:
    """Return a schedule that launches a job for the partition of yesterday."""

    def request(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        at: datetime = context.scheduled_execution_time
        day = at.astimezone(settings.zone).date() - timedelta(days=1)
        if day < settings.start_date:
            return dg.SkipReason("the first partition is not over")
        return dg.RunRequest(partition_key=day.isoformat())

    return dg.ScheduleDefinition(
        name=f"{name}_schedule",
        job_name=f"{name}_job",
        cron_schedule=cron,
        execution_timezone=settings.reporting_timezone,
        default_status=_RUNNING,
        description=description,
        execution_fn=request,
    )
