"""Failed runs: what was run, its first error, and whether that very thing has been well since."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from sqlalchemy import Connection

from smarttext_pipelines.alerting.signals import PIPELINE_FAILURES, raised_signals, reported_runs, tell_signal
from smarttext_pipelines.sentry.capture import capture_failure

Subject = Mapping[str, Any]
"""What a run was to do: job, assets, first and last day, and what distinguishes later runs."""

_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_DONE = dg.DagsterEventType.ASSET_MATERIALIZATION
_UNNAMED_JOBS = ("__ASSET_JOB", "__ANONYMOUS_ASSET_JOB")
_DAY_TAGS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_LOOK_BACK = timedelta(days=1)
"""How old a failure may be that is found when nothing was ever looked at."""

_OVERLAP = timedelta(minutes=5)
"""Runs are read again for so long: one process may write a time that is later than another one's clock."""


def report_failed_run(instance: dg.DagsterInstance, run: dg.DagsterRun, connection: Connection) -> str | None:
    """Report a failed run to the rules and to Sentry; None where what it was to do is well already.

    Args:
        instance: Dagster's instance.
        run: A run that failed.
        connection: Of the event database, in a transaction.
    """
    subject = _subject(instance, run)
    if _what_is_well(instance, subject):
        return None
    error = _first_error(instance, run.run_id)
    scope = f"run:{_name(subject)}"
    tell_signal(connection, PIPELINE_FAILURES, scope, 1, f"{error} (run {run.run_id[:8]})", subject)
    tags = {
        "job": run.job_name,
        "run_id": run.run_id,
        "asset": ", ".join(_failed_steps(instance, run.run_id))[:200] or "none",
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
    for name, raised in _raised(connection).items():
        if said := _what_is_well(instance, raised.subject):
            tell_signal(connection, PIPELINE_FAILURES, f"run:{name}", 0, said, raised.subject)


def _raised(connection: Connection) -> dict[str, Any]:
    found = raised_signals(connection, PIPELINE_FAILURES, "run")
    return {name: raised for name, raised in found.items() if raised.subject}


def _subject(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Any]:
    """Return what the run was to do and has not done; all of it where only a check or an op failed."""
    planned = _materializations(instance, run.run_id, _PLANNED)
    done = _materializations(instance, run.run_id, _DONE)
    missing = [key for key in planned if key not in done]
    days = sorted({day for _, day in missing or planned if day}) or _tagged_days(run)
    record = instance.get_run_record_by_id(run.run_id)
    return {
        "job": run.job_name,
        "run_id": run.run_id,
        "assets": sorted({asset for asset, _ in missing}),
        "named": sorted({asset for asset, _ in planned}),
        "first": days[0] if days else None,
        "last": days[-1] if days else None,
        "after": min(planned.values(), default=0),
        "created_at": record.create_timestamp.isoformat() if record else datetime.now(UTC).isoformat(),
    }


def _tagged_days(run: dg.DagsterRun) -> list[str]:
    """Return the days of a run that materializes nothing, by its tags."""
    one, first, last = (run.tags.get(tag) for tag in _DAY_TAGS)
    return [day for day in ((one,) if one else (first, last)) if day]


def _materializations(
    instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType
) -> dict[tuple[str, str | None], int]:
    found = {}
    for record in instance.get_records_for_run(run_id, of_type=kind).records:
        event = record.event_log_entry.dagster_event
        if event and event.asset_key:
            found[event.asset_key.to_user_string(), event.partition] = record.storage_id
    return found


def _name(subject: Subject) -> str:
    named = subject["named"]
    if subject["job"] not in _UNNAMED_JOBS:
        what = subject["job"]
    elif len(named) > 1:
        what = f"{named[0]} and {len(named) - 1} more"
    else:
        what = (named or ["assets"])[0]
    first, last = subject["first"], subject["last"]
    return what if first is None else f"{what}@{first}" if first == last else f"{what}@{first}..{last}"


def _failed_steps(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.dagster_event for record in records]
    return [event.step_key for event in events if event and event.step_key]


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


def _what_is_well(instance: dg.DagsterInstance, subject: Subject) -> str:
    """Return why a failed run says nothing any more; empty while what it was to do is not done."""
    if not subject["assets"]:
        return _superseding_run(instance, subject)
    for asset in subject["assets"]:
        if not _is_materialized(instance, asset, subject):
            return ""
    return "recovered"


def _is_materialized(instance: dg.DagsterInstance, asset: str, subject: Subject) -> bool:
    key = dg.AssetKey.from_user_string(asset)
    storage = instance.event_log_storage
    if subject["first"] is None:
        event = instance.get_latest_materialization_event(key)
        at = datetime.fromisoformat(subject["created_at"]).timestamp()
        return event is not None and event.timestamp > at and event.run_id != subject["run_id"]
    latest = storage.get_latest_storage_id_by_partition(key, _DONE, set(_days_of(subject)))
    return all(latest.get(day, 0) > subject["after"] for day in _days_of(subject))


def _days_of(subject: Subject) -> list[str]:
    first, last = (datetime.fromisoformat(subject[name]).date() for name in ("first", "last"))
    return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


def _superseding_run(instance: dg.DagsterInstance, subject: Subject) -> str:
    """Return which later run of the same job, over the same days, has succeeded."""
    after = datetime.fromisoformat(subject["created_at"])
    wanted = dg.RunsFilter(job_name=subject["job"], statuses=[dg.DagsterRunStatus.SUCCESS], created_after=after)
    left = set(_days_of(subject)) if subject["first"] else set()
    for record in instance.get_run_records(wanted, limit=100):
        run = record.dagster_run
        assets = {key.to_user_string() for key in run.asset_selection or ()}
        if run.run_id == subject["run_id"] or (assets and not assets >= set(subject["named"])):
            continue
        if not left:
            return f"superseded by run {run.run_id[:8]}"
        left -= {day for _, day in _materializations(instance, run.run_id, _DONE) if day}
        if not left:
            return f"superseded by run {run.run_id[:8]}"
    return ""
