"""The judgement of one measured value: the only place where values are compared with thresholds. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from smarttext_pipelines.alerting.incidents.lifecycle import Finding, Severity, Verdict
from smarttext_pipelines.alerting.metrics.alert_metric import NO_OUTCOME, AlertMetric
from smarttext_pipelines.alerting.rules.rule import Rule, Thresholds
from smarttext_pipelines.core.rates import WILSON_Z, wilson_lower_percent

LAST_Z = 3.0
"""Each text makes a new set of last texts, so that they are judged hundreds of times a year, where a window of time is
judged once: 99.7 % in place of 95 % keeps false alarms below one in ten years."""

BURST = 5
"""Different numbers, texts to all of which failed since the last success, that fire at once."""

GOOD_AFTER = 5
"""Good outcomes after the last counted failure that say it is over."""


@dataclass(frozen=True)
class Measured:
    """A value of a metric for one scope, with the limits that count there.

    Attributes:
        part: k of k of n.
        whole: n of k of n.
        value: In the unit of the metric.
        is_enough: Whether the whole reaches the least count of the rule.
        thresholds: What it is compared with.
        first_at: When the first of what was counted began; None where that is not known.
        last_at: When the last of it began.
        is_last: Whether it is of the last texts instead of a window of time.
        is_burst: Whether texts to several numbers all failed since the last success.
        good_after: Good outcomes after the last of what was counted, among the last texts.
        is_stale: Whether no outcome of the last texts is of the last 24 hours.
    """

    part: float
    whole: float
    value: float
    is_enough: bool
    thresholds: Thresholds
    first_at: datetime | None = None
    last_at: datetime | None = None
    is_last: bool = False
    is_burst: bool = False
    good_after: int = 0
    is_stale: bool = False


def evidence(metric: AlertMetric, measured: Measured) -> float:
    """Return what is compared with the threshold: for a rate its lower bound, else the value."""
    if not metric.is_rate:
        return measured.value
    return lower_bound(int(measured.part), int(measured.whole), is_last=measured.is_last)


def lower_bound(part: int, whole: int, *, is_last: bool) -> float:
    """Return the lower bound of a rate in percent, with 95 % confidence; of last texts with 99.7 %."""
    return float(wilson_lower_percent(part, whole - part, LAST_Z if is_last else WILSON_Z) or 0)


def least_failures(rules: Iterable[Rule], texts: int) -> int:
    """Return how many of the last texts must have failed, at least, for any of the rules to be in breach."""
    lowest = min(rule.lowest_threshold for rule in rules)
    fitting = (k for k in range(1, texts + 1) if lower_bound(k, texts, is_last=True) > lowest)
    return min(next(fitting, texts), BURST)


def judge(rule: Rule, measured: Measured) -> Finding:
    """Return the finding for a value; too few messages are no traffic."""
    severity = rule.severity
    if over := _is_over(measured):
        verdict = Verdict.ok
    elif not measured.is_enough and not measured.is_burst:
        verdict = Verdict.no_traffic
    else:
        verdict, severity = _compared(rule, measured)
    return Finding(
        verdict,
        severity,
        measured.value,
        since=measured.first_at,
        counted_at=measured.last_at,
        at_once=measured.is_burst,
        reason=over,
    )


def _compared(rule: Rule, measured: Measured) -> tuple[Verdict, Severity]:
    """Compare the evidence with the thresholds: a rate must exceed its own, a count or share of a budget reach it."""
    seen = evidence(rule.alert_metric, measured)
    breach, critical, clear = measured.thresholds
    if seen > breach or (not rule.alert_metric.is_rate and seen == breach):
        is_critical = critical is not None and seen >= critical
        return Verdict.breach, Severity.critical if is_critical else rule.severity
    return Verdict.ok if measured.value < clear else Verdict.near, rule.severity


def _is_over(measured: Measured) -> str:
    """Return why last texts are no trouble any more, whatever their rate; empty where that cannot be said."""
    if not measured.is_last:
        return ""
    if measured.good_after >= GOOD_AFTER:
        return f"recovered: {measured.good_after} texts arrived since the last failure"
    return NO_OUTCOME[1] if measured.is_stale else ""
