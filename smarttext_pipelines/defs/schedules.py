"""Schedules in the reporting zone. Each computes what is due from what was done, so an outage catches up by itself."""

from datetime import date, datetime, timedelta

import dagster as dg

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.defs.archive_assets import build_retention_schedules
from smarttext_pipelines.defs.delivery_assets import build_delivery_schedule
from smarttext_pipelines.defs.digest_assets import build_digest_schedule
from smarttext_pipelines.defs.jobs import UNFINISHED
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.planning import MOST_DAYS_BACK, nightly_days
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.defs.twilio_usage import build_usage_schedule
from smarttext_pipelines.defs.weekly_test_job import build_weekly_test_schedule
from smarttext_pipelines.settings import Settings

_RUNNING = dg.DefaultScheduleStatus.RUNNING


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Return every schedule."""
    zone = settings.reporting_timezone

    def today(context: dg.ScheduleEvaluationContext) -> date:
        at: datetime = context.scheduled_execution_time
        return at.astimezone(settings.zone).date()

    @dg.schedule(
        job_name="rollup_job",
        cron_schedule="5 0 * * *",
        execution_timezone=zone,
        default_status=_RUNNING,
        description="Rolls up everything that is not complete or not settled, up to yesterday, in one run.",
    )
    def rollup_schedule(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.RunRequest | dg.SkipReason:
        day = today(context)
        with warehouse.transaction() as connection:
            recent = DayRange(day, day).widen(MOST_DAYS_BACK)
            complete = complete_days(connection, recent, settings.zone)
        days = nightly_days(
            day, settle_days=settings.settle_days, complete=complete, first_partition=settings.start_date
        )
        return dg.RunRequest(tags=range_tags(days)) if days else dg.SkipReason("the first partition is not over")

    @dg.schedule(
        job_name="intraday_rollup_job",
        cron_schedule="*/10 * * * *",
        execution_timezone=zone,
        default_status=_RUNNING,
        description="Refreshes today when a source has new rows.",
    )
    def intraday_rollup_schedule(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.RunRequest | dg.SkipReason:
        day = today(context)
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

    @dg.schedule(
        job_name="dagster_history_job",
        cron_schedule="30 3 * * *",
        execution_timezone=zone,
        default_status=_RUNNING,
        description="Keeps Dagster's own storage small.",
    )
    def dagster_history_schedule(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest()

    report = _of_yesterday(settings, "alert_report", "20 0 * * *", "Counts yesterday's incidents and notifications.")
    health = _of_yesterday(settings, "pipeline_health", "25 0 * * *", "Writes down how yesterday went.")
    budgets = dg.ScheduleDefinition(
        name="openai_budgets_schedule",
        job_name="openai_budgets_job",
        cron_schedule="*/30 * * * *",
        execution_timezone=zone,
        default_status=_RUNNING,
        description="Reads today's OpenAI use and checks the counter.",
    )
    reset = dg.ScheduleDefinition(
        name="openai_usage_reset_schedule",
        job_name="openai_usage_reset_job",
        cron_schedule="1 0 * * *",
        execution_timezone=zone,
        default_status=_RUNNING,
        description="Notes that the OpenAI day was opened.",
    )
    own = [
        budgets,
        reset,
        rollup_schedule,
        intraday_rollup_schedule,
        report,
        health,
        dagster_history_schedule,
    ]
    return [
        *own,
        build_delivery_schedule(settings),
        build_usage_schedule(settings),
        build_digest_schedule(settings),
        build_weekly_test_schedule(settings),
        *build_retention_schedules(zone),
    ]


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
