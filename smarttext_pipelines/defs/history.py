"""Keeps Dagster's own storage small: old runs go, unless a partition has its last materialization there."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

FREQUENT_JOBS = (
    "intraday_rollup_job",
    "deliver_notifications_job",
    "delivery_report_job",
    "openai_budgets_job",
    "openai_usage_reset_job",
    "dagster_history_job",
)
ASKED = {"smarttext/asked_by": "rollup_requests"}
"""Tag of the runs that serve requests; there may be one a minute."""

FREQUENT_AGE = timedelta(days=2)
OTHER_AGE = timedelta(days=90)
_PAGE = 500


@dg.op
def delete_old_runs(context: dg.OpExecutionContext) -> None:
    """Delete runs of frequent jobs, and of requests, after 2 days and all others after 90."""
    deleted = delete_runs(context.instance, now=datetime.now(UTC), keep={context.run_id})
    context.add_output_metadata({"runs_deleted": deleted})


def delete_runs(instance: dg.DagsterInstance, *, now: datetime, keep: Iterable[str] = ()) -> int:
    """Delete what is too old and return how many runs that were.

    Args:
        instance: Whose runs.
        now: Time that ages are measured from.
        keep: Runs that stay whatever their age.
    """
    old = {run for job in FREQUENT_JOBS for run in _finished(instance, now - FREQUENT_AGE, job_name=job)}
    old |= set(_finished(instance, now - FREQUENT_AGE, tags=ASKED))
    old |= set(_finished(instance, now - OTHER_AGE))
    old -= set(keep)
    if old:
        old -= _runs_of_last_materializations(instance)
    for run_id in old:
        instance.delete_run(run_id)
    return len(old)


def _finished(instance: dg.DagsterInstance, before: datetime, **which: Any) -> list[str]:
    done = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    filters = dg.RunsFilter(statuses=done, created_before=before, **which)
    return list(instance.get_run_ids(filters))


def _runs_of_last_materializations(instance: dg.DagsterInstance) -> set[str]:
    runs: set[str] = set()
    for asset in instance.all_asset_keys():
        last = instance.event_log_storage.get_latest_storage_id_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        ids = sorted(last.values())
        for start in range(0, len(ids), _PAGE):
            wanted = dg.AssetRecordsFilter(asset_key=asset, storage_ids=ids[start : start + _PAGE])
            found = instance.fetch_materializations(wanted, limit=_PAGE)
            runs |= {record.run_id for record in found.records}
    return runs
