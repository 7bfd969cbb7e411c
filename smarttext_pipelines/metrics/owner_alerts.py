"""Fact ``owner_alert_delivery``: alerts to owners by day, business and type."""

from operator import itemgetter

import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import PIPELINE_ALERT_PREFIX, TEXT_LIMIT
from smarttext_pipelines.metrics.keyed import is_sid
from smarttext_pipelines.metrics.metric import Daily, Metric, Window
from smarttext_pipelines.metrics.windowed import Tables


def alerts(tables: Tables, window: Window) -> ir.Table:
    """Return the alerts to owners within the days, each with ``day`` and ``is_sent``."""
    t = tables["owner_alerts"]
    t = t.filter(
        window.between(t.created_at, window.start_at, window.end_at), ~t.alert_type.startswith(PIPELINE_ALERT_PREFIX)
    )
    return t.mutate(day=window.day(t.created_at), is_sent=t.delivered.fill_null(False) & is_sid(t.message_sid))


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact; an alert is sent when it was handed to Twilio under a real sid, and failed otherwise."""
    t = alerts(tables, window)
    return t.group_by("day", "business_id", alert_type=t.alert_type.left(TEXT_LIMIT)).agg(
        sent_count=t.count(where=t.is_sent), failed_count=t.count(where=~t.is_sent)
    )


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return the number of alerts of each day."""
    found = alerts(tables, window)
    return found.group_by("day").agg(alerts=found.count())


DAILY: Daily = {"owner_alerts_sent": itemgetter("sent_count"), "owner_alerts_failed": itemgetter("failed_count")}

METRIC = Metric(
    name="owner_alert_delivery",
    inputs=("owner_alerts",),
    source="owner_alerts",
    reads_neighbours=False,
    dimensions=("day", "business_id", "alert_type"),
    rows=rows,
    totals={"alerts": ("sent_count", "failed_count")},
    source_totals=source_totals,
    daily=DAILY,
)
