"""What each number is, once, as Ibis expressions over unbound tables and a window of days; nothing runs here."""

from smarttext_pipelines.metrics import (
    call_volume,
    customer_days,
    daily_stats,
    failure_rates,
    owner_alerts,
    replies,
    sms_outcomes,
    spend,
)
from smarttext_pipelines.metrics.metric import Metric, Window

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        sms_outcomes.METRIC,
        spend.METRIC,
        call_volume.METRIC,
        replies.METRIC,
        owner_alerts.METRIC,
        customer_days.METRIC,
        failure_rates.METRIC,
        daily_stats.METRIC,
    )
}
"""Every metric by the name of its asset and table, in the order in which they can be computed."""

__all__ = ["METRICS", "Metric", "Window"]
