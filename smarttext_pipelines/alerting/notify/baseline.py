"""The one message about everything that was wrong when alerting began. Pure."""

from collections.abc import Mapping, Sequence

from smarttext_pipelines.alerting.incidents.notices import Told
from smarttext_pipelines.alerting.notify.compose import Setting, short
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.rules.rule import Rule

_WORST = 5


def baseline_message(told: Told, rules: Mapping[str, Rule], setting: Setting) -> Message:
    """Return the message: the worst by name and number, the rest by rule, and what needs nobody tonight."""
    members = sorted(told.members, key=lambda m: (-m.stored.incident.severity, -(m.stored.value or (0,))[0]))
    urgent = [m for m in members if m.stored.kind != "check"]
    checks = len(members) - len(urgent)
    counts: dict[str, int] = {}
    for member in urgent[_WORST:]:
        counts[member.stored.key[0]] = counts.get(member.stored.key[0], 0) + 1
    lines = [_line(each, rules.get(each.stored.key[0]), setting) for each in urgent[:_WORST]]
    if counts:
        lines.append(f"And: {' · '.join(f'{count} × {rule}' for rule, count in sorted(counts.items()))}.")
    if checks:
        fail = "data check fails; it concerns" if checks == 1 else "data checks fail; they concern"
        lines.append(f"{checks} {fail} past days and can wait for the morning.")
    lines.append("Each is kept as an incident, and you are notified of it again only if it becomes worse.")
    count = len(members)
    return Message(
        kind="baseline",
        incident=told.stored.id or 0,
        rule="baseline",
        severity=told.stored.incident.severity.name,
        subject="Alerting begins",
        headline=f"{count} {'thing is' if count == 1 else 'things are'} wrong already",
        lines=lines,
        next_step=f"look through them once with `smarttext alerts list`{_meaning(urgent or members)}",
        lasted="0 min",
        runbook="docs/alerting.md",
        link=setting.link.replace("{incident}", str(told.stored.id or 0)),
        command="smarttext alerts list",
    )


def _line(member: Told, rule: Rule | None, setting: Setting) -> str:
    """Return one of the worst with its number and what to do about it."""
    step = rule.alert_metric.next_step if rule else ""
    said = f"{member.stored.incident.severity.name}: {short(member, rule, setting)} (INC-{member.stored.id or 0})."
    return f"{said} Next step: {step}" if step else said


def _meaning(members: Sequence[Told]) -> str:
    if not members:
        return ""
    return f"; `smarttext alerts runbook {members[0].stored.id or 0}` says what the first of them means"
