"""Alerting in Dagster: a sensor that evaluates and delivers, a job for longer deliveries, failures of the pipeline."""

from datetime import UTC, datetime

import dagster as dg

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.alert_assets import open_incidents
from smarttext_pipelines.defs.jobs import DELIVER_JOB, KIND_TAG, PRIORITY_TAG, UNFINISHED
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.defs.run_failures import end_recovered_runs, report_failed_runs

SENSOR_BUDGET_SECONDS = 20
"""Of the 60 s that a tick may take; the rest goes to the job."""

_RUNNING = dg.DefaultSensorStatus.RUNNING


def build_alert_sensors() -> list[dg.SensorDefinition]:
    """Return the sensors of alerting."""

    @dg.sensor(
        job_name=DELIVER_JOB,
        minimum_interval_seconds=60,
        default_status=_RUNNING,
        description="Evaluates the alert rules and delivers what is due; asks for a run when more is due than fits, or "
        "when something critical has no answer yet.",
    )
    def alert_evaluation_sensor(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.SensorResult:
        # The channels are imported by the process that notifies, not by every one that looks at the graph.
        from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now, evaluate_now

        engine, channels = warehouse.engine(), configured_channels(warehouse.settings)
        try:
            with warehouse.transaction() as connection:
                end_recovered_runs(context.instance, connection)
            notices = evaluate_now(engine, warehouse.settings, channels, datetime.now(UTC))
        finally:
            # Even if the rules cannot be evaluated, notifications that were enqueued before are delivered.
            done = deliver_now(engine, channels, budget_seconds=SENSOR_BUDGET_SECONDS)
        with warehouse.transaction() as connection:
            seen = open_incidents(connection, datetime.now(UTC), warehouse.settings.zone)
        summary = [f"{count} {kind}" for kind, count in (*notices.items(), *done.counts.items())]
        unfinished = dg.RunsFilter(job_name=DELIVER_JOB, statuses=UNFINISHED)
        is_asked = done.needs_a_run and not context.instance.get_runs_count(unfinished)
        return dg.SensorResult(
            run_requests=[dg.RunRequest()] if is_asked else [],
            skip_reason=None if is_asked else ", ".join(summary) or "nothing to report",
            # Only what changed is recorded: a tick a minute would fill Dagster's storage.
            asset_events=[seen.event] if seen.mark != context.cursor else [],
            cursor=seen.mark,
        )

    @dg.sensor(
        minimum_interval_seconds=30,
        default_status=_RUNNING,
        description="Reports runs that failed, also those of the command line, to the rule pipeline_failures and to "
        "Sentry; it is over when what was run is well.",
    )
    def run_failure_alert_sensor(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.SkipReason:
        with warehouse.transaction() as connection:
            cursor = report_failed_runs(context.instance, connection, context.cursor)
        context.update_cursor(cursor)
        return dg.SkipReason("failed runs are reported")

    return [alert_evaluation_sensor, run_failure_alert_sensor]


@dg.op
def deliver_notifications(context: dg.OpExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> None:
    """Deliver what is due, for ten minutes at most."""
    from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now

    try:
        done = deliver_now(warehouse.engine(), configured_channels(warehouse.settings), budget_seconds=600, stay=True)
    except SmartTextError as error:
        raise dg.Failure(str(error)) from None
    context.add_output_metadata(dict(done.counts))


@dg.job(
    name=DELIVER_JOB,
    description="Delivers what is due in the outbox of alerts, when that is more than a tick of the sensor can do.",
    tags={PRIORITY_TAG: "20", KIND_TAG: "deliver"},
)
def deliver_notifications_job() -> None:
    """Deliver notifications."""
    deliver_notifications()
