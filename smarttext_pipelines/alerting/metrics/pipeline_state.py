"""The pipeline about itself: what other parts reported, and notifications that were given up."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric, Reading

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule
    from smarttext_pipelines.alerting.rules.span import Span


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    windows = sorted({window // timedelta(minutes=1) for rule in rules for window in rule.windows})
    now.run("pipeline", {"now": now.at, "windows": windows})


_LOST = text(
    """
    SELECT n.finished_at AS at, n.incident_id AS incident, n.kind, n.recipient, n.attempts, n.note
    FROM monitoring.notifications AS n LEFT JOIN monitoring.incidents AS i ON i.id = n.incident_id
    WHERE n.status = 'dead' AND n.channel = :channel AND n.incident_id <> 0
        AND n.finished_at BETWEEN :start_at AND :end_at
        AND NOT EXISTS (SELECT FROM alert_rules AS r WHERE r.rule = i.rule AND r.signal = 'notifications_dead')
    ORDER BY n.finished_at, n.id
    """
)


def _labelled(reading: Reading) -> str:
    return f": {reading.label}" if reading.label else ""


def _failed(_: AlertMetric, reading: Reading) -> str:
    return f"failed{_labelled(reading)}" if reading.value else "well again"


def _finding(_: AlertMetric, reading: Reading) -> str:
    """Return what a check found, not what it requires."""
    return (reading.label or "failed") if reading.value else "well again"


def _given_up(metric: AlertMetric, reading: Reading) -> str:
    return f"{reading.part:.0f} {metric.counts} {metric.verb}{_labelled(reading)}"


def _not_evaluated(_: AlertMetric, reading: Reading) -> str:
    return f"{reading.part:.0f} rules cannot be evaluated{_labelled(reading)}" if reading.value else "evaluated again"


def _lost(now: "Now", _: AlertMetric, span: "Span") -> Sequence[dict[str, Any]]:
    values = {"channel": span.scope.name, "start_at": span.start_at, "end_at": span.end_at}
    return [dict(row) for row in now.connection.execute(_LOST, values).mappings()]


METRICS = (
    AlertMetric(
        "pipeline_failures",
        "count",
        ("pipeline",),
        "failures",
        _measure,
        "were reported",
        "open the run in the UI; the first error in its log says what is missing.",
        headline=_failed,
        absent_is_zero=True,
        is_state=True,
        for_=1,
    ),
    AlertMetric(
        "failed_checks",
        "count",
        ("pipeline",),
        "checks",
        _measure,
        "failed",
        "open the check in the UI; its metadata shows the rows.",
        headline=_finding,
        absent_is_zero=True,
        is_state=True,
        for_=1,
    ),
    AlertMetric(
        "notifications_dead",
        "count",
        ("pipeline",),
        "notifications",
        _measure,
        "were given up",
        "the last command below shows which; repair this channel, then send a test with "
        "`smarttext alerts test CHANNEL`.",
        rows=_lost,
        headline=_given_up,
        absent_is_zero=True,
        for_=1,
    ),
    AlertMetric(
        "rule_errors",
        "count",
        ("pipeline",),
        "rules",
        lambda _now, _rules: None,
        "cannot be evaluated",
        "run `smarttext doctor`; it names the table or column that is missing.",
        headline=_not_evaluated,
        absent_is_zero=True,
        is_state=True,
    ),
)
"""``rule_errors`` is added by the measurement itself, which sees what failed."""
