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
"""Age at which a frequent run that succeeded goes: a third day costs 50 MB (bench storage)."""

FAILED_AGE = timedelta(days=3)
"""Age at which a frequent run that failed goes: what fails on Friday evening is still there on Monday morning."""

OTHER_AGE = timedelta(days=90)
_SUCCEEDED = [dg.DagsterRunStatus.SUCCESS]
_FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PAGE = 500


@dg.op
def delete_old_runs(context: dg.OpExecutionContext) -> None:
    """Delete runs of frequent jobs, and of requests, after 2 days (failed ones 3) and all others after 90."""
    deleted = delete_runs(context.instance, now=datetime.now(UTC), keep={context.run_id})
    context.add_output_metadata({"runs_deleted": deleted})


def delete_runs(instance: dg.DagsterInstance, *, now: datetime, keep: Iterable[str] = ()) -> int:
    """Delete what is too old and return how many runs that were.

    Args:
        instance: Whose runs.
        now: Time that ages are measured from.
        keep: Runs that stay at any age.
    """
    old = set(_runs(instance, now - OTHER_AGE, [*_SUCCEEDED, *_FAILED]))
    frequent: list[dict[str, Any]] = [{"tags": ASKED}, *({"job_name": job} for job in FREQUENT_JOBS)]
    for which in frequent:
        old |= set(_runs(instance, now - FREQUENT_AGE, _SUCCEEDED, **which))
        old |= set(_runs(instance, now - FAILED_AGE, _FAILED, **which))
    old -= set(keep)
    if old:
        old -= _runs_of_last_materializations(instance)
    for run_id in old:
        instance.delete_run(run_id)
    return len(old)


def _runs(
    instance: dg.DagsterInstance, before: datetime, statuses: list[dg.DagsterRunStatus], **which: Any
) -> list[str]:
    return list(instance.get_run_ids(dg.RunsFilter(statuses=statuses, created_before=before, **which)))


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
