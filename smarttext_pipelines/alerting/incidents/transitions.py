"""What an evaluation makes of all incidents at once: transitions, and what holds notices back. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from smarttext_pipelines.alerting.incidents.grouping import group_notices
from smarttext_pipelines.alerting.incidents.incident_store import Stored
from smarttext_pipelines.alerting.incidents.lifecycle import (
    Finding,
    Incident,
    Severity,
    Verdict,
    advance,
    close,
)
from smarttext_pipelines.alerting.incidents.notices import GROUP_SCOPE, NOTHING, Around, Plan, Told, silence_of, take
from smarttext_pipelines.alerting.measuring.measure import Measurement, Row
from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW
from smarttext_pipelines.alerting.rules.judge import judge
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key
from smarttext_pipelines.alerting.rules.span import Scope, Span

INHIBITED = "inhibited by "
_ORDER = {"pipeline": 0, "platform": 1, "sender": 2, "business": 3}


def plan(rules: Mapping[str, Rule], found: Measurement, stored: Mapping[Key, Stored], around: Around) -> Plan:
    """Return what an evaluation makes of the incidents.

    Args:
        rules: By name.
        found: What was measured.
        stored: The open incidents.
        around: What else decides.
    """
    done = Plan(verdicts={name: _rule_verdict(rule, found) for name, rule in rules.items()})
    keys = {key for key in {*found.rows, *stored} if key[1] != GROUP_SCOPE}
    firing: dict[str, dict[str, tuple[str, Severity]]] = defaultdict(dict)
    for key in sorted(keys, key=lambda k: (_ORDER[_kind(k)], k)):
        _one(done, rules, found, stored, around, key, firing)
    group_notices(done, rules, stored, around)
    done.told = [_naming_inhibited(done, told) for told in done.told]
    return done


def _naming_inhibited(done: Plan, told: Told) -> Told:
    """Return a notice with the businesses that it stands for: they have an incident, and are told of nowhere else."""
    if told.notice == "resolved" or told.stored.key not in done.inhibited:
        return told
    return replace(told, inhibited=sorted(done.inhibited[told.stored.key]))


def _one(
    done: Plan,
    rules: Mapping[str, Rule],
    found: Measurement,
    stored: Mapping[Key, Stored],
    around: Around,
    key: Key,
    firing: dict[str, dict[str, tuple[str, Severity]]],
) -> None:
    """Bring one incident forward."""
    old, rule, row = stored.get(key), rules.get(key[0]), found.rows.get(key)
    gone = _gone(old, rule, around)
    if gone or rule is None:
        if old is not None and gone:
            take(done, old, close(old.incident, now=around.now, reason=gone), None)
        return
    finding, reason = _find(rule, row, found, old, around.now)
    held = _held(old, key, finding, rule, around, firing, row)
    step = advance(
        old.incident if old else None,
        finding,
        rule.policy,
        now=around.now,
        held_by=held,
        last_sent_at=old.last_sent_at if old else None,
        reason=reason,
    )
    if finding.verdict is Verdict.breach:
        _, breaches, note = done.verdicts[rule.name]
        done.verdicts[rule.name] = (Verdict.breach, breaches + 1, note)
    base = _with_value(
        old or Stored(None, key, row.business_id if row else None, step.incident or NOTHING), row, around.now
    )
    if around.is_first and step.incident is not None:
        _keep_as_baseline(done, base, step.incident, row)
    else:
        take(done, base, step, row)
        _remember(firing, rule, key, step.incident)
        _note_inhibited(done, rules, base, step.incident, held, around)


def _with_value(stored: Stored, row: Row | None, now: datetime) -> Stored:
    if row is None:
        return stored
    value = (row.measured.value, row.measured.part, row.measured.whole)
    span = Span(Scope.parse(row.scope), row.start_at or now, now, row.minutes, row.business_id, row.apart)
    return replace(stored, value=value, span=span, detail=row.label if row.measured.value else stored.detail)


def _keep_as_baseline(done: Plan, base: Stored, incident: Incident, row: Row | None) -> None:
    """Keep an incident that was there when alerting began: one message names all of them."""
    kept = replace(base, incident=replace(incident, told=None, held_by="baseline"))
    kept = replace(kept, muted_by="baseline", muted_severity=incident.severity)
    done.changed.append(kept)
    done.baseline.append(Told(kept, "firing", row))


def _remember(
    firing: dict[str, dict[str, tuple[str, Severity]]], rule: Rule, key: Key, incident: Incident | None
) -> None:
    """Note that an incident which people know of inhibits those of its family."""
    if incident and incident.is_firing and incident.told is not None and rule.alert_metric.family:
        firing[rule.alert_metric.family].setdefault(key[1], (key[0], incident.severity))


def _note_inhibited(
    done: Plan, rules: Mapping[str, Rule], base: Stored, incident: Incident | None, held: str | None, around: Around
) -> None:
    """Note a business that its sender inhibits, also before its own incident fires: a rate needs two evaluations."""
    is_untold = incident is not None and incident.is_open and incident.told is None and base.muted_by is None
    by = rules.get((held or "").removeprefix(INHIBITED))
    if base.business_id and is_untold and by is not None and by.scope == "sender":
        key = by.name, around.senders[base.business_id]
        done.inhibited.setdefault(key, set()).add(base.business_id)


def _gone(old: Stored | None, rule: Rule | None, around: Around) -> str | None:
    if rule is None:
        return "rule removed"
    removed = old and old.business_id and around.businesses is not None and old.business_id not in around.businesses
    return "business removed" if removed else None


def _find(rule: Rule, row: Row | None, found: Measurement, old: Stored | None, now: datetime) -> tuple[Finding, str]:
    """Return the finding for a scope, and the reason if that ends the incident."""
    none = _no_answer(rule, found)
    if none is not None:
        return Finding(none[0], rule.severity), "recovered"
    if said := _too_quiet(rule, row, found, old, now):
        return Finding(Verdict.ok, rule.severity), said
    if row is not None:
        finding = judge(rule, row.measured)
        if finding.verdict is Verdict.no_traffic and not found.is_fresh:
            finding = replace(finding, verdict=Verdict.stale)
        if rule.scope == "pipeline":
            return finding, row.label if row.label and finding.verdict is Verdict.ok else "recovered"
        return finding, "window rolled" if rule.alert_metric.unit == "count" else "recovered"
    if rule.alert_metric.absent_is_zero:
        return Finding(Verdict.ok, rule.severity, 0.0), "window rolled"
    return Finding(Verdict.no_traffic, rule.severity), "recovered"


def _too_quiet(rule: Rule, row: Row | None, found: Measurement, old: Stored | None, now: datetime) -> str:
    """Return why an incident that has no answer says nothing any more; empty while it does."""
    metric = rule.alert_metric
    is_seen = metric.counts_messages or metric.longest <= LONGEST_SHORT_WINDOW or found.is_fresh
    has_answer = row is not None and row.measured.is_enough
    if old is None or metric.quiet is None or has_answer or not is_seen:
        return ""
    length, reason = metric.quiet
    return reason if now - (old.incident.counted_at or old.incident.since) > length else ""


def _no_answer(rule: Rule, found: Measurement) -> tuple[Verdict, str] | None:
    """Return why a rule has no answer for any scope, or None."""
    if rule.metric in found.errors:
        return Verdict.error, found.errors[rule.metric]
    if rule.alert_metric.needs_outcomes and not found.has_outcomes:
        return Verdict.not_applicable, "not applicable: no delivery reports"
    return None


def _rule_verdict(rule: Rule, found: Measurement) -> tuple[Verdict, int, str | None]:
    none = _no_answer(rule, found)
    if none is not None:
        return none[0], 0, none[1]
    is_present = (rule.metric, rule.scope) in found.present or rule.alert_metric.absent_is_zero
    return (Verdict.ok, 0, None) if is_present else (Verdict.no_traffic, 0, "nothing was seen in its window")


def _held(
    old: Stored | None,
    key: Key,
    finding: Finding,
    rule: Rule,
    around: Around,
    firing: Mapping[str, Mapping[str, tuple[str, Severity]]],
    row: Row | None,
) -> str | None:
    """Return what suppresses notices of an incident now."""
    if by_time := silence_of(key, around) or _night(rule, around):
        return by_time
    severity = finding.severity if finding.verdict is Verdict.breach else old.incident.severity if old else None
    by = firing.get(rule.alert_metric.family, {}) if rule.scope == "business" else {}
    if wider := _wider(by, old.business_id if old else row.business_id if row else None, around):
        return f"{INHIBITED}{wider}"
    # Two rules of one family on one business have one reason; the first one that is as severe tells it.
    if key[1] in by and severity is not None and by[key[1]][1] >= severity:
        return f"{INHIBITED}{by[key[1]][0]}"
    if old and old.muted_by and old.muted_severity and severity and severity <= old.muted_severity:
        return old.muted_by
    return None


def _night(rule: Rule, around: Around) -> str | None:
    return "night: it waits for the morning" if around.is_night and rule.notify == "daytime" else None


def _wider(by: Mapping[str, tuple[str, Severity]], business: UUID | None, around: Around) -> str | None:
    """Return the rule that fires for everybody, or for the number that a business sends from."""
    scopes = ("platform", around.senders.get(business, "") if business else "")
    return next((by[scope][0] for scope in scopes if scope in by), None)


def _kind(key: Key) -> str:
    scope = key[1].split(":", 1)[0]
    return scope if scope in ("platform", "sender", "business") else "pipeline"
