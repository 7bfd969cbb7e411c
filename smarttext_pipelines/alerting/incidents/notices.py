"""Notices of incidents, what one evaluation makes of all of them, and what else decides. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from smarttext_pipelines.alerting.incidents.incident_store import Stored
from smarttext_pipelines.alerting.incidents.lifecycle import (
    SILENCE,
    Incident,
    Notice,
    Severity,
    State,
    Step,
    Verdict,
)
from smarttext_pipelines.alerting.measuring.measure import Row
from smarttext_pipelines.alerting.rules.rule_tables import Key

GROUP_SCOPE = "group"


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
    """A notice of an incident.

    Attributes:
        stored: The incident.
        notice: What is told of it.
        row: What was measured.
        held: What keeps it back, if anything does.
        members: Of a group.
        inhibited: Businesses whose own incidents this one of their sender holds back.
    """

    stored: Stored
    notice: Notice
    row: Row | None = None
    held: str | None = None
    members: Sequence["Told"] = ()
    inhibited: Sequence[UUID] = ()


@dataclass
class Plan:
    """What is to be written and told.

    Attributes:
        changed: Incidents as they are now.
        gone: Pending ones that vanished.
        told: Notices, also those that are suppressed.
        verdicts: By rule, the worst over its scopes, with the number of scopes in breach and a note.
        baseline: Incidents that were there already when alerting began.
        inhibited: By rule and scope of a sender, the businesses whose own incidents it holds back.
    """

    changed: list[Stored] = field(default_factory=list)
    gone: list[Stored] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    verdicts: dict[str, tuple[Verdict, int, str | None]] = field(default_factory=dict)
    baseline: list[Told] = field(default_factory=list)
    inhibited: dict[Key, set[UUID]] = field(default_factory=dict)


@dataclass(frozen=True)
class Around:
    """What else decides.

    Attributes:
        now: Time of the evaluation.
        silences: Those that count now.
        senders: By business, the scope of the number it sends from.
        businesses: Those that exist; None when nobody looked.
        is_first: Whether nothing was ever evaluated here.
        is_night: Whether what can wait for the morning waits.
    """

    now: datetime
    silences: Sequence[Silence] = ()
    senders: Mapping[UUID, str] = field(default_factory=dict)
    businesses: Collection[UUID] | None = None
    is_first: bool = False
    is_night: bool = False


NOTHING = Incident(State.pending, Severity.info, since=datetime.min)  # noqa: DTZ901 - never written


def take(done: Plan, base: Stored, step: Step, row: Row | None, members: Sequence[Told] = ()) -> None:
    """Add what a step has made of an incident, and its notices, to the plan."""
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


def silence_of(key: Key, around: Around) -> str | None:
    """Return the silence that holds an incident's notices back, if one does."""
    return next((f"{SILENCE}{silence.id}" for silence in around.silences if silence.matches(key)), None)


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
