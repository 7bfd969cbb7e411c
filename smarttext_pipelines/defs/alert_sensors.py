"""Alerting in Dagster: a sensor that evaluates and delivers, a job for what is more, failures of the pipeline."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG

from smarttext_pipelines.alerting.evaluation_service import (
    configured_channels,
    deliver_now,
    evaluate_now,
    raised_signals,
    tell_signal,
)
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.alert_assets import open_incidents
from smarttext_pipelines.defs.assets import FACTS, STATS
from smarttext_pipelines.defs.budget_assets import openai_budgets
from smarttext_pipelines.defs.checks import check_specs
from smarttext_pipelines.defs.evaluations import WHAT_TO_DO
from smarttext_pipelines.defs.jobs import DELIVER_JOB, KIND_TAG, PRIORITY_TAG, UNFINISHED
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.sentry.capture import capture_failure

if TYPE_CHECKING:
    from sqlalchemy import Connection

SENSOR_BUDGET_SECONDS = 20
"""Of the 60 s that a tick may take; what is more goes to the job."""

_RUNNING = dg.DefaultSensorStatus.RUNNING
_CHECK_KEYS = [
    *(dg.AssetCheckKey(dg.AssetKey(a), spec.name) for a in (*FACTS, *STATS) for spec in check_specs(a)),
    *openai_budgets.check_keys,
]


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
        engine, channels = warehouse.engine(), configured_channels(warehouse.settings)
        try:
            with warehouse.transaction() as connection:
                _tell_of_checks(context.instance, connection)
                _tell_of_recovered_jobs(context.instance, connection)
            notices = evaluate_now(engine, warehouse.settings, channels, datetime.now(UTC))
        finally:
            # Whatever keeps the rules from being evaluated, what was enqueued before is delivered.
            done = deliver_now(engine, channels, budget_seconds=SENSOR_BUDGET_SECONDS)
        with warehouse.transaction() as connection:
            seen = open_incidents(connection, datetime.now(UTC), warehouse.settings.zone)
        told = [f"{count} {kind}" for kind, count in (*notices.items(), *done.counts.items())]
        unfinished = dg.RunsFilter(job_name=DELIVER_JOB, statuses=UNFINISHED)
        is_asked = done.needs_a_run and not context.instance.get_runs_count(unfinished)
        return dg.SensorResult(
            run_requests=[dg.RunRequest()] if is_asked else [],
            skip_reason=None if is_asked else ", ".join(told) or "nothing to tell",
            # Only what changed is recorded: a tick a minute would fill Dagster's storage.
            asset_events=[seen.event] if seen.mark != context.cursor else [],
            cursor=seen.mark,
        )

    @dg.run_failure_sensor(
        minimum_interval_seconds=30,
        default_status=_RUNNING,
        description="Tells the rule pipeline_failures of runs that failed; the next success of the job ends it.",
    )
    def run_failure_alert_sensor(context: dg.RunFailureSensorContext, warehouse: dg.ResourceParam[Warehouse]) -> None:
        # What follows the first line can quote rows.
        said = (context.failure_event.message or "").splitlines()[:1]
        job = context.dagster_run.job_name
        _capture_run(context, "".join(said))
        with warehouse.transaction() as connection:
            tell_signal(
                connection,
                "pipeline_failures",
                f"job:{job}",
                1,
                f"{job} failed, run {context.dagster_run.run_id[:8]}: {''.join(said)}",
            )

    return [alert_evaluation_sensor, run_failure_alert_sensor]


def _capture_run(context: dg.RunFailureSensorContext, said: str) -> None:
    run = context.dagster_run
    steps = [event.step_key for event in context.get_step_failure_events() if event.step_key]
    tags = {
        "job": run.job_name,
        "run_id": run.run_id,
        "asset": ", ".join(steps)[:200] or "none",
        "partition": run.tags.get("dagster/partition") or run.tags.get(ASSET_PARTITION_RANGE_START_TAG, "none"),
    }
    capture_failure("run", run.run_id, f"{run.job_name} failed: {said}", tags=tags)


def _tell_of_checks(instance: dg.DagsterInstance, connection: "Connection") -> None:
    """Tell which asset checks fail now: errors as failures of the pipeline, warnings for themselves."""
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(_CHECK_KEYS)
    for key, record in latest.items():
        evaluation = record.event.asset_check_evaluation if record.event and record.event.dagster_event else None
        if evaluation is None:
            continue
        scope = f"check:{key.asset_key.to_user_string()}.{key.name}"
        is_error = evaluation.severity is dg.AssetCheckSeverity.ERROR
        for signal, fails in (("pipeline_failures", is_error), ("failed_checks", not is_error)):
            failed = not evaluation.passed and fails
            was_raised = scope.removeprefix("check:") in raised_signals(connection, signal, "check")
            found = _found(evaluation) if failed else ""
            if failed and not was_raised:
                said = f"{scope}: {found}"
                tags = {"check": key.name, "asset": key.asset_key.to_user_string(), "run_id": record.run_id}
                level = "error" if is_error else "warning"
                capture_failure("check", f"{scope}:{record.run_id}", said, tags=tags, level=level)
            if failed or was_raised:
                tell_signal(connection, signal, scope, int(failed), found)


def _found(evaluation: dg.AssetCheckEvaluation) -> str:
    """Return what a failed check found, and what to do."""
    todo = evaluation.metadata.get(WHAT_TO_DO)
    return f"{evaluation.description or evaluation.check_name}. {todo.value if todo else ''}".strip()


def _tell_of_recovered_jobs(instance: dg.DagsterInstance, connection: "Connection") -> None:
    """End the failure of a job that has succeeded since."""
    for job, failed_at in raised_signals(connection, "pipeline_failures", "job").items():
        succeeded = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=failed_at)
        if instance.get_runs_count(succeeded):
            tell_signal(connection, "pipeline_failures", f"job:{job}", 0)


@dg.op
def deliver_notifications(context: dg.OpExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> None:
    """Deliver what is due, for ten minutes at most."""
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
