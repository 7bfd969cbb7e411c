"""Assets of alerting: what happened on a day. Evaluation and delivery write the tables; these count them."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import day_end, day_of, day_start
from smarttext_pipelines.defs.metadata import column_schema, table_metadata
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.tables.lookup import table_named

GROUP = "alerts"
DEPS: dict[str, tuple[str, ...]] = {
    "incidents": (
        "sms_outcomes",
        "sms_failure_rates",
        "spend",
        "owner_alert_delivery",
        "customer_days",
        "sms_events",
        "call_events",
    ),
    "notifications": ("alert_incidents",),
}
"""Tables and what their rows follow from."""

NAMES = {"incidents": "alert_incidents", "notifications": "notifications"}

_WRITTEN = {
    "incidents": "Written by alert_evaluation_sensor, which shows here what is open; a run counts the day. "
    "`smarttext alerts show 7` tells all of INC-7.",
    "notifications": "Written by alert_evaluation_sensor and deliveries; a run counts the day.",
}
_OPEN = text(
    """
    SELECT 'INC-' || i.id AS incident, i.severity,
           i.rule || CASE WHEN i.whole > 1 THEN ', ' || trim_scale(i.part) || ' of ' || trim_scale(i.whole) ELSE '' END
               || ', ' || coalesce(b.name, translate(replace(i.scope, ':', ': '), '.', ' ')) AS what,
           to_char(i.since AT TIME ZONE 'UTC', 'MM-DD HH24:MI') AS "since (UTC)", i.acknowledged_by AS acknowledged
    FROM monitoring.incidents AS i LEFT JOIN public.businesses AS b ON b.id = i.business_id
    WHERE i.state IN ('firing', 'recovering')
    ORDER BY array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.fired_at LIMIT 50
    """
)
_COUNTS = {
    "incidents": text(
        """
        SELECT count(*) FILTER (WHERE fired_at >= :start) AS fired,
               count(*) FILTER (WHERE resolved_at >= :start AND resolved_at < :end) AS resolved,
               count(*) FILTER (WHERE fired_at >= :start AND severity = 'critical') AS critical,
               count(*) FILTER (WHERE fired_at >= :start AND told IS NULL) AS untold,
               count(*) FILTER (WHERE resolved_at IS NULL) AS open_at_the_end,
               coalesce(extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY resolved_at - fired_at)
                   FILTER (WHERE fired_at >= :start)) / 60, 0)::float AS median_minutes_to_resolve
        FROM monitoring.incidents WHERE fired_at < :end AND (resolved_at IS NULL OR resolved_at >= :start)
        """
    ),
    "notifications": text(
        """
        SELECT count(*) AS enqueued, count(*) FILTER (WHERE status = 'sent') AS sent,
               count(*) FILTER (WHERE status = 'dead') AS dead,
               count(*) FILTER (WHERE status = 'suppressed') AS suppressed,
               count(*) FILTER (WHERE status IN ('pending', 'sending', 'unknown')) AS waiting,
               count(*) FILTER (WHERE attempts > 1) AS sent_with_retries,
               coalesce(extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY finished_at - created_at)
                   FILTER (WHERE status = 'sent')), 0)::float AS median_seconds_to_notify,
               coalesce(extract(epoch FROM max(finished_at - created_at) FILTER (WHERE status = 'sent')), 0)::float
                   AS longest_seconds_to_notify
        FROM monitoring.notifications WHERE created_at >= :start AND created_at < :end
        """
    ),
}


@dataclass(frozen=True)
class OpenIncidents:
    """What is open now, as the page of ``alert_incidents`` shows it, and a mark that changes with it."""

    event: dg.AssetMaterialization
    mark: str


def open_incidents(connection: Connection, now: datetime, zone: ZoneInfo) -> OpenIncidents:
    """Read the open incidents, the most severe and oldest first."""
    rows = [dict(row) for row in connection.execute(_OPEN).mappings()]
    metadata: dict[str, Any] = {
        "open": len(rows),
        "open_incidents": table_metadata(rows),
        "read_at": dg.MetadataValue.timestamp(now),
    }
    today = day_of(now, zone).isoformat()
    # The counts move with every evaluation: they are renewed each hour, or with the incidents themselves.
    parts = [[row[name] for name in ("incident", "severity", "acknowledged")] for row in rows]
    mark = f"{today} {now:%H} {parts}" if rows else today
    return OpenIncidents(
        dg.AssetMaterialization(NAMES["incidents"], partition=today, metadata=metadata),
        hashlib.sha256(mark.encode()).hexdigest()[:16],
    )


def build_alert_assets(partitions: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return both assets."""
    return [_build(table, deps, partitions) for table, deps in DEPS.items()]


def _build(name: str, deps: tuple[str, ...], partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    table = table_named(name)

    @dg.asset(
        name=NAMES[name],
        deps=deps,
        group_name=GROUP,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=f"{table.comment} {_WRITTEN[name]}",
        kinds={"postgres"},
        owners=["team:data"],
        metadata={
            # Every alert links to the incidents: thirty columns would push what is open off the screen.
            **({} if name == "incidents" else {"dagster/column_schema": column_schema(table)}),
            "dagster/table_name": f"{table.schema}.{table.name}",
        },
    )
    def asset(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[None]:
        zone = warehouse.settings.zone
        with warehouse.transaction() as connection:
            for key in context.partition_keys:
                day = date.fromisoformat(key)
                bounds = {"start": day_start(day, zone), "end": day_end(day, zone)}
                counts: dict[str, Any] = dict(connection.execute(_COUNTS[name], bounds).mappings().one())
                context.add_asset_metadata(counts, partition_key=key)
        return dg.MaterializeResult()

    return asset
