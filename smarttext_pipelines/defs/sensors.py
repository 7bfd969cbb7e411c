"""Sensors: one finds days whose events changed and requests them; the other serves the requests."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from smarttext_pipelines.core.days import DayRange, contiguous, day_of
from smarttext_pipelines.database.rolled_up_days import pending_requests, request_rollups
from smarttext_pipelines.defs.budget_assets import openai_reaper_sensor
from smarttext_pipelines.defs.jobs import ASKED, UNFINISHED
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import Settings

DRIFT_DAYS = 35
_RUNNING = dg.DefaultSensorStatus.RUNNING


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return every sensor."""

    @dg.sensor(
        job_name="rollup_job",
        minimum_interval_seconds=60,
        default_status=_RUNNING,
        description="Rolls up the days in monitoring.rollup_requests; a request stays until its day was rolled up.",
    )
    def rollup_request_sensor(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        if context.instance.get_runs_count(dg.RunsFilter(tags=ASKED, statuses=UNFINISHED)):
            return dg.SkipReason("what was asked for before is not finished")
        with warehouse.transaction() as connection:
            pending = pending_requests(connection)
        now = datetime.now(UTC)
        last = day_of(now, settings.zone)
        servable = [day for day in pending if settings.start_date <= day <= last]
        if not servable:
            return dg.SkipReason(f"nothing is asked for between {settings.start_date} and {last}")
        # A run key starts at most one run, even if that fails; the hour in it asks again.
        return [
            dg.RunRequest(
                run_key=f"{days.first}:{days.last}:{max(pending[day] for day in days)}:{now:%Y%m%d%H}",
                tags={**range_tags(days), **ASKED},
            )
            for days in contiguous(servable)
        ]

    @dg.sensor(
        minimum_interval_seconds=3600,
        default_status=_RUNNING,
        description="Compares the rows of the last 35 days with what was rolled up and asks for the days that changed.",
    )
    def rollup_drift_sensor(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.SkipReason:
        yesterday = day_of(datetime.now(UTC), settings.zone) - timedelta(days=1)
        first = max(settings.start_date, yesterday - timedelta(days=DRIFT_DAYS - 1))
        if first > yesterday:
            return dg.SkipReason("the first partition is not over")
        reasons: dict[date, str] = {}
        for changed in warehouse.changed_days(DayRange(first, yesterday)):
            # A new row can move or complete a message of the days around it.
            for day in DayRange(changed.day, changed.day).widen(settings.settle_days):
                if first <= day <= yesterday:
                    reasons.setdefault(day, f"{changed.day}: {changed}")
        with warehouse.transaction() as connection:
            request_rollups(connection, reasons)
        days = ", ".join(map(str, sorted(reasons)))
        return dg.SkipReason(f"asked for {days}" if days else "no day has rows that were not read")

    return [rollup_request_sensor, rollup_drift_sensor, openai_reaper_sensor]
