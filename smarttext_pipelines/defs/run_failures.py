"""Failed runs: reported once each with their first error, and ended when what was run is well."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from sqlalchemy import Connection

from smarttext_pipelines.alerting.signals import (
    PIPELINE_FAILURES,
    last_told,
    lock_signals,
    raised_signals,
    reported_runs,
    tell_signal,
)
from smarttext_pipelines.defs.run_subject import failed_steps, joined, name_of, subject_of, what_is_well
from smarttext_pipelines.sentry.capture import capture_failure

_LOOK_BACK = timedelta(days=1)
"""How old a failure may be that is found when nothing was ever looked at."""

_OVERLAP = timedelta(minutes=5)
"""Runs are read again for so long: one process may write a time that is later than another one's clock."""


def report_failed_run(instance: dg.DagsterInstance, run: dg.DagsterRun, connection: Connection) -> str | None:
    """Report a failed run to the rules and to Sentry; None where that was done before, or what it was to do is well.

    Args:
        instance: Dagster's instance.
        run: A run that failed.
        connection: Of the event database, in a transaction.
    """
    subject = subject_of(instance, run)
    if what_is_well(instance, subject):
        return None
    lock_signals(connection)
    if run.run_id in reported_runs(connection):
        return None
    error = _first_error(instance, run.run_id)
    scope = f"run:{name_of(subject)}"
    told = last_told(connection, PIPELINE_FAILURES, scope)
    if told is not None and told.subject:
        subject = joined(instance, told.subject, subject, is_raised=told.is_raised)
    tell_signal(connection, PIPELINE_FAILURES, scope, 1, f"{error} (run {run.run_id[:8]})", subject)
    tags = {
        "job": run.job_name,
        "run_id": run.run_id,
        "asset": ", ".join(failed_steps(instance, run.run_id))[:200] or "none",
        "partition": subject["first"] or "none",
    }
    capture_failure("run", run.run_id, f"{run.job_name} failed: {error}", tags=tags)
    return scope


def report_failed_runs(instance: dg.DagsterInstance, connection: Connection, cursor: str | None) -> str:
    """Report the runs that failed since the cursor, also those of the command line; return the next cursor."""
    now = datetime.now(UTC)
    try:
        since = datetime.fromisoformat(cursor or "")
    except ValueError:
        since = now - _LOOK_BACK
    wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    known = reported_runs(connection)
    for record in instance.get_run_records(wanted, order_by="update_timestamp", ascending=True):
        if record.dagster_run.run_id not in known:
            report_failed_run(instance, record.dagster_run, connection)
    return max(since, now - _OVERLAP).isoformat()


def end_recovered_runs(instance: dg.DagsterInstance, connection: Connection) -> None:
    """End the failures of runs whose days have been materialized since, or that a later run has superseded."""
    lock_signals(connection)
    for name, raised in _raised(connection).items():
        if said := what_is_well(instance, raised.subject):
            tell_signal(connection, PIPELINE_FAILURES, f"run:{name}", 0, said, raised.subject)


def _raised(connection: Connection) -> dict[str, Any]:
    found = raised_signals(connection, PIPELINE_FAILURES, "run")
    return {name: raised for name, raised in found.items() if raised.subject}


def _first_error(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return the first line of the first error of a run: what follows can quote rows."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for record in instance.get_records_for_run(run_id, of_type=kinds).records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        data = event.step_failure_data if event.is_step_failure else None
        if data and data.user_failure_data and data.user_failure_data.description:
            return str(data.user_failure_data.description).splitlines()[0]
        error = data.error if data else None
        while error and error.cause:
            error = error.cause
        said = (error.message if error else event.message) or ""
        return (said.strip().splitlines() or ["it failed without a message"])[0]
    return "it failed without a message"
