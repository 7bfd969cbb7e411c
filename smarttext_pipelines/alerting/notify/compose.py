"""From a notice to a message a person can act on: names, k of n, causes, one next step, how certain it is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from smarttext_pipelines.alerting.incidents.notices import GROUP_SCOPE, Told
from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW, AlertMetric, Reading
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.sentences import (
    affected,
    causes,
    class_step,
    confidence,
    held_back,
    lasting,
    parts_of,
)
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key
from smarttext_pipelines.alerting.rules.span import LAST_TEXTS, Scope
from smarttext_pipelines.core.display import shown_name

_WORST = 5
_FEWEST_USUAL_DAYS = 3
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PIPELINE = {
    "job": "Job",
    "run": "Run of",
    "check": "Check",
    "channel": "Channel",
    "heartbeat": "Heartbeat of",
    "rules": "Alert rules",
}


@dataclass(frozen=True)
class Setting:
    """What a message says besides the incident.

    Attributes:
        zone: Zone of the times that are shown.
        link: Where people open an incident; ``{incident}`` is its number.
        now: Time of the evaluation.
        names: Names of businesses and numbers of senders, by scope.
        details: Rows of ``details.sql`` by rule and scope.
    """

    zone: ZoneInfo
    link: str
    now: datetime
    names: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[Key, Mapping[str, Any]] = field(default_factory=dict)

    def clock(self, at: datetime, *, zone: bool = True) -> str:
        """Return a time in the reporting zone: the hour of today, the date before that."""
        there = at.astimezone(self.zone)
        same_day = there.date() == self.now.astimezone(self.zone).date()
        shown = f"{there:%H:%M}" if same_day else f"{there:%b} {there.day}, {there:%H:%M}"
        return f"{shown} {self.zone.key}" if zone else shown


def compose(told: Told, rule: Rule | None, setting: Setting) -> Message:
    """Return the message of a notice."""
    stored, incident = told.stored, told.stored.incident
    name, scope = stored.key
    start = incident.fired_at or incident.since
    labels = {"scope": scope, "starts_at": _rfc3339(incident.since)}
    labels |= {"ends_at": _rfc3339(incident.resolved_at)} if incident.resolved_at else {}
    details = setting.details.get(stored.key)
    lines, step = _lines(told, rule, setting)
    is_single = rule is not None and not told.members and told.row is not None
    return Message(
        kind=told.notice,
        incident=stored.id or 0,
        rule=name,
        severity=incident.severity.name,
        subject=_subject(told, setting),
        sender=setting.names.get(scope, "") if scope.startswith("sender:") else "",
        headline=_headline(told, rule, setting),
        lines=lines,
        next_step=step,
        certainty=confidence(told.row.measured, rule.alert_metric, details) if is_single and rule and told.row else "",
        lasted=lasting((incident.resolved_at or setting.now) - start),
        peak=_peak(rule, incident.peak),
        reason=incident.reason or "",
        runbook=rule.runbook_page if rule else "",
        link=setting.link.replace("{incident}", str(stored.id or 0)),
        command=f"smarttext alerts show {stored.id or 0}",
        labels=labels,
    )


def _rfc3339(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _peak(rule: Rule | None, peak: float | None) -> str:
    return "" if rule is None or peak is None or rule.alert_metric.is_state else amount(rule.alert_metric, peak)


def _subject(told: Told, setting: Setting) -> str:
    scope = Scope.parse(told.stored.key[1])
    if told.stored.key[1] == GROUP_SCOPE:
        count, what = (told.stored.value or (0,))[0], "checks" if _is_of_pipeline(told) else "businesses"
        return f"{count:.0f} {what}" if count else f"Several {what}"
    if scope.kind == "platform":
        return "All businesses"
    if scope.kind == "sender":
        return f"Sender {scope.name[:6]}"
    if scope.kind in _PIPELINE:
        name = {"rules": "", "check": scope.name.replace(".", " ").replace("@", ", ")}.get(
            scope.kind, scope.name.replace("@", ", ")
        )
        return f"{_PIPELINE[scope.kind]} {name}".strip()
    return _name(told.stored.key[1], setting)


def _is_of_pipeline(told: Told) -> bool:
    return any(not Scope.parse(member.stored.key[1]).is_of_events for member in told.members)


def _name(scope: str, setting: Setting) -> str:
    return shown_name(setting.names[scope]) if scope in setting.names else scope


def _headline(told: Told, rule: Rule | None, setting: Setting) -> str:
    if told.stored.key[1] == GROUP_SCOPE:
        return "failed in one evaluation" if _is_of_pipeline(told) else _of_each(told.stored.key[0], rule)
    if rule is None or told.stored.value is None:
        return told.stored.key[0]
    value, part, whole = told.stored.value
    metric, label = rule.alert_metric, (told.row.label if told.row else None) or ""
    first = told.row.measured.first_at if told.row else None
    return metric.headline(
        metric,
        Reading(
            value,
            part,
            whole,
            window=_window(told, setting),
            first=f"; the first at {setting.clock(first)}" if first and part else "",
            weekday=_weekday(setting),
            label=label,
            usual=_usual(told, setting),
        ),
    )


def _of_each(name: str, rule: Rule | None) -> str:
    """Return what happened at each of several businesses, in the words of the rule's metric where it has some."""
    metric = rule.alert_metric if rule else None
    if metric is None or not (metric.is_rate or metric.counts_messages):
        return f"{name} at once"
    return f"{'too many ' if metric.is_rate else ''}{metric.counts} {metric.verb} at each"


def _window(told: Told, setting: Setting) -> str:
    """Return the window in words: the last hour, the last 20 texts, today."""
    if told.row is None:
        return ""
    minutes = told.row.minutes
    if minutes == LAST_TEXTS:
        return "the last"
    if minutes * 60 > LONGEST_SHORT_WINDOW.total_seconds():
        return "today" if minutes == 1440 else f"the last {minutes // 1440} days"
    if minutes % 60:
        return f"the last {minutes} minutes"
    return "the last hour" if minutes == 60 else f"the last {minutes // 60} hours"


def _usual(told: Told, setting: Setting) -> str:
    """Return the usual range and the days it is of; nothing where it is no contrast to the threshold."""
    row = setting.details.get(told.stored.key)
    if not row or (row["days"] or 0) < _FEWEST_USUAL_DAYS or told.row is None:
        return ""
    if row["most"] >= told.row.measured.thresholds.breach:
        return ""
    least, most = (f"{Decimal(row[name]):.1f}".removesuffix(".0") for name in ("least", "most"))
    share = least if least == most else f"{least}–{most}"
    return f" (usual: {share} % on {row['days']} {_weekday(setting)}s)"


def _weekday(setting: Setting) -> str:
    return _WEEKDAYS[setting.now.astimezone(setting.zone).weekday()]


def _lines(told: Told, rule: Rule | None, setting: Setting) -> tuple[list[str], str]:
    """Return the sentences below the headline, and the next step."""
    if rule is None:
        return [], ""
    if told.members:
        step = "`smarttext alerts list` shows each." if _is_of_pipeline(told) else _COMMON
        return _members(told, setting), step
    step = rule.alert_metric.next_step
    row = setting.details.get(told.stored.key)
    if not rule.alert_metric.counts_messages or not row:
        return [], step
    lines = [*affected(row), *causes(row, is_of_business=told.row is not None and told.row.kind == "business")]
    if told.stored.kind in ("sender", "platform"):
        lines += parts_of(row, setting.names)
    lines += held_back(rule, row, told.inhibited, setting.names)
    return lines, step or class_step(rule, row["codes"] or [])


_COMMON = "look for what they have in common: sender, time, content."


def _members(told: Told, setting: Setting) -> list[str]:
    worst = sorted(told.members, key=lambda m: -(m.stored.value or (0,))[0])[:_WORST]
    if _is_of_pipeline(told):
        return [f"{_subject(member, setting)}: {member.stored.detail or 'failed'}" for member in worst]
    shown = [
        _name(m.stored.key[1], setting)
        + (f" {m.stored.value[1]:.0f} of {m.stored.value[2]:.0f}" if m.stored.value else "")
        for m in worst
    ]
    return [f"Worst: {' · '.join(shown)}."]


def short(told: Told, rule: Rule | None, setting: Setting) -> str:
    """Return a notice in one line, for a list of many."""
    return f"{_subject(told, setting)}: {_headline(told, rule, setting)}"


def amount(metric: AlertMetric, value: float) -> str:
    """Return a value with its unit."""
    unit = {"percent": " %", "factor": " ×", "count": ""}[metric.unit]
    return f"{value:.1f}{unit}" if metric.unit != "count" else f"{value:.0f}"
