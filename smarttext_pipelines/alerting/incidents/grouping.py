"""Groups: many businesses on one rule in one evaluation are one incident of the rule. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from smarttext_pipelines.alerting.incidents.incident_store import Stored
from smarttext_pipelines.alerting.incidents.lifecycle import (
    Finding,
    Verdict,
    advance,
    close,
)
from smarttext_pipelines.alerting.incidents.notices import (
    GROUP_SCOPE,
    NOTHING,
    Around,
    Plan,
    Told,
    hold_back,
    silence_of,
    take,
)
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key

MAX_SEPARATE = 5
"""More businesses than that on one rule in one evaluation become one message."""

_MAX_SEPARATE = {"business": MAX_SEPARATE, "check": 1}
"""Checks that fail in one evaluation are one notice: they have one cause more often than not."""


def group_notices(done: Plan, rules: Mapping[str, Rule], stored: Mapping[Key, Stored], around: Around) -> None:
    """Turn many first notices of one rule into one of a group; bring the groups that there are forward."""
    by_rule: dict[str, list[Told]] = defaultdict(list)
    for told in done.told:
        if told.notice == "firing" and told.held is None and told.stored.kind in _MAX_SEPARATE:
            by_rule[told.stored.key[0]].append(told)
    fresh = {name: members for name, members in by_rule.items() if len(members) > _MAX_SEPARATE[members[0].stored.kind]}
    for name in sorted({*fresh, *(rule for rule, scope in stored if scope == GROUP_SCOPE)}):
        _group(done, rules.get(name), fresh.get(name, []), (name, GROUP_SCOPE), stored, around)


def _group(
    done: Plan, rule: Rule | None, fresh: Sequence[Told], key: Key, stored: Mapping[Key, Stored], around: Around
) -> None:
    """Bring one group forward: as bad as its worst member was when it came; over when none of them is open any more."""
    old, silence = stored.get(key), silence_of(key, around)
    if silence:
        fresh = _hold_all_back(done, fresh, silence, stored)
    members = _open_members(done, key[0])
    if rule is None or not (fresh or members):
        _end(done, old, "recovered" if rule else "rule removed", around)
        return
    incidents = [told.stored.incident for told in fresh] + ([old.incident] if old else [])
    worst = max((incident.severity for incident in incidents), default=rule.severity)
    step = advance(
        old.incident if old else None,
        Finding(Verdict.breach, worst, counted_at=_newest(members or [told.stored for told in fresh])),
        replace(rule.policy, breaches_to_fire=1),
        now=around.now,
        held_by=silence,
        last_sent_at=old.last_sent_at if old else None,
    )
    base = old or Stored(None, key, None, NOTHING)
    if fresh:
        # More businesses than were told of are worse, however bad each of them is.
        step = replace(step, notices=("worse",)) if old else step
        base = replace(base, value=(float(len(fresh)),) * 3)
        _take_in(done, fresh)
    take(done, base, step, None, fresh or [Told(member, "firing") for member in members])


def _hold_all_back(done: Plan, fresh: Sequence[Told], silence: str, stored: Mapping[Key, Stored]) -> Sequence[Told]:
    """Hold each of them back; none is left for the group."""
    for told in fresh:
        hold_back(done, told, silence, stored)
    return ()


def _open_members(done: Plan, rule: str) -> list[Stored]:
    return [c for c in done.changed if c.key[0] == rule and c.muted_by == GROUP_SCOPE and c.incident.is_open]


def _newest(members: Sequence[Stored]) -> datetime | None:
    """Return when the last of what any of them counts began; None where one does not know."""
    times = [member.incident.counted_at for member in members]
    return None if None in times else max(time for time in times if time)


def _end(done: Plan, old: Stored | None, reason: str, around: Around) -> None:
    if old is not None:
        take(done, old, close(old.incident, now=around.now, reason=reason), None)


def _take_in(done: Plan, fresh: Sequence[Told]) -> None:
    """Make members of these: their own first notices go."""
    joined = {told.stored.key for told in fresh}
    done.told = [told for told in done.told if told.stored.key not in joined or told.notice != "firing"]
    done.changed = [_mute(each) if each.key in joined else each for each in done.changed]


def _mute(stored: Stored) -> Stored:
    """Return a member of a group: what is told of it is told of the group, until it becomes worse."""
    incident = replace(stored.incident, told=None, held_by=GROUP_SCOPE)
    return replace(stored, incident=incident, muted_by=GROUP_SCOPE, muted_severity=incident.severity)
