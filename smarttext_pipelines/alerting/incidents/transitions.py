"""What an evaluation makes of all incidents at once: transitions, what holds notices back, groups. Pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from smarttext_pipelines.alerting.incidents.incident_store import Stored
from smarttext_pipelines.alerting.incidents.lifecycle import (
    Finding,
    Incident,
    Notice,
    Severity,
    State,
    Step,
    Verdict,
    advance,
    close,
)
from smarttext_pipelines.alerting.measuring.measure import Measurement, Row
from smarttext_pipelines.alerting.rules.rule import Rule, judge
from smarttext_pipelines.alerting.rules.rule_tables import Key

MOST_SEPARATE = 5
"""More businesses than that on one rule in one evaluation become one message."""

GROUP_SCOPE = "group"
_ORDER = {"pipeline": 0, "platform": 1, "sender": 2, "business": 3}


@dataclass(frozen=True)
class Silence:
    """A silence that counts now."""

    id: int
    rule: str | None
    scope: str | None

    def matches(self, key: Key) -> bool:
        """Whether it concerns an incident."""
        return self.rule in (None, key[0]) and self.scope in (None, key[1])


@dataclass(frozen=True)
class Told:
    """A notice of an incident; ``held`` says what keeps it back, if anything does."""

    stored: Stored
    notice: Notice
    row: Row | None = None
    held: str | None = None
    members: Sequence["Told"] = ()


@dataclass
class Plan:
    """What is to be written and told.

    Attributes:
        changed: Incidents as they are now.
        gone: Pending ones that vanished.
        told: Notices, also those that are held back.
        verdicts: By rule, the worst over its scopes, with the number of scopes in breach and a note.
        baseline: Incidents that were there already when alerting began.
    """

    changed: list[Stored] = field(default_factory=list)
    gone: list[Stored] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    verdicts: dict[str, tuple[Verdict, int, str | None]] = field(default_factory=dict)
    baseline: list[Told] = field(default_factory=list)


@dataclass(frozen=True)
class Around:
    """What else decides.

    Attributes:
        now: Time of the evaluation.
        silences: Those that count now.
        senders: By business, the scope of the number it sends from.
        businesses: Those that exist; None when nobody looked.
        is_first: Whether nothing was ever evaluated here.
    """

    now: datetime
    silences: Sequence[Silence] = ()
    senders: Mapping[UUID, str] = field(default_factory=dict)
    businesses: Collection[UUID] | None = None
    is_first: bool = False


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
    _groups(done, rules, stored, around)
    return done


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
    if old is not None and gone:
        return _take(done, old, close(old.incident, now=around.now, reason=gone), None)
    if rule is None or (gone and old is None):
        return None
    finding, reason = _find(rule, row, found)
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
    base = old or Stored(None, key, row.business_id if row else None, step.incident or _NOTHING)
    if row is not None:
        base = replace(base, value=(row.measured.value, row.measured.part, row.measured.whole))
    if around.is_first and step.incident is not None:
        muted = replace(base, incident=replace(step.incident, told=None, held_by="baseline"))
        muted = replace(muted, muted_by="baseline", muted_severity=step.incident.severity)
        done.changed.append(muted)
        done.baseline.append(Told(muted, "firing", row))
        return None
    _take(done, base, step, row)
    after = step.incident
    if after and after.is_firing and after.told is not None and rule.alert_metric.family:
        firing[rule.alert_metric.family].setdefault(key[1], (key[0], after.severity))
    return None


_NOTHING = Incident(State.pending, Severity.info, since=datetime.min)  # noqa: DTZ901 - never written


def _take(done: Plan, base: Stored, step: Step, row: Row | None, members: Sequence[Told] = ()) -> None:
    if step.incident is None:
        if base.id is not None:
            done.gone.append(base)
        return
    count = len(step.notices) + (step.held is not None)
    after = replace(base, incident=step.incident, sequence=base.sequence + count)
    done.changed.append(after)
    done.told += [Told(after, notice, row, members=members) for notice in step.notices]
    if step.held is not None:
        done.told.append(Told(after, step.held, row, held=step.incident.held_by))


def _gone(old: Stored | None, rule: Rule | None, around: Around) -> str | None:
    if rule is None:
        return "rule removed"
    removed = old and old.business_id and around.businesses is not None and old.business_id not in around.businesses
    return "business removed" if removed else None


def _find(rule: Rule, row: Row | None, found: Measurement) -> tuple[Finding, str]:
    """Return the finding for a scope, and the reason if that ends the incident."""
    none = _no_answer(rule, found)
    if none is not None:
        return Finding(none[0], rule.severity), "recovered"
    if row is not None:
        finding = judge(rule, row.measured)
        if finding.verdict is Verdict.no_traffic and not found.is_fresh:
            finding = replace(finding, verdict=Verdict.stale)
        reason = "window rolled" if rule.alert_metric.unit == "count" and rule.scope != "pipeline" else "recovered"
        return finding, reason
    if rule.alert_metric.absent_is_zero:
        return Finding(Verdict.ok, rule.severity, 0.0), "window rolled"
    return Finding(Verdict.no_traffic, rule.severity), "recovered"


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


def _silence(key: Key, around: Around) -> str | None:
    return next((f"silence {silence.id}" for silence in around.silences if silence.matches(key)), None)


def _held(
    old: Stored | None,
    key: Key,
    finding: Finding,
    rule: Rule,
    around: Around,
    firing: Mapping[str, Mapping[str, tuple[str, Severity]]],
    row: Row | None,
) -> str | None:
    """Return what holds notices of an incident back now."""
    if silence := _silence(key, around):
        return silence
    severity = finding.severity if finding.verdict is Verdict.breach else old.incident.severity if old else None
    by = firing.get(rule.alert_metric.family, {}) if rule.scope == "business" else {}
    business = old.business_id if old else row.business_id if row else None
    for scope in ("platform", around.senders.get(business, "") if business else ""):
        if scope in by:
            return f"inhibited by {by[scope][0]}"
    # Two rules of one family on one business have one reason; the first one that is as severe tells it.
    if key[1] in by and severity is not None and by[key[1]][1] >= severity:
        return f"inhibited by {by[key[1]][0]}"
    if old and old.muted_by and old.muted_severity and severity and severity <= old.muted_severity:
        return old.muted_by
    return None


def _groups(done: Plan, rules: Mapping[str, Rule], stored: Mapping[Key, Stored], around: Around) -> None:
    """Turn many first notices of one rule into one of a group; bring the groups that there are forward."""
    by_rule: dict[str, list[Told]] = defaultdict(list)
    for told in done.told:
        if told.notice == "firing" and told.held is None and told.stored.kind == "business":
            by_rule[told.stored.key[0]].append(told)
    fresh = {name: members for name, members in by_rule.items() if len(members) > MOST_SEPARATE}
    for name in sorted({*fresh, *(rule for rule, scope in stored if scope == GROUP_SCOPE)}):
        _group(done, rules.get(name), fresh.get(name, []), (name, GROUP_SCOPE), stored, around)


def _group(
    done: Plan, rule: Rule | None, fresh: Sequence[Told], key: Key, stored: Mapping[Key, Stored], around: Around
) -> None:
    """Bring one group forward: as bad as its worst member was when it came; over when none of them is open any more."""
    old, silence = stored.get(key), _silence(key, around)
    if silence:
        for told in fresh:
            hold_back(done, told, silence, stored)
        fresh = []
    muted = [c for c in done.changed if c.key[0] == key[0] and c.muted_by == GROUP_SCOPE and c.incident.is_open]
    if rule is None or not (fresh or muted):
        if old is not None:
            reason = "recovered" if rule else "rule removed"
            _take(done, old, close(old.incident, now=around.now, reason=reason), None)
        return
    severities = [told.stored.incident.severity for told in fresh] + ([old.incident.severity] if old else [])
    step = advance(
        old.incident if old else None,
        Finding(Verdict.breach, max(severities, default=rule.severity)),
        replace(rule.policy, breaches_to_fire=1),
        now=around.now,
        held_by=silence,
        last_sent_at=old.last_sent_at if old else None,
    )
    base = old or Stored(None, key, None, _NOTHING)
    if fresh:
        # More businesses than were told of are worse, however bad each of them is.
        step = replace(step, notices=("worse",)) if old else step
        base = replace(base, value=(float(len(fresh)),) * 3)
        gone = {told.stored.key for told in fresh}
        done.told = [told for told in done.told if told.stored.key not in gone or told.notice != "firing"]
        done.changed = [_mute(each) if each.key in gone else each for each in done.changed]
    _take(done, base, step, None, fresh or [Told(member, "firing") for member in muted])


def _mute(stored: Stored) -> Stored:
    """Return a member of a group: what is told of it is told of the group, until it becomes worse."""
    incident = replace(stored.incident, told=None, held_by=GROUP_SCOPE)
    return replace(stored, incident=incident, muted_by=GROUP_SCOPE, muted_severity=incident.severity)


def hold_back(done: Plan, told: Told, by: str, stored: Mapping[Key, Stored]) -> None:
    """Take a notice back that would reach nobody: it is recorded once, and told as soon as nothing holds it.

    A group is not made then; its members wait instead.

    Args:
        done: Plan with the notice.
        told: The notice.
        by: What holds it back.
        stored: The incidents before this evaluation.
    """
    before = stored.get(told.stored.key)
    done.told = [each for each in done.told if each is not told]
    done.changed = [each for each in done.changed if each.key != told.stored.key]
    if told.stored.key[1] == GROUP_SCOPE:
        done.changed += [before] if before else []
        for member in told.members if told.notice != "repeat" else ():
            hold_back(done, member, by, stored)
        return
    is_new = told.notice != "repeat" and by != (before.incident.held_by if before else None)
    incident = replace(told.stored.incident, told=before.incident.told if before else None, held_by=by)
    kept = replace(told.stored, incident=incident, sequence=told.stored.sequence - (not is_new))
    done.changed.append(kept)
    done.told += [replace(told, stored=kept, held=by)] if is_new else []


def _kind(key: Key) -> str:
    scope = key[1].split(":", 1)[0]
    return scope if scope in ("platform", "sender", "business") else "pipeline"
