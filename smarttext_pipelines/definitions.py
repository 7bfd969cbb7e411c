"""Table of contents of the graph: everything that Dagster knows is listed here."""

import warnings
from collections.abc import Mapping
from functools import cache

import dagster as dg

from smarttext_pipelines.defs.alert_assets import build_alert_assets
from smarttext_pipelines.defs.alert_sensors import build_alert_sensors, deliver_notifications_job
from smarttext_pipelines.defs.anomaly_assets import build_anomalies
from smarttext_pipelines.defs.archive_assets import archive_scrub, build_archived_events
from smarttext_pipelines.defs.assets import build_assets, facts_of_a_run
from smarttext_pipelines.defs.budget_assets import openai_budgets
from smarttext_pipelines.defs.delivery_assets import delivery_report_job, sms_delivery_reports
from smarttext_pipelines.defs.digest_assets import daily_digest, daily_digest_job
from smarttext_pipelines.defs.economics_assets import build_unit_economics, unit_economics_job
from smarttext_pipelines.defs.health_assets import build_pipeline_health
from smarttext_pipelines.defs.health_sensor import build_heartbeat_sensor
from smarttext_pipelines.defs.jobs import build_jobs
from smarttext_pipelines.defs.lake_assets import build_event_lake
from smarttext_pipelines.defs.openai_costs import openai_costs, openai_costs_job
from smarttext_pipelines.defs.partitions import build_daily_partitions
from smarttext_pipelines.defs.report_assets import build_monthly_reports, monthly_reports_job
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.defs.schedules import build_schedules
from smarttext_pipelines.defs.sensors import build_sensors
from smarttext_pipelines.defs.source_assets import SOURCE_ASSETS
from smarttext_pipelines.defs.twilio_usage import twilio_usage, twilio_usage_job
from smarttext_pipelines.defs.weekly_test_job import weekly_test_job
from smarttext_pipelines.settings import Settings, load_settings


def build_definitions(
    settings: Settings | None = None, resource_overrides: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Assemble the graph.

    Args:
        settings: Default is what the environment says now.
        resource_overrides: Resources to use instead of the real ones.
    """
    settings = settings or load_settings()
    partitions = build_daily_partitions(settings)
    with warnings.catch_warnings():
        # Backfill policies are marked as beta; nobody who runs this can act on that.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [
            *build_assets(partitions),
            build_anomalies(partitions),
            *build_alert_assets(partitions),
            build_pipeline_health(partitions),
            build_unit_economics(settings),
            build_event_lake(partitions),
        ]
    jobs = [
        *build_jobs(),
        deliver_notifications_job,
        delivery_report_job,
        twilio_usage_job,
        openai_costs_job,
        unit_economics_job,
        daily_digest_job,
        weekly_test_job,
        monthly_reports_job,
    ]
    schedules, sensors = build_schedules(settings), [*build_sensors(settings), *build_alert_sensors()]
    return dg.Definitions(
        assets=[
            *SOURCE_ASSETS,
            sms_delivery_reports,
            twilio_usage,
            openai_costs,
            daily_digest,
            build_monthly_reports(settings),
            *assets,
            openai_budgets,
            build_archived_events(partitions),
            archive_scrub,
        ],
        jobs=jobs,
        schedules=schedules,
        sensors=[*sensors, build_heartbeat_sensor(schedules, sensors, [job.name for job in jobs])],
        resources={"warehouse": Warehouse(settings), "facts_of_a_run": facts_of_a_run, **(resource_overrides or {})},
        # Statements run in the database; a process per asset would cost more than they do.
        executor=dg.in_process_executor,
    )


@dg.definitions
@cache
def defs() -> dg.Definitions:
    """Return the graph of this process; called, twice, when Dagster loads it, not when this module is imported."""
    return build_definitions()
