"""Alert rules: what a rule is, which metrics it can watch, and the judgement of one measured value. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.incidents.lifecycle import Finding, OnNoData, Policy, Severity, Verdict
from smarttext_pipelines.core.rates import wilson_lower_percent

ScopeKind = Literal["platform", "sender", "business", "pipeline"]

LONGEST_SHORT_WINDOW = timedelta(hours=6)
"""Up to here windows are computed from events; longer ones are whole days of the daily facts."""

WIDER_WINDOWS = (timedelta(days=1), timedelta(days=7))
"""Where a rate widens to while it has too few messages."""

MOST_SHORT_WINDOWS = 3
CLEAR_SHARE = 0.8
_SHORTEST_WINDOW = timedelta(minutes=5)
_DAY = timedelta(days=1)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Signal:
    """A metric that rules can watch.

    Attributes:
        name: What rules call it.
        unit: Unit of its value and thresholds: percent, count, or a factor.
        scopes: Scopes it is measured for.
        counts: What k of n are, for messages: such as ``texts failed``.
        is_rate: Whether the lower bound of k of n is compared, and the window widens.
        family: Incidents of one family inhibit each other, the wider scope the narrower one.
        needs_outcomes: Whether it means nothing without delivery reports.
        absent_is_zero: Whether having no row means zero, not that nothing is known.
        breaks_twilio: Whether a breach says that Twilio itself cannot be used.
        for_: Evaluations in breach until it fires, where a rule does not say.
        shortest: Shortest window it is measured over.
        longest: Longest one; 6 h where the daily facts cannot answer.
    """

    name: str
    unit: Literal["percent", "count", "factor"]
    scopes: tuple[ScopeKind, ...]
    counts: str
    is_rate: bool = False
    family: str = ""
    needs_outcomes: bool = False
    absent_is_zero: bool = False
    breaks_twilio: bool = False
    for_: int = 2
    shortest: timedelta = _SHORTEST_WINDOW
    longest: timedelta = timedelta.max

    @property
    def default_window(self) -> timedelta:
        """Window of a rule that names none."""
        return max(timedelta(hours=1), self.shortest)


_MESSAGES: tuple[ScopeKind, ...] = ("platform", "sender", "business")
_EVENTS = LONGEST_SHORT_WINDOW
_TODAY: Any = {"shortest": _DAY, "longest": _DAY}
SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        Signal("sms_failure_rate", "percent", _MESSAGES, "texts failed", True, "sms", needs_outcomes=True),
        Signal("sms_filtered_rate", "percent", _MESSAGES, "texts filtered", True, "sms", needs_outcomes=True),
        Signal("registration_errors", "count", _MESSAGES, "texts refused: sender not registered", family="sms", for_=1),
        Signal(
            "account_errors", "count", _MESSAGES, "texts refused: account", family="sms", for_=1, breaks_twilio=True
        ),
        Signal("unmapped_errors", "count", ("platform",), "texts failed with a code never seen before", for_=1),
        Signal(
            "sms_in_flight_share",
            "percent",
            _MESSAGES,
            "texts in flight too long",
            True,
            "reports",
            True,
            for_=1,
            longest=_EVENTS,
        ),
        Signal("unattributed_share", "percent", ("platform",), "texts belong to no business", True),
        Signal("openai_budget", "percent", ("business",), "of the budget", absent_is_zero=True, for_=1, **_TODAY),
        Signal("openai_spend", "factor", ("business", "platform"), "USD today", **_TODAY),
        Signal("unpriced_share", "percent", ("platform",), "requests without a price", True, **_TODAY),
        Signal("owner_alerts_failed_rate", "percent", ("platform", "business"), "owner alerts failed", True, "owner"),
        Signal("missed_calls_unanswered", "count", ("business",), "missed calls got no text", absent_is_zero=True),
        Signal("event_silence", "percent", ("platform", "business"), "events", family="silence", longest=_EVENTS),
        Signal("pipeline_failures", "count", ("pipeline",), "failures", absent_is_zero=True, for_=1),
        Signal("failed_checks", "count", ("pipeline",), "checks failed", absent_is_zero=True, for_=1),
        Signal("notifications_dead", "count", ("pipeline",), "notifications given up", absent_is_zero=True, for_=1),
    )
}
"""Every metric by its name."""


LONGEST_DURATION = timedelta(days=366)
_MOST_DIGITS = 7


def parse_duration(value: object) -> object:
    """Return the timedelta of a text such as 30m, 6h or 7d; anything else is left to pydantic.

    Raises:
        ValueError: It is longer than a year.
    """
    found = re.fullmatch(r"0*([0-9]+)\s*([mhd])", value) if isinstance(value, str) else None
    if found is None:
        return value
    length = timedelta(**{_UNITS[found[2]]: int(found[1][:_MOST_DIGITS])})
    if len(found[1]) >= _MOST_DIGITS or length > LONGEST_DURATION:
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
    signal = SIGNALS.get(metric)
    return signal.default_window if signal else _DAY


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
    min_count: int = Field(default=20, ge=0)
    severity: SeverityName = Severity.warning
    channels: tuple[ChannelName, ...] | None = None
    repeat_interval: Duration = timedelta(hours=4)
    on_no_data: OnNoData = "keep"
    plans: Mapping[str, Limits] = Field(default_factory=dict)
    businesses: Mapping[UUID, Limits] = Field(default_factory=dict)
    runbook: str = ""

    @model_validator(mode="after")
    def _must_make_sense(self) -> "Rule":
        signal = SIGNALS.get(self.metric)
        if signal is None:
            msg = f"there is no metric '{self.metric}'; there are {', '.join(SIGNALS)}"
            raise ValueError(msg)
        if self.scope not in signal.scopes:
            msg = f"{self.metric} is measured for {', '.join(signal.scopes)}, not for {self.scope}"
            raise ValueError(msg)
        if self.clear_threshold is not None and self.clear_threshold > self.threshold:
            msg = "clear_threshold is above threshold: it would be clear and in breach at once"
            raise ValueError(msg)
        if self.critical_threshold is not None and self.critical_threshold < self.threshold:
            msg = "critical_threshold is below threshold"
            raise ValueError(msg)
        if self.window < _SHORTEST_WINDOW or (self.window > LONGEST_SHORT_WINDOW and self.window % _DAY):
            msg = "a window is 5m to 6h, or whole days"
            raise ValueError(msg)
        if not signal.shortest <= self.window <= signal.longest:
            msg = f"{self.metric} is measured over {'one day' if signal.shortest == _DAY else 'at most 6h'}"
            raise ValueError(msg)
        if self.signal.unit == "percent" and self.metric != "openai_budget" and self.threshold > 100:
            msg = "a threshold in percent is at most 100"
            raise ValueError(msg)
        return self

    @property
    def signal(self) -> Signal:
        """What it watches."""
        return SIGNALS[self.metric]

    @property
    def windows(self) -> tuple[timedelta, ...]:
        """Its windows, the first with enough messages counts."""
        wider = WIDER_WINDOWS if self.signal.is_rate else ()
        return (self.window, *(w for w in wider if self.window < w <= self.signal.longest))

    @property
    def policy(self) -> Policy:
        """What of it decides over an episode."""
        return Policy(self.for_ or self.signal.for_, self.keep_firing_for, self.repeat_interval, self.on_no_data)

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
    """

    part: float
    whole: float
    value: float
    is_enough: bool
    threshold: float
    critical_threshold: float | None
    clear_threshold: float


def evidence(signal: Signal, measured: Measured) -> float:
    """Return what is compared with the threshold: for a rate the 95 % lower bound, else the value."""
    if not signal.is_rate:
        return measured.value
    failed = int(measured.part)
    return float(wilson_lower_percent(failed, int(measured.whole) - failed) or 0)


def judge(rule: Rule, measured: Measured) -> Finding:
    """Return the finding for a value; too few messages are no traffic."""
    if not measured.is_enough:
        return Finding(Verdict.no_traffic, rule.severity, measured.value)
    seen = evidence(rule.signal, measured)
    # A rate must exceed its threshold; a count or a share of a budget must reach it.
    if seen > measured.threshold or (not rule.signal.is_rate and seen == measured.threshold):
        critical = measured.critical_threshold is not None and seen >= measured.critical_threshold
        return Finding(Verdict.breach, Severity.critical if critical else rule.severity, measured.value)
    verdict = Verdict.ok if measured.value < measured.clear_threshold else Verdict.near
    return Finding(verdict, rule.severity, measured.value)
