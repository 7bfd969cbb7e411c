"""The pipeline about itself: what other parts reported, and notifications that were given up."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric, Reading

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    windows = sorted({window // timedelta(minutes=1) for rule in rules for window in rule.windows})
    own = [rule.name for rule in rules if rule.metric == "notifications_dead"]
    now.run("pipeline", {"now": now.at, "windows": windows, "own_rules": own})


def _labelled(reading: Reading) -> str:
    return f": {reading.label}" if reading.label else ""


def _failed(_: AlertMetric, reading: Reading) -> str:
    return f"failed{_labelled(reading)}" if reading.value else "well again"


def _given_up(metric: AlertMetric, reading: Reading) -> str:
    return f"{reading.part:.0f} {metric.counts}{_labelled(reading)}"


METRICS = (
    AlertMetric(
        "pipeline_failures",
        "count",
        ("pipeline",),
        "failures",
        _measure,
        "(you): open the run in the UI; the first error in its log says what is missing.",
        headline=_failed,
        absent_is_zero=True,
        is_state=True,
        for_=1,
    ),
    AlertMetric(
        "failed_checks",
        "count",
        ("pipeline",),
        "checks failed",
        _measure,
        "(you): open the check in the UI; its metadata names the days.",
        headline=_failed,
        absent_is_zero=True,
        is_state=True,
        for_=1,
    ),
    AlertMetric(
        "notifications_dead",
        "count",
        ("pipeline",),
        "notifications given up",
        _measure,
        "(you): repair this channel, then send a test with `smarttext alerts test`.",
        headline=_given_up,
        absent_is_zero=True,
        for_=1,
    ),
)
