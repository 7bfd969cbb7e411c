"""Alert rules: what a rule is, which metrics it can watch, and the judgement of one measured value. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.incidents.lifecycle import Finding, OnNoData, Policy, Severity, Verdict
from smarttext_pipelines.alerting.metrics import ALERT_METRICS
from smarttext_pipelines.alerting.metrics.alert_metric import (
    DAY,
    LONGEST_SHORT_WINDOW,
    SHORTEST_WINDOW,
    AlertMetric,
    ScopeKind,
)
from smarttext_pipelines.alerting.rules.span import LAST_TEXTS
from smarttext_pipelines.core.rates import WILSON_Z, wilson_lower_percent

WIDER_WINDOWS = (timedelta(days=1), timedelta(days=7))
"""Where a rate widens to while it has too few of what it counts; a rate of texts widens to the last texts."""

LAST_WINDOW = timedelta(minutes=LAST_TEXTS)
LAST_Z = 3.0
"""Each text makes a new set of last texts, so that they are judged hundreds of times a year, where a window of time is
judged once: 99.7 % in place of 95 % keeps false alarms below one in ten years."""

BURST = 5
"""Different numbers, texts to all of which failed since the last success, that fire at once."""

DAYTIME = range(7, 21)
"""Hours of the reporting zone in which rules with ``notify: daytime`` notify."""

NO_OUTCOME = "no outcome for 24 hours"
GOOD_AFTER = 5
"""Good outcomes after the last counted failure that say it is over."""

MAX_SHORT_WINDOWS = 3
CLEAR_SHARE = 0.8
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


LONGEST_DURATION = timedelta(days=366)
_MAX_DIGITS = 7


def parse_duration(value: object) -> object:
    """Return the timedelta of a text such as 30m, 6h or 7d; anything else is left to pydantic.

    Raises:
        ValueError: It is longer than a year.
    """
    found = re.fullmatch(r"0*([0-9]+)\s*([mhd])", value) if isinstance(value, str) else None
    if found is None:
        return value
    length = timedelta(**{_UNITS[found[2]]: int(found[1][:_MAX_DIGITS])})
    if len(found[1]) >= _MAX_DIGITS or length > LONGEST_DURATION:
        msg = f"it is longer than {LONGEST_DURATION.days}d, the longest duration"
        raise ValueError(msg)
    return length


def parse_severity(value: object) -> object:
    """Return the Severity of its name."""
    return Severity[value] if isinstance(value, str) and value in Severity.__members__ else value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
SeverityName = Annotated[Severity, BeforeValidator(parse_severity)]


def _known_channel(name: str) -> str:
    routed = [each.name for each in CHANNELS.values() if each.severities]
    if name not in routed:
        msg = f"there is no channel '{name}' for rules; there are {', '.join(routed)}"
        raise ValueError(msg)
    return name


ChannelName = Annotated[str, AfterValidator(_known_channel)]


def _default_window(metric: str) -> timedelta:
    signal = ALERT_METRICS.get(metric)
    return signal.default_window if signal else DAY


class Limits(BaseModel):
    """What can differ by plan and by business."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float | None = None
    critical_threshold: float | None = None
    clear_threshold: float | None = None
    min_count: int | None = Field(default=None, ge=0)

    @property
    def clear_below(self) -> float | None:
        """Value below which it is clear; None where nothing is said of that."""
        if self.clear_threshold is not None or self.threshold is None:
            return self.clear_threshold
        return self.threshold * CLEAR_SHARE


class Rule(BaseModel):
    """One rule; see docs/alerting.md for each key."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    metric: str
    scope: ScopeKind = "business"
    window: Duration = Field(default_factory=lambda values: _default_window(values.get("metric", "")))
    threshold: float = Field(ge=0)
    critical_threshold: float | None = None
    clear_threshold: float | None = None
    for_: int | None = Field(default=None, alias="for", ge=1, le=60)
    keep_firing_for: Duration = timedelta(minutes=3)
    min_count: int = Field(default_factory=lambda values: 0 if values.get("scope") == "pipeline" else 20, ge=0)
    severity: SeverityName = Severity.warning
    channels: tuple[ChannelName, ...] | None = None
    repeat_interval: Duration = timedelta(hours=4)
    on_no_data: OnNoData = "keep"
    notify: Literal["always", "daytime"] = "always"
    plans: Mapping[str, Limits] = Field(default_factory=dict)
    businesses: Mapping[UUID, Limits] = Field(default_factory=dict)
    runbook: str = ""

    @model_validator(mode="after")
    def _must_make_sense(self) -> "Rule":
        metric = ALERT_METRICS.get(self.metric)
        if metric is None:
            msg = f"there is no metric '{self.metric}'; there are {', '.join(ALERT_METRICS)}"
            raise ValueError(msg)
        if self.scope not in metric.scopes:
            msg = f"{self.metric} is measured for {', '.join(metric.scopes)}, not for {self.scope}"
            raise ValueError(msg)
        self._refuse_thresholds()
        if self.window < SHORTEST_WINDOW or (self.window > LONGEST_SHORT_WINDOW and self.window % DAY):
            msg = "a window is 5m to 6h, or whole days"
            raise ValueError(msg)
        if not metric.shortest <= self.window <= metric.longest:
            msg = f"{self.metric} is measured over {'one day' if metric.shortest == DAY else 'at most 6h'}"
            raise ValueError(msg)
        return self

    def _refuse_thresholds(self) -> None:
        clear, critical = self.clear_threshold, self.critical_threshold
        is_share = self.alert_metric.unit == "percent" and self.metric != "openai_budget"
        msg = ""
        if clear is not None and clear > self.threshold:
            msg = "clear_threshold is above threshold: it would be clear and in breach at once"
        elif critical is not None and critical < self.threshold:
            msg = "critical_threshold is below threshold"
        elif is_share and self.threshold > 100:
            msg = "a threshold in percent is at most 100"
        if msg:
            raise ValueError(msg)

    @property
    def alert_metric(self) -> AlertMetric:
        """What it watches."""
        return ALERT_METRICS[self.metric]

    @property
    def windows(self) -> tuple[timedelta, ...]:
        """Its windows, the first with enough messages counts."""
        if self.alert_metric.widens_by_events:
            return (self.window, LAST_WINDOW)
        wider = WIDER_WINDOWS if self.alert_metric.is_rate else ()
        return (self.window, *(w for w in wider if self.window < w <= self.alert_metric.longest))

    @property
    def policy(self) -> Policy:
        """What of it decides over an episode."""
        return Policy(self.for_ or self.alert_metric.for_, self.keep_firing_for, self.repeat_interval, self.on_no_data)

    @property
    def clear_below(self) -> float:
        """Value below which it is clear."""
        return self.threshold * CLEAR_SHARE if self.clear_threshold is None else self.clear_threshold

    @property
    def runbook_page(self) -> str:
        """Where it is said what to do."""
        return self.runbook or f"docs/runbooks/{self.name}.md"


@dataclass(frozen=True)
class Measured:
    """A value of a metric for one scope, with the limits that count there.

    Attributes:
        part: k of k of n.
        whole: n of k of n.
        value: In the unit of the metric.
        is_enough: Whether the whole reaches the least count of the rule.
        threshold: Above it is a breach.
        critical_threshold: Above it the breach is critical.
        clear_threshold: Below it is clear.
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
    threshold: float
    critical_threshold: float | None
    clear_threshold: float
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
    limits = [each.threshold for rule in rules for each in (*rule.plans.values(), *rule.businesses.values())]
    lowest = min([*(rule.threshold for rule in rules), *(limit for limit in limits if limit is not None)])
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
    if seen > measured.threshold or (not rule.alert_metric.is_rate and seen == measured.threshold):
        critical = measured.critical_threshold is not None and seen >= measured.critical_threshold
        return Verdict.breach, Severity.critical if critical else rule.severity
    return Verdict.ok if measured.value < measured.clear_threshold else Verdict.near, rule.severity


def _is_over(measured: Measured) -> str:
    """Return why last texts are no trouble any more, whatever their rate; empty where that cannot be said."""
    if not measured.is_last:
        return ""
    if measured.good_after >= GOOD_AFTER:
        return f"recovered: {measured.good_after} texts arrived since the last failure"
    return NO_OUTCOME if measured.is_stale else ""
