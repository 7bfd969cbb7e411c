"""Delivery: takes what is due from the outbox, one by one, and sends it. No transaction is open during a request."""

import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Engine

from smarttext_pipelines.alerting.channels.channel import (
    Channel,
    Delivery,
    Later,
    LookUpError,
    Outcome,
    Rejected,
    Sent,
    Unclear,
)
from smarttext_pipelines.alerting.notify.outbox import Claimed, Outbox
from smarttext_pipelines.alerting.notify.timing import CRITICAL, Timing
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.sentry.capture import capture_failure

STANDARD = Timing()
_MORE_LOOKS = 2
"""With the time that each may take, and that sending takes after them, still shorter than the lease."""

_LOOK_AGAIN_SECONDS = 1.0
_LATER_SECONDS = 0.05
"""Beyond the instant at which something is due: never a loop that finds nothing."""


@dataclass
class Delivered:
    """What one call of ``deliver`` did.

    Attributes:
        counts: Notifications by what became of them: sent, found, later, unknown, dead, released, fenced.
        next_due_seconds: When the next one is due; None when the outbox holds nothing for these channels.
        next_critical_seconds: The same of critical ones.
    """

    counts: Counter[str] = field(default_factory=Counter)
    next_due_seconds: float | None = None
    next_critical_seconds: float | None = None

    @property
    def needs_a_run(self) -> bool:
        """Whether something waits that could not be done within the budget, or something critical is not done."""
        return self.next_due_seconds == 0 or self.next_critical_seconds is not None


def worker_name() -> str:
    """Return a name that no other worker has or had."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def deliver(
    engine: Engine,
    channels: Sequence[Channel],
    *,
    budget_seconds: float = 30.0,
    timing: Timing = STANDARD,
    look_up: bool = True,
    wait: Callable[[float], None] | None = None,
    at: Callable[[str], None] = lambda _point: None,
) -> Delivered:
    """Send what is due until nothing is, or the budget is spent.

    Args:
        engine: Event database.
        channels: Channels that this process has; rows of others are left alone.
        budget_seconds: After that nothing more is claimed.
        timing: Lease and delays.
        look_up: Whether a provider is asked before something is sent again; only tests say no.
        wait: Waits that many seconds for a critical notice that becomes due within the budget; None does not wait.
        at: Called at the named points of the protocol: claimed, looked_up, confirmed, answered, finished.

    Raises:
        DatabaseError: The database is away; what was claimed is looked for when its lease is over.
    """
    by_target = {(channel.name, recipient): channel for channel in channels for recipient in channel.recipients}
    # An older version named no instance: whoever has a log takes what is left of it.
    by_target |= {(channel.name, "log"): channel for channel in channels if channel.name == "log"}
    done, until = Delivered(), time.monotonic() + budget_seconds
    with connected(engine, isolation="AUTOCOMMIT") as connection:
        outbox = Outbox(connection, worker_name(), list(by_target), timing)
        outbox.sweep()
        while time.monotonic() < until:
            claimed = outbox.claim()
            if claimed is None:
                _, seconds = outbox.seconds_until_due()
                if wait is None or seconds is None or seconds > until - time.monotonic():
                    break
                wait(seconds + _LATER_SECONDS)
                outbox.sweep()
                continue
            at("claimed")
            done.counts[_handle(outbox, by_target, claimed, timing, look_up=look_up, at=at)] += 1
            at("finished")
        done.next_due_seconds, done.next_critical_seconds = outbox.seconds_until_due()
    return done


def _handle(
    outbox: Outbox,
    channels: Mapping[tuple[str, str], Channel],
    claimed: Claimed,
    timing: Timing,
    *,
    look_up: bool,
    at: Callable[[str], None],
) -> str:
    """Bring one claimed notification as far as it gets; return what became of it."""
    channel = channels[claimed.channel, claimed.recipient]
    delivery = Delivery(
        claimed.tag, claimed.recipient, claimed.message, claimed.attempt, claimed.first_attempt_at, claimed.thread
    )
    if claimed.may_have_arrived and look_up:
        try:
            found = _find(channel, delivery)
        except LookUpError as error:
            return _wait(outbox, claimed, timing, f"look-up: {error}", was_sent=False)
        at("looked_up")
        if found:
            note = "found at the provider"
            return _said(outbox.finish(claimed, "sent", provider_id=found.provider_id, note=note), "found")
    if not outbox.begin(claimed):
        return _said(outbox.finish(claimed, "pending", note="too little of the lease was left"), "released")
    at("confirmed")
    try:
        outcome = channel.send(delivery)
    except Exception as error:  # noqa: BLE001 - one that a channel fails at must not stop those after it
        outcome = Unclear(type(error).__name__)
    at("answered")
    return _record(outbox, claimed, outcome, timing)


def _find(channel: Channel, delivery: Delivery) -> Sent | None:
    """Ask the provider; for a critical notice a few times, because a look costs nothing and a minute may count."""
    more = _MORE_LOOKS if delivery.message.severity == CRITICAL else 0
    while True:
        try:
            return channel.find(delivery)
        except LookUpError:
            if not more:
                raise
        except Exception as error:
            raise LookUpError(type(error).__name__) from error
        more -= 1
        time.sleep(_LOOK_AGAIN_SECONDS)


def _record(outbox: Outbox, claimed: Claimed, outcome: Outcome, timing: Timing) -> str:
    match outcome:
        case Sent(provider_id):
            return _said(outbox.finish(claimed, "sent", provider_id=provider_id), "sent")
        case Rejected(reason):
            return _dead(outbox, claimed, scrub(reason))
        case Later(seconds, reason):
            wait = timedelta(seconds=seconds)
            return _said(outbox.finish(claimed, "pending", note=scrub(reason), wait=wait), "later")
        case Unclear(reason):
            return _wait(outbox, claimed, timing, reason, was_sent=True)


def _wait(outbox: Outbox, claimed: Claimed, timing: Timing, reason: str, *, was_sent: bool) -> str:
    severity = claimed.message.severity
    if timing.is_given_up(severity, claimed.attempt):
        note = f"{scrub(reason)}; given up after {claimed.attempt} attempts"
        return _dead(outbox, claimed, note, may_have_arrived=True)
    wait = timing.pause(severity, claimed.attempt, was_sent=was_sent)
    return _said(outbox.finish(claimed, "unknown", note=scrub(reason), may_have_arrived=True, wait=wait), "unknown")


def _dead(outbox: Outbox, claimed: Claimed, note: str, *, may_have_arrived: bool = False) -> str:
    is_ours = outbox.finish(claimed, "dead", note=note, may_have_arrived=may_have_arrived)
    if is_ours:
        tags = {"channel": claimed.channel, "incident": str(claimed.message.incident)}
        capture_failure("delivery", claimed.tag, f"{claimed.channel}: given up: {note}", tags=tags)
    return _said(is_ours, "dead")


def _said(is_ours: bool, outcome: str) -> str:
    return outcome if is_ours else "fenced"
