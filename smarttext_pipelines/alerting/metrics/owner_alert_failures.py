"""Alerts that owners did not get."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smarttext_pipelines.alerting.metrics.alert_metric import DAY, AlertMetric

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule
    from smarttext_pipelines.alerting.rules.span import Span
    from smarttext_pipelines.metrics.metric import RecentWindow
    from smarttext_pipelines.metrics.windowed import Tables


def _counted(tables: "Tables", window: "RecentWindow") -> "ir.Table":
    from smarttext_pipelines.metrics import owner_alerts

    alerts = owner_alerts.alerts(tables, window)
    return alerts.group_by("business_id").agg(
        failed=alerts.count(where=~alerts.is_sent),
        alerts=alerts.count(),
        first_at=alerts.created_at.min(where=~alerts.is_sent),
        last_at=alerts.created_at.max(where=~alerts.is_sent),
    )


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    short, long = now.windows(rules)
    now.stage_each(_counted, short or [5], "alert_owner_alerts")
    now.run("owner_alerts", {"today": now.today, "long": long})


def _rows(now: "Now", _: AlertMetric, span: "Span") -> Sequence[dict[str, Any]]:
    from smarttext_pipelines.core.phones import mask_phone
    from smarttext_pipelines.metrics import owner_alerts

    alerts = owner_alerts.alerts(now.engine.tables, now.window(span.end_at - span.start_at))
    wanted = alerts.filter(~alerts.is_sent)
    wanted = wanted.filter(wanted.business_id == span.business_id) if span.business_id else wanted
    return [
        {
            "at": row["created_at"],
            "alert": row["alert_type"],
            "owner": mask_phone(row["owner_phone"]),
            "message": row["message_sid"] or "(no sid)",
            "state": "not handed to Twilio",
        }
        for row in now.engine.fetch(wanted.order_by("created_at", "id"))
    ]


METRICS = (
    AlertMetric(
        "owner_alerts_failed_rate",
        "percent",
        ("platform", "business"),
        "owner alerts",
        _measure,
        "failed",
        "check the owner's number, and call the owner if it is urgent.",
        rows=_rows,
        events="owner_alerts",
        is_rate=True,
        family="owner",
        quiet=(DAY, "too few owner alerts for 24 hours"),
    ),
)
