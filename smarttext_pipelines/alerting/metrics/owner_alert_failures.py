"""Alerts that owners did not get."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    import ibis

    from smarttext_pipelines.metrics import owner_alerts

    short, long = now.windows(rules)
    parts = []
    for minutes in short or [5]:
        rows = owner_alerts.rows(now.engine.tables, now.window(timedelta(minutes=minutes)))
        parts.append(rows.mutate(minutes=ibis.literal(minutes, type="int32")))
    now.stage(parts, "alert_owner_alerts")
    now.run("owner_alerts", {"today": now.today, "long": long})


METRICS = (
    AlertMetric(
        "owner_alerts_failed_rate",
        "percent",
        ("platform", "business"),
        "owner alerts failed",
        _measure,
        "(you): check the owner's number, and call the owner if it is urgent.",
        is_rate=True,
        family="owner",
    ),
)
