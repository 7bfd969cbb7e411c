"""The weekly test alert in Dagster: a job and its schedule."""

from datetime import UTC, datetime

import dagster as dg

from smarttext_pipelines.core.days import day_of
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.jobs import KIND_TAG, PRIORITY_TAG
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import Settings

WEEKLY_TEST_JOB = "weekly_test_job"


@dg.op(description="Enqueues a test for text message and pager; the sensor of alerts delivers.")
def enqueue_weekly_test(context: dg.OpExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> None:
    """Enqueue it and say over which channels."""
    from smarttext_pipelines.alerting.evaluation_service import configured_channels
    from smarttext_pipelines.alerting.notify import weekly_test

    settings = warehouse.settings
    day = day_of(datetime.now(UTC), settings.zone)
    try:
        with warehouse.transaction() as connection:
            tested = weekly_test.enqueue_weekly_test(connection, configured_channels(settings), day)
    except SmartTextError as error:
        raise dg.Failure(str(error)) from None
    context.log.info(f"tests: {', '.join(tested) or 'nobody'}")


@dg.job(
    name=WEEKLY_TEST_JOB,
    description="Proves once a week that text messages and pages arrive.",
    tags={PRIORITY_TAG: "1", KIND_TAG: "weekly_test"},
)
def weekly_test_job() -> None:
    """Run the one op."""
    enqueue_weekly_test()


def build_weekly_test_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule: Mondays at ten, when somebody is there to miss it."""

    @dg.schedule(
        job_name=WEEKLY_TEST_JOB,
        cron_schedule="0 10 * * 1",
        execution_timezone=settings.reporting_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Tests text message and pager.",
    )
    def weekly_test_schedule() -> dg.RunRequest | dg.SkipReason:
        if not settings.alert_phones and settings.pagerduty_routing_key is None:
            return dg.SkipReason("neither SMARTTEXT_ALERT_PHONES nor PAGERDUTY_ROUTING_KEY is set")
        return dg.RunRequest()

    return weekly_test_schedule
