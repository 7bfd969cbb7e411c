"""Alert rules: what a rule is, which metrics it can watch, and which thresholds count for whom. Pure."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.incidents.lifecycle import OnNoData, Policy, Severity
from smarttext_pipelines.alerting.metrics import ALERT_METRICS
from smarttext_pipelines.alerting.metrics.alert_metric import (
    DAY,
    LONGEST_SHORT_WINDOW,
    SHORTEST_WINDOW,
    AlertMetric,
    ScopeKind,
)
from smarttext_pipelines.alerting.rules.span import LAST_TEXTS

WIDER_WINDOWS = (timedelta(days=1), timedelta(days=7))
"""Where a rate widens to while it has too few of what it counts; a rate of texts widens to the last texts."""

LAST_WINDOW = timedelta(minutes=LAST_TEXTS)
DAYTIME = range(7, 21)
"""Hours of the reporting zone in which rules with ``notify: daytime`` notify."""

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


def _default_min_count(values: Mapping[str, object]) -> int:
    metric = ALERT_METRICS.get(str(values.get("metric")))
    return 0 if values.get("scope") == "pipeline" or metric is None else metric.min_count


class Thresholds(NamedTuple):
    """What a value is compared with, in the unit of its metric.

    Attributes:
        breach: Above it is a breach.
        critical: Above it the breach is critical; None where none is.
        clear: Below it is clear.
    """

    breach: float
    critical: float | None
    clear: float


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
    min_count: int = Field(default_factory=lambda values: _default_min_count(values), ge=0)
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
    def lowest_threshold(self) -> float:
        """Value below which nothing is a breach, whatever the plan or business."""
        limits = (each.threshold for each in (*self.plans.values(), *self.businesses.values()))
        return min([self.threshold, *(limit for limit in limits if limit is not None)])

    def thresholds_for(self, business: UUID | None, plan: str | None) -> Thresholds:
        """Return what counts for a business: its own limits, else those of its plan, else those of the rule."""
        found = (self.businesses.get(business) if business else None, self.plans.get(plan) if plan else None)
        given = [limits for limits in found if limits is not None]
        return Thresholds(
            next((each.threshold for each in given if each.threshold is not None), self.threshold),
            next(
                (each.critical_threshold for each in given if each.critical_threshold is not None),
                self.critical_threshold,
            ),
            next((each.clear_below for each in given if each.clear_below is not None), self.clear_below),
        )

    @property
    def runbook_page(self) -> str:
        """Where it is said what to do."""
        return self.runbook or f"smarttext_pipelines/alerting/runbooks/{self.name}.md"
