"""Incidents: one episode of a rule and a scope, and its notices. Pure; the time is passed in.

    none ─breach→ pending ─enough breaches→ firing ─clear→ recovering ─clear long enough→ resolved
                  pending ─clear→ none (nobody hears of it)   recovering ─breach→ firing (untold)

Notices follow from the difference between the state and what was notified, so whatever suppressed a notice (a silence,
an inhibition), it is sent as soon as that ends; and whoever was notified is notified of the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Literal


class Severity(IntEnum):
    """How bad it is; greater is worse."""

    info = 1
    warning = 2
    critical = 3


class State(StrEnum):
    """Where an episode is."""

    pending = "pending"
    firing = "firing"
    recovering = "recovering"
    resolved = "resolved"


class Verdict(StrEnum):
    """What an evaluation found for a rule and a scope.

    ``near`` lies between the two thresholds: it keeps a firing incident and starts none. The last four say that there
    is no answer; they never resolve anything.
    """

    breach = "breach"
    near = "near"
    ok = "ok"
    no_traffic = "no_traffic"
    stale = "stale"
    not_applicable = "not_applicable"
    error = "error"


SILENCE = "silence "
"""What stands before the number of a silence where it holds something back."""

Notice = Literal["firing", "worse", "repeat", "resolved"]
OnNoData = Literal["keep", "ok", "alert"]


@dataclass(frozen=True)
class Policy:
    """What of a rule decides over an episode.

    Attributes:
        breaches_to_fire: Evaluations in breach, one after the other, until it fires.
        keep_firing_for: How long it must be clear until it is resolved.
        repeat_interval: Time after the last successful send at which it is told again.
        on_no_data: What having no traffic means.
    """

    breaches_to_fire: int = 2
    keep_firing_for: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)
    on_no_data: OnNoData = "keep"


@dataclass(frozen=True)
class Finding:
    """What an evaluation found, and how bad it is if it is a breach.

    Attributes:
        verdict: The answer.
        severity: How bad it is.
        value: In the unit of the metric.
        since: When the first of what was counted began; None where that is not known.
        counted_at: When the last of it began.
        at_once: Whether one evaluation is enough to fire.
        reason: Why it is over, where that is more than a value below the threshold.
    """

    verdict: Verdict
    severity: Severity = Severity.warning
    value: float | None = None
    since: datetime | None = None
    counted_at: datetime | None = None
    at_once: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Incident:
    """One episode.

    Attributes:
        state: Where it is.
        severity: How bad it is now.
        since: When the trouble began: the first of what was counted, else the first breach.
        breaches: Evaluations in breach so far, until it fires.
        fired_at: When it fired first.
        clear_since: Since when it has been clear.
        resolved_at: When it ended.
        reason: Why it ended.
        peak: Worst value seen.
        told: Worst severity that was told; None while nobody was told.
        acknowledged: Severity at which somebody acknowledged it.
        held_by: What suppresses the next notice, or kept quiet what had been told: that is told again afterwards.
        counted_at: When the last of what was counted began; None where that is not known.
    """

    state: State
    severity: Severity
    since: datetime
    breaches: int = 0
    fired_at: datetime | None = None
    clear_since: datetime | None = None
    resolved_at: datetime | None = None
    reason: str | None = None
    peak: float | None = None
    told: Severity | None = None
    acknowledged: Severity | None = None
    held_by: str | None = None
    counted_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether the episode goes on."""
        return self.state is not State.resolved

    @property
    def is_firing(self) -> bool:
        """Whether it has fired and is not over."""
        return self.state in (State.firing, State.recovering)


@dataclass(frozen=True)
class Step:
    """What one evaluation makes of an incident.

    Attributes:
        incident: The incident afterwards; None when there is none (any more).
        notices: What is to be told now.
        held: The notice that something holds back, when that is new; to be recorded, not sent.
    """

    incident: Incident | None
    notices: Sequence[Notice] = ()
    held: Notice | None = None


def advance(
    incident: Incident | None,
    found: Finding,
    policy: Policy,
    *,
    now: datetime,
    held_by: str | None = None,
    last_sent_at: datetime | None = None,
    reason: str = "recovered",
) -> Step:
    """Return what an evaluation makes of an incident.

    Args:
        incident: The open incident of the rule and scope, if there is one.
        found: What the evaluation found.
        policy: What of the rule decides.
        now: Time of the evaluation; may lie before that of the last one.
        held_by: What holds notices back now: a silence, an inhibiting incident, a group.
        last_sent_at: When something of this incident was last sent with success.
        reason: Why it ends, if it ends now.
    """
    breach, clear = _answer(found, policy)
    if incident is None:
        if not breach:
            return Step(None)
        incident = Incident(State.pending, found.severity, since=found.since or now)
    if incident.state is State.pending and not breach and (clear or found.verdict is Verdict.near):
        return Step(None)
    moved = _move(incident, found, policy, breach=breach, clear=clear, now=now, reason=found.reason or reason)
    return _tell(moved, policy, now=now, breach=breach, held_by=held_by, last_sent_at=last_sent_at)


def close(incident: Incident, *, now: datetime, reason: str) -> Step:
    """Return the end of an incident whose rule or scope is gone; whoever was told is told."""
    if incident.state is State.pending:
        return Step(None)
    ended = replace(incident, state=State.resolved, resolved_at=now, reason=reason, held_by=None)
    return Step(ended, _resolved(incident))


def acknowledge(incident: Incident) -> Incident:
    """Return the incident, not repeated any more until it becomes worse than now."""
    return replace(incident, acknowledged=incident.severity)


def _answer(found: Finding, policy: Policy) -> tuple[bool, bool]:
    """Return whether this is a breach and whether it is clear; having no answer is neither."""
    if found.verdict is Verdict.no_traffic:
        return policy.on_no_data == "alert", policy.on_no_data == "ok"
    return found.verdict is Verdict.breach, found.verdict is Verdict.ok


def _move(
    incident: Incident, found: Finding, policy: Policy, *, breach: bool, clear: bool, now: datetime, reason: str
) -> Incident:
    if breach:
        return _breached(incident, found, policy, now)
    if incident.state is State.recovering and found.verdict is Verdict.near:
        return replace(incident, state=State.firing, clear_since=None)
    if not clear:
        return incident
    # The clock may have been set back: what began in the future began now.
    since = min(incident.clear_since or now, now)
    if now - since >= policy.keep_firing_for:
        return replace(incident, state=State.resolved, clear_since=since, resolved_at=now, reason=reason)
    return replace(incident, state=State.recovering, clear_since=since)


def _breached(incident: Incident, found: Finding, policy: Policy, now: datetime) -> Incident:
    worst = found.value if incident.peak is None else max(incident.peak, found.value or incident.peak)
    incident = replace(
        incident,
        severity=found.severity,
        peak=worst,
        clear_since=None,
        since=min(incident.since, found.since or incident.since),
        counted_at=found.counted_at or incident.counted_at,
    )
    if incident.state is State.pending:
        incident = replace(incident, breaches=incident.breaches + 1)
        if incident.breaches < policy.breaches_to_fire and not found.at_once:
            return incident
    return replace(incident, state=State.firing, fired_at=incident.fired_at or now)


def _tell(
    incident: Incident,
    policy: Policy,
    *,
    now: datetime,
    breach: bool,
    held_by: str | None,
    last_sent_at: datetime | None,
) -> Step:
    if incident.state is State.resolved:
        return Step(replace(incident, held_by=None), _resolved(incident))
    # While it recovers nothing is told, and what was held back stays to be told.
    if incident.state in (State.pending, State.recovering):
        return Step(incident)
    is_held = incident.held_by is not None or (held_by or "").startswith(SILENCE)
    notice = _due(incident, policy, now, last_sent_at, breach=breach, is_held=is_held)
    if notice is None:
        return Step(replace(incident, held_by=None) if held_by is None else incident)
    if held_by is not None:
        # A repeat that is suppressed is not worth a record.
        is_new = held_by != incident.held_by and notice != "repeat"
        return Step(replace(incident, held_by=held_by), held=notice if is_new else None)
    told = max(incident.severity, incident.told or incident.severity)
    return Step(replace(incident, told=told, held_by=None), (notice,))


def _due(
    incident: Incident, policy: Policy, now: datetime, last_sent_at: datetime | None, *, breach: bool, is_held: bool
) -> Notice | None:
    if incident.told is None:
        return "firing"
    # Who acknowledged it knew how bad it was, also where a silence kept that from being told.
    if incident.acknowledged is not None and incident.severity <= incident.acknowledged:
        return None
    if incident.severity > incident.told:
        return "worse"
    if last_sent_at is None:
        return None
    # Whoever silenced it is told that it still fires, also when nothing was counted meanwhile.
    if is_held:
        return "repeat"
    # A repetition that has nothing new to say is read by nobody.
    is_news = breach and (incident.counted_at is None or incident.counted_at > last_sent_at)
    return "repeat" if is_news and now - last_sent_at >= policy.repeat_interval else None


def _resolved(incident: Incident) -> tuple[Notice, ...]:
    return () if incident.told is None else ("resolved",)
