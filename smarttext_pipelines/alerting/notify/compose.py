"""From a notice to a message a person can act on: names, k of n, causes, one next step, how certain it is. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from smarttext_pipelines.alerting.incidents.notices import GROUP_SCOPE, Told
from smarttext_pipelines.alerting.measuring.measure import since_of
from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric, Reading
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.rules.rule import Rule, evidence
from smarttext_pipelines.alerting.rules.rule_tables import Key
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.core.rates import COVERAGE_FLOOR_PERCENT, percent

_WORST = 5
_CAUSES = 3
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PIPELINE = {"job": "Job", "check": "Check", "channel": "Channel", "heartbeat": "Heartbeat of"}


@dataclass(frozen=True)
class Setting:
    """What a message says beside the incident.

    Attributes:
        zone: Zone of the times that are shown.
        ui_url: Where the UI is.
        now: Time of the evaluation.
        names: Names of businesses by scope.
        details: Rows of ``details.sql`` by rule and scope.
    """

    zone: ZoneInfo
    ui_url: str
    now: datetime
    names: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[Key, Mapping[str, Any]] = field(default_factory=dict)


def compose(told: Told, rule: Rule | None, setting: Setting) -> Message:
    """Return the message of a notice."""
    stored, incident = told.stored, told.stored.incident
    name, scope = stored.key
    start = incident.fired_at or incident.since
    labels = {"scope": scope, "starts_at": _rfc3339(incident.since)}
    labels |= {"ends_at": _rfc3339(incident.resolved_at)} if incident.resolved_at else {}
    lines, step = _lines(told, rule, setting)
    return Message(
        kind=told.notice,
        incident=stored.id or 0,
        rule=name,
        severity=incident.severity.name,
        subject=_subject(told, setting),
        headline=_headline(told, rule, setting),
        lines=lines,
        next_step=step,
        certainty=_certainty(told, rule, setting.details.get(stored.key)) if rule and not told.members else "",
        lasted=lasting((incident.resolved_at or setting.now) - start),
        peak=_amount(rule.alert_metric, incident.peak)
        if rule and incident.peak is not None and not rule.alert_metric.is_state
        else "",
        reason=incident.reason or "",
        runbook=rule.runbook_page if rule else "",
        link=f"{setting.ui_url.rstrip('/')}/assets/alert_incidents",
        command=f"smarttext alerts show {stored.id or 0}",
        labels=labels,
    )


def lasting(time: timedelta) -> str:
    """Return a duration as people say it: 4 min, 2 h 5 min, 3 d 1 h."""
    minutes = max(0, int(time.total_seconds() // 60))
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {rest} min" if hours and rest else f"{hours} h" if hours else f"{rest} min"


def _rfc3339(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _subject(told: Told, setting: Setting) -> str:
    scope = told.stored.key[1]
    if scope == GROUP_SCOPE:
        return f"{told.stored.value[0]:.0f} businesses" if told.stored.value else "Several businesses"
    if scope == "platform":
        return "All businesses"
    if scope.startswith("sender:"):
        return f"Sender {told.row.label}" if told.row and told.row.label else f"Sender {scope[7:13]}"
    kind, _, name = scope.partition(":")
    return f"{_PIPELINE[kind]} {name}" if kind in _PIPELINE else _name(scope, setting)


def _name(scope: str, setting: Setting) -> str:
    return shown_name(setting.names[scope]) if scope in setting.names else scope


def _headline(told: Told, rule: Rule | None, setting: Setting) -> str:
    if told.stored.key[1] == GROUP_SCOPE:
        return f"{told.stored.key[0]} at several businesses at once"
    if rule is None or told.stored.value is None:
        return told.stored.key[0]
    value, part, whole = told.stored.value
    since = f" since {_clock(since_of(told.row, setting.now, setting.zone), setting)}" if told.row else ""
    label = (told.row.label if told.row else None) or ""
    metric = rule.alert_metric
    return metric.headline(metric, Reading(value, part, whole, since, _weekday(setting), label, _usual(told, setting)))


def _usual(told: Told, setting: Setting) -> str:
    row = setting.details.get(told.stored.key)
    if not row or not row["days"]:
        return ""
    least, most = (f"{Decimal(row[name]):.0f}" for name in ("least", "most"))
    return f" (usual on a {_weekday(setting)}: {least if least == most else f'{least}–{most}'} %)"


def _weekday(setting: Setting) -> str:
    return _WEEKDAYS[setting.now.astimezone(setting.zone).weekday()]


def _clock(at: datetime, setting: Setting) -> str:
    there = at.astimezone(setting.zone)
    same_day = there.date() == setting.now.astimezone(setting.zone).date()
    return f"{there:%H:%M}" if same_day else f"{there:%b} {there.day}, {there:%H:%M}"


def _lines(told: Told, rule: Rule | None, setting: Setting) -> tuple[list[str], str]:
    """Return the sentences below the headline, and the next step."""
    if rule is None:
        return [], ""
    if told.members:
        return _members(told, setting), "(you): look for what they have in common: sender, time, content."
    step = rule.alert_metric.next_step
    if not rule.alert_metric.counts_messages:
        return [], step
    row = setting.details.get(told.stored.key)
    if not row or not row["codes"]:
        return [], step
    lines = []
    if row["customers"]:
        unreached = f", {row['unreached']} of them got no text at all" if row["unreached"] else ""
        lines.append(f"Customers affected: {row['customers']} callers{unreached}.")
    lines.append(_why(row))
    return lines, step or _class_step(rule, row["codes"])


def _members(told: Told, setting: Setting) -> list[str]:
    worst = sorted(told.members, key=lambda m: -(m.stored.value or (0,))[0])[:_WORST]
    shown = [
        _name(m.stored.key[1], setting)
        + (f" {m.stored.value[1]:.0f} of {m.stored.value[2]:.0f}" if m.stored.value else "")
        for m in worst
    ]
    return [f"Worst: {' · '.join(shown)}."]


def _why(row: Mapping[str, Any]) -> str:
    causes = []
    for code, count in row["codes"][:_CAUSES]:
        causes.append(f"{count} × {class_of(code).reason}" + (f" ({code})" if code else ""))
    rest = sum(count for _, count in row["codes"][_CAUSES:])
    causes += [f"{rest} × other"] if rest else []
    elsewhere = ""
    if row["decided_elsewhere"]:
        failed, decided = row["failed_elsewhere"], row["decided_elsewhere"]
        rate = percent(failed, decided) or Decimal(0)
        alone = "Only this business: " if rate < 5 else "Elsewhere too: "
        elsewhere = f" {alone}{failed:,} of {decided:,} failed elsewhere."
    return f"Why: {' · '.join(causes)}.{elsewhere}"


def _class_step(rule: Rule, codes: Sequence[Any]) -> str:
    """Return the next step of the most frequent class that somebody can act on."""
    counts: dict[str, int] = {}
    for code, count in codes:
        counts[class_of(code).name] = counts.get(class_of(code).name, 0) + count
    name = rule.alert_metric.error_class or max(counts, key=lambda each: counts[each])
    code = next((c for c, _ in codes if class_of(c).name == name), None)
    found = class_of(code)
    return f"({found.who}): {found.next_step}."


def _certainty(told: Told, rule: Rule, row: Mapping[str, Any] | None) -> str:
    if told.row is None:
        return ""
    said = []
    if row and row["attempted"]:
        final, attempted = row["final"] or 0, row["attempted"]
        coverage = percent(int(final), int(attempted)) or Decimal(0)
        said.append(f"Outcome known for {final:,} of {attempted:,} ({coverage:.0f} %).")
        if coverage < COVERAGE_FLOOR_PERCENT:
            said.append("That is too little for a rate: the share is unknown, the counts are true.")
    measured, metric = told.row.measured, rule.alert_metric
    if metric.unit == "percent" and metric.is_rate:
        lower = evidence(metric, measured)
        said.append(f"Fires above {measured.threshold:g} %; at least {lower:.1f} %{metric.verb} (95 %).")
    elif metric.unit == "factor":
        said.append(f"Fires from {measured.threshold:g} × on.")
    return " ".join(said)


def _amount(metric: AlertMetric, value: float) -> str:
    unit = {"percent": " %", "factor": " ×", "count": ""}[metric.unit]
    return f"{value:.1f}{unit}" if metric.unit != "count" else f"{value:.0f}"
