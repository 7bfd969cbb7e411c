"""``unit_economics``: what each business costs and pays, by month; with it the rate of callers who write back."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
from sqlalchemy import text

from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.jobs import KIND_TAG, PRIORITY_TAG
from smarttext_pipelines.defs.metadata import column_schema, table_metadata
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.economics.lost import WEEKS
from smarttext_pipelines.economics.plans import load_plans
from smarttext_pipelines.economics.unit_economics import month_days, write_economics
from smarttext_pipelines.economics.write_backs import count_write_backs
from smarttext_pipelines.schema.tables.economics_tables import unit_economics as table
from smarttext_pipelines.settings import Settings

NAME, GROUP, ECONOMICS_JOB = "unit_economics", "economics", "unit_economics_job"
_SHOWN = 20
_PRICED_DAYS = 5
"""Prices of texts come up to four days late, so a month is written again until then."""
_WRITTEN = text(
    """
    SELECT coalesce(b.name, '(no business)') AS business, u.plan, u.plan_usd, u.known_cost_usd, u.cost_usd,
           u.margin_usd, u.usd_per_missed_call, u.complete
    FROM monitoring.unit_economics AS u LEFT JOIN monitoring.business_names AS b ON b.id = u.business_id
    WHERE u.month = :month ORDER BY u.margin_at_most_usd NULLS LAST, u.known_cost_usd DESC, business
    """
)


def build_unit_economics(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset, of one partition per month."""
    partitions = dg.MonthlyPartitionsDefinition(
        start_date=settings.start_date.replace(day=1).isoformat(), timezone=settings.reporting_timezone, end_offset=1
    )

    @dg.asset(
        name=NAME,
        deps=["daily_stats", "spend", "sms_outcomes", "businesses", "call_events", "sms_events"],
        group_name=GROUP,
        partitions_def=partitions,
        description=table.comment,
        kinds={"postgres"},
        owners=["team:data"],
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": f"{table.schema}.{table.name}",
        },
    )
    def unit_economics(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult[None]:
        month, zone, now = date.fromisoformat(context.partition_key), warehouse.settings.zone, datetime.now(UTC)
        days = month_days(month)
        learnt = DayRange(days.first - timedelta(days=7 * WEEKS), min(days.last, day_of(now, zone)))
        try:
            with warehouse.transaction() as connection:
                count_write_backs(connection, learnt, zone, now)
                plans = load_plans(warehouse.settings.plans)
                write_economics(connection, month, plans, zone=zone, now=now)
                rows = [dict(row) for row in connection.execute(_WRITTEN, {"month": month}).mappings()]
        except SmartTextError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        return dg.MaterializeResult(metadata=_metadata(rows))

    return unit_economics


def _metadata(rows: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [
        {
            "business": shown_name(row["business"]),
            "plan": row["plan"],
            "price": row["plan_usd"],
            "recorded cost": row["known_cost_usd"],
            "margin": "unknown" if row["margin_usd"] is None else row["margin_usd"],
            "per missed call": row["usd_per_missed_call"],
        }
        for row in rows[:_SHOWN]
    ]
    return {
        "businesses": table_metadata(shown),
        "recorded_cost_usd": float(sum(row["known_cost_usd"] for row in rows)),
        "margin_below_zero": sum(1 for row in rows if row["margin_usd"] is not None and row["margin_usd"] < 0),
        "complete": all(row["complete"] for row in rows),
        "dagster/partition_row_count": len(rows),
    }


unit_economics_job = dg.define_asset_job(
    ECONOMICS_JOB,
    dg.AssetSelection.assets(NAME),
    description="Writes what each business costs and pays in a month.",
    tags={PRIORITY_TAG: "1", KIND_TAG: "economics"},
)


def build_economics_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule: the month of yesterday, and while its prices come in the month before."""

    @dg.schedule(
        job_name=ECONOMICS_JOB,
        cron_schedule="45 4 * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Writes what each business costs and pays.",
    )
    def unit_economics_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        yesterday = day_of(context.scheduled_execution_time, settings.zone) - timedelta(days=1)
        if yesterday < settings.start_date:
            return dg.SkipReason("the first partition is not over")
        late = timedelta(days=max(_PRICED_DAYS, settings.settle_days + 1))
        earlier = max(yesterday - late, settings.start_date)
        months = sorted({earlier.replace(day=1), yesterday.replace(day=1)})
        return [dg.RunRequest(partition_key=month.isoformat()) for month in months]

    return unit_economics_schedule
