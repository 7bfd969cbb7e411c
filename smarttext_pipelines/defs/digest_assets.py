"""The morning digest in Dagster: an asset that enqueues it, its job, and its schedule."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from smarttext_pipelines.alerting.notify.markup import MARKDOWN
from smarttext_pipelines.core.days import day_of
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.jobs import KIND_TAG, PRIORITY_TAG
from smarttext_pipelines.defs.metadata import column_schema
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.tables.alerting import notifications
from smarttext_pipelines.settings import Settings

DIGEST_JOB = "daily_digest_job"


class DigestConfig(dg.Config):
    """Which digest.

    Attributes:
        day: Reporting day as an ISO date; empty for yesterday.
    """

    day: str = ""


@dg.asset(
    deps=["daily_stats", "sms_outcomes", "missed_call_replies", "customer_days", "spend", "alert_incidents"],
    group_name="alerts",
    description="Yesterday in at most twenty lines, sent once to each recipient through the outbox.",
    kinds={"postgres"},
    owners=["team:data"],
    metadata={
        "dagster/column_schema": column_schema(notifications),
        "dagster/table_name": "monitoring.notifications",
    },
)
def daily_digest(config: DigestConfig, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[None]:
    """Enqueue it; the sensor of alerts delivers."""
    from smarttext_pipelines.alerting.evaluation_service import configured_channels
    from smarttext_pipelines.digest.enqueue import enqueue_digest

    settings = warehouse.settings
    yesterday = day_of(datetime.now(UTC), settings.zone) - timedelta(days=1)
    day = date.fromisoformat(config.day) if config.day else yesterday
    try:
        with warehouse.transaction() as connection:
            lines = enqueue_digest(connection, settings, configured_channels(settings), day)
    except SmartTextError as error:
        raise dg.Failure(str(error)) from None
    page = "\n\n".join(map(MARKDOWN.escape, lines))
    return dg.MaterializeResult(metadata={"day": day.isoformat(), "digest": dg.MetadataValue.md(page)})


daily_digest_job = dg.define_asset_job(
    DIGEST_JOB,
    dg.AssetSelection.assets("daily_digest"),
    description="Tells yesterday in a few lines.",
    tags={PRIORITY_TAG: "9", KIND_TAG: "digest"},
)


def build_digest_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule; after a second tick, the digest of a day is still sent once."""

    @dg.schedule(
        job_name=DIGEST_JOB,
        cron_schedule=f"{settings.digest_at.minute} {settings.digest_at.hour} * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Tells yesterday.",
    )
    def daily_digest_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = day_of(context.scheduled_execution_time, settings.zone) - timedelta(days=1)
        if day < settings.start_date:
            return dg.SkipReason("the first partition is not over")
        return dg.RunRequest(run_config={"ops": {"daily_digest": {"config": {"day": day.isoformat()}}}})

    return daily_digest_schedule
