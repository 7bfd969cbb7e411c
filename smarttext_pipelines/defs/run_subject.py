"""What a failed run was to do, and whether that very thing has been done since."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

Subject = Mapping[str, Any]
"""What is not done yet: job, selection, days, what tells later runs apart, the runs that failed.

``named`` is all that was to be done: assets, and checks as ``asset.check``; ``assets`` what is missing of it, ``steps``
what failed; ``is_unfinished`` says that a check or an op failed where nothing was missing. ``after`` and ``created_at``
are those of the last run.
"""

_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_CHECK_PLANNED = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
_DONE = dg.DagsterEventType.ASSET_MATERIALIZATION
_UNNAMED_JOBS = ("__ASSET_JOB", "__ANONYMOUS_ASSET_JOB")
_DAY_TAGS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_MAX_WRITTEN_OUT = 3
"""Assets that a name writes out; more are known by a hash."""

_MAX_RUNS = 200
"""Runs of one thing that are remembered as reported."""


def subject_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Any]:
    """Return what the run was to do and has not done; all of it where only a check or an op failed."""
    planned = _materializations(instance, run.run_id, _PLANNED)
    done = _materializations(instance, run.run_id, _DONE)
    missing = [key for key in planned if key not in done]
    days = sorted({day for _, day in missing or planned if day}) or _tagged_days(run)
    record = instance.get_run_record_by_id(run.run_id)
    assets = {asset for asset, _ in planned}
    checks = _planned_checks(instance, run.run_id)
    return {
        "job": run.job_name,
        "run_id": run.run_id,
        "runs": [run.run_id],
        "selected": []
        if _is_whole(run)
        else sorted({*assets, *(c for c in checks if c.rsplit(".", 1)[0] not in assets)}),
        "steps": failed_steps(instance, run.run_id),
        "assets": sorted({asset for asset, _ in missing}),
        "named": sorted(assets | checks),
        "is_unfinished": not missing,
        "first": days[0] if days else None,
        "last": days[-1] if days else None,
        "after": min(planned.values(), default=0),
        "created_at": record.create_timestamp.isoformat() if record else datetime.now(UTC).isoformat(),
    }


def name_of(subject: Subject) -> str:
    """Return the name of what was run: what differs in job, selection or days has another name."""
    selected, is_named = subject["selected"], subject["job"] not in _UNNAMED_JOBS
    if len(selected) > _MAX_WRITTEN_OUT:
        mark = hashlib.sha256("\n".join(selected).encode()).hexdigest()[:6]
        what = f"{selected[0]} and {len(selected) - 1} more ({mark})"
    else:
        what = "+".join(selected)
    if is_named:
        what = f"{subject['job']} of {what}" if what else subject["job"]
    first, last = subject["first"], subject["last"]
    days = "" if first is None else f"@{first}" if first == last else f"@{first}..{last}"
    return f"{what or 'assets'}{days}"


def failed_steps(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Return the keys of the steps that failed."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.dagster_event for record in records]
    return [event.step_key for event in events if event and event.step_key]


def joined(
    instance: dg.DagsterInstance, before: Subject, subject: dict[str, Any], *, is_raised: bool
) -> dict[str, Any]:
    """Return a subject that remembers what was reported of the same thing before, and what is still missing of that.

    Args:
        instance: Dagster's instance.
        before: What was reported last.
        subject: Of a run that has failed now.
        is_raised: Whether what was reported last is not over; a run that retries a part of it takes nothing from it.
    """
    runs = [*before.get("runs", [before["run_id"]]), subject["run_id"]][-_MAX_RUNS:]
    if not is_raised:
        return {**subject, "runs": runs}
    both = (before, subject)
    missing = {asset for each in both for asset in each["assets"] if not _is_materialized(instance, asset, each)}
    return {
        **max(both, key=lambda each: str(each["created_at"])),
        "runs": runs,
        "assets": sorted(missing),
        "named": sorted({*before["named"], *subject["named"]}),
        "steps": sorted({step for each in both for step in each.get("steps", ())}),
        "is_unfinished": any(_is_unfinished(each) and not _superseding_run(instance, each) for each in both),
        "after": max(each["after"] for each in both),
    }


def what_is_well(instance: dg.DagsterInstance, subject: Subject) -> str:
    """Return why a failed run says nothing any more; empty while what it was to do is not done."""
    if not all(_is_materialized(instance, asset, subject) for asset in subject["assets"]):
        return ""
    return _superseding_run(instance, subject) if _is_unfinished(subject) else "recovered"


def _is_unfinished(subject: Subject) -> bool:
    return bool(subject.get("is_unfinished", not subject["assets"]))


def _is_whole(run: dg.DagsterRun) -> bool:
    """Tell whether a run was of a whole job; the jobs without a name are of what somebody selected."""
    return run.job_name not in _UNNAMED_JOBS and not run.asset_selection and not run.asset_check_selection


def _planned_checks(instance: dg.DagsterInstance, run_id: str) -> set[str]:
    records = instance.get_records_for_run(run_id, of_type=_CHECK_PLANNED).records
    events = [record.event_log_entry.dagster_event for record in records]
    planned = [event.asset_check_planned_data for event in events if event]
    return {f"{each.asset_key.to_user_string()}.{each.check_name}" for each in planned}


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


def _is_materialized(instance: dg.DagsterInstance, asset: str, subject: Subject) -> bool:
    key = dg.AssetKey.from_user_string(asset)
    storage = instance.event_log_storage
    if subject["first"] is None:
        event = instance.get_latest_materialization_event(key)
        at = datetime.fromisoformat(subject["created_at"]).timestamp()
        return event is not None and event.timestamp > at and event.run_id not in subject.get("runs", ())
    latest = storage.get_latest_storage_id_by_partition(key, _DONE, set(_days_of(subject)))
    return all(latest.get(day, 0) > subject["after"] for day in _days_of(subject))


def _days_of(subject: Subject) -> list[str]:
    first, last = (datetime.fromisoformat(subject[name]).date() for name in ("first", "last"))
    return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


def _superseding_run(instance: dg.DagsterInstance, subject: Subject) -> str:
    """Return which later run of the same job, of at least the same selection and days, has succeeded."""
    after = datetime.fromisoformat(subject["created_at"])
    wanted = dg.RunsFilter(job_name=subject["job"], statuses=[dg.DagsterRunStatus.SUCCESS], created_after=after)
    left = set(_days_of(subject)) if subject["first"] else set()
    for record in instance.get_run_records(wanted, limit=100):
        run = record.dagster_run
        if run.run_id == subject["run_id"] or not _covers(instance, run, subject):
            continue
        left -= _days_run(instance, run)
        if not left:
            return f"superseded by run {run.run_id[:8]}"
    return ""


def _days_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    return {day for _, day in _materializations(instance, run.run_id, _DONE) if day} or {*_tagged_days(run)}


def _covers(instance: dg.DagsterInstance, run: dg.DagsterRun, subject: Subject) -> bool:
    """Tell whether a run did all that the subject names: the whole job, as much of it, or a retry of what failed."""
    # Who retries a run may choose some of its steps.
    if run.parent_run_id:
        return {*subject.get("steps", ())} <= {*(run.step_keys_to_execute or ())}
    if _is_whole(run):
        return True
    planned = {asset for asset, _ in _materializations(instance, run.run_id, _PLANNED)}
    return bool(subject["named"]) and {*subject["named"]} <= planned | _planned_checks(instance, run.run_id)
