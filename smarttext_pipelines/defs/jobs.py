"""Jobs: what schedules, sensors and people launch."""

from typing import Any

import dagster as dg

from smarttext_pipelines.defs.archive_assets import archive_scrub, retention_job
from smarttext_pipelines.defs.budget_assets import openai_usage_reset_job
from smarttext_pipelines.defs.run_history import ASKED, delete_old_runs

STAGES = dg.AssetSelection.groups("facts", "stats") - dg.AssetSelection.assets("openai_budgets")

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
__all__ = ["ASKED", "STAGES", "UNFINISHED", "build_jobs", "dagster_history_job"]

DELIVER_JOB = "deliver_notifications_job"
PRIORITY_TAG = "dagster/priority"
KIND_TAG = "smarttext/kind"


@dg.job(
    description="Deletes old runs from Dagster's own storage; the last materialization of a partition stays.",
    tags={PRIORITY_TAG: "1", KIND_TAG: "history"},
)
def dagster_history_job() -> None:
    """Delete old runs."""
    delete_old_runs()


def build_jobs() -> list[Any]:
    """Return every job; scheduled runs have priority over backfills."""
    return [
        dg.define_asset_job(
            "rollup_job",
            STAGES | dg.AssetSelection.groups("anomalies"),
            description="Rolls up a range of days: facts, then stats, then anomalies, in one run.",
            tags={PRIORITY_TAG: "10", KIND_TAG: "rollup"},
        ),
        dg.define_asset_job(
            "intraday_rollup_job",
            STAGES,
            description="Refreshes today.",
            tags={PRIORITY_TAG: "5", KIND_TAG: "intraday"},
        ),
        dg.define_asset_job(
            "alert_report_job",
            dg.AssetSelection.assets("alert_incidents", "notifications"),
            description="Counts incidents and notifications of a day.",
            tags={PRIORITY_TAG: "1", KIND_TAG: "alert_report"},
        ),
        dg.define_asset_job(
            "pipeline_health_job",
            dg.AssetSelection.groups("health"),
            description="Writes down how a day of the pipeline went.",
            tags={PRIORITY_TAG: "1", KIND_TAG: "health"},
        ),
        dg.define_asset_job(
            "openai_budgets_job",
            dg.AssetSelection.assets("openai_budgets"),
            description="Reads today's OpenAI use against the limits and checks the counter.",
            tags={PRIORITY_TAG: "5", KIND_TAG: "budgets"},
        ),
        openai_usage_reset_job,
        dagster_history_job,
        retention_job,
        dg.define_asset_job(
            "archive_scrub_job",
            dg.AssetSelection.assets(archive_scrub),
            description="Checks every file of the archive.",
            tags={PRIORITY_TAG: "1", KIND_TAG: "retention"},
        ),
        dg.define_asset_job(
            "event_lake_job",
            dg.AssetSelection.assets("event_lake"),
            description="Writes a day into the lake, and days with late rows again.",
            tags={PRIORITY_TAG: "1", KIND_TAG: "lake"},
        ),
    ]
