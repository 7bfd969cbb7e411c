"""The outbox: statements that enqueue, claim and finish a notification.

Each is one transaction of its own, but for ``enqueue``, which belongs to the transaction that opens the incident.

    pending ─claim→ sending ─taken→ sent       ─429→ pending      ─refused→ dead
                            ─no answer→ unknown ─lease over→ unknown; pending, when no request was begun
    unknown ─found→ sent    ─not found→ sending again              ─too often, too late→ dead

Times are the database's, whatever the clocks of the workers say. While it is ``sending``, ``due_at`` is when the
request was begun, and the end of the lease before that: a worker that is killed without having begun one has sent
nothing, and what another began is looked for as soon as the provider must list it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import insert

from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.timing import Timing
from smarttext_pipelines.core.redact import scrub_tree
from smarttext_pipelines.schema.tables.alerting import notifications

DEADLINE = timedelta(hours=24)


@dataclass(frozen=True)
class Enqueued:
    """A notification to enqueue; with a ``note`` it is only recorded as suppressed."""

    incident: int
    sequence: int
    channel: str
    recipient: str
    message: Message
    note: str | None = None


@dataclass(frozen=True)
class Claimed:
    """A notification whose lease this worker holds."""

    id: int
    tag: str
    channel: str
    recipient: str
    message: Message
    attempt: int
    first_attempt_at: datetime
    may_have_arrived: bool
    thread: str | None


# The last is what an older version has claimed, which did not say when it began.
_DUE_AFTER_LEASE = """CASE WHEN due_at = lease_until THEN lease_until
                WHEN may_have_arrived THEN greatest(lease_until, due_at + :least_left + :reconcile)
                ELSE lease_until + :reconcile END"""
_SWEEP = (
    text(
        f"""
        UPDATE monitoring.notifications
        SET status = CASE WHEN may_have_arrived OR due_at < lease_until THEN 'unknown' ELSE 'pending' END,
            may_have_arrived = may_have_arrived OR due_at < lease_until, note = 'lease over',
            due_at = {_DUE_AFTER_LEASE}
        WHERE status = 'sending' AND lease_until < clock_timestamp()
        """  # noqa: S608 - an expression of ours
    ),
    # What a critical notice waits for must not wait longer than it would.
    text(
        """
        UPDATE monitoring.notifications AS n
        SET due_at = clock_timestamp() + :reconcile
        WHERE n.status = 'unknown' AND n.due_at > clock_timestamp() + :reconcile AND n.incident_id <> 0 AND EXISTS (
            SELECT FROM monitoring.notifications AS later
            WHERE later.incident_id = n.incident_id AND later.sequence > n.sequence AND later.status = 'pending'
                AND later.channel = n.channel AND later.recipient = n.recipient AND later.severity = 'critical')
        """
    ),
    text(
        """
        UPDATE monitoring.notifications
        SET status = CASE channel WHEN 'log' THEN 'suppressed' ELSE 'dead' END, finished_at = clock_timestamp(),
            -- The log of an instance that is gone: the others have theirs.
            note = concat_ws('; ', note,
                CASE channel WHEN 'log' THEN 'that instance is gone' ELSE 'past its deadline' END)
        WHERE status IN ('pending', 'unknown') AND deadline_at < clock_timestamp()
        """
    ),
    # The end is for those who may have heard of the begin.
    text(
        """
        UPDATE monitoring.notifications AS n
        SET status = 'suppressed', finished_at = clock_timestamp(), note = 'never told that it began'
        WHERE n.status = 'pending' AND n.kind = 'resolved' AND NOT EXISTS (
            SELECT FROM monitoring.notifications AS earlier
            WHERE earlier.incident_id = n.incident_id AND earlier.sequence < n.sequence
                AND earlier.channel = n.channel AND earlier.recipient = n.recipient
                AND (earlier.status IN ('pending', 'sending', 'unknown', 'sent') OR earlier.may_have_arrived))
        """
    ),
)
_IS_ITS_TURN = """NOT EXISTS (
    SELECT FROM monitoring.notifications AS earlier
    WHERE earlier.incident_id = n.incident_id AND n.incident_id <> 0 AND earlier.sequence < n.sequence
        AND earlier.channel = n.channel AND earlier.recipient = n.recipient
        AND earlier.status IN ('pending', 'sending', 'unknown'))"""
_CLAIM = text(
    f"""
    WITH next AS (
        SELECT n.id, clock_timestamp() + :lease AS lease_until FROM monitoring.notifications AS n
        WHERE n.status IN ('pending', 'unknown') AND n.due_at <= clock_timestamp()
            AND (n.channel, n.recipient) IN (
                SELECT * FROM unnest(CAST(:channels AS text[]), CAST(:recipients AS text[])))
            AND {_IS_ITS_TURN}
        ORDER BY array_position(ARRAY['critical', 'warning', 'info'], n.severity), n.id
        FOR UPDATE OF n SKIP LOCKED
        LIMIT 1
    )
    UPDATE monitoring.notifications AS n
    SET status = 'sending', claimed_by = :worker, lease_until = next.lease_until, due_at = next.lease_until,
        attempts = attempts + 1,
        first_attempt_at = coalesce(first_attempt_at, clock_timestamp())
    FROM next WHERE n.id = next.id
    RETURNING n.id, n.tag, n.channel, n.recipient, n.message, n.attempts, n.first_attempt_at, n.may_have_arrived, (
        SELECT first.provider_id FROM monitoring.notifications AS first
        WHERE first.incident_id = n.incident_id AND first.channel = n.channel AND first.recipient = n.recipient
            AND first.sequence < n.sequence AND first.status = 'sent'
        ORDER BY first.sequence LIMIT 1) AS thread
    """  # noqa: S608 - a condition of ours
)
_BEGIN = text(
    """
    UPDATE monitoring.notifications SET may_have_arrived = true, due_at = clock_timestamp()
    WHERE id = :id AND claimed_by = :worker AND status = 'sending' AND lease_until - clock_timestamp() >= :least_left
    """
)
_FINISH = text(
    """
    UPDATE monitoring.notifications
    SET status = :status, provider_id = coalesce(:provider_id, provider_id), note = :note,
        may_have_arrived = :may_have_arrived,
        due_at = clock_timestamp() + :wait, lease_until = NULL,
        finished_at = CASE WHEN :status IN ('sent', 'dead') THEN clock_timestamp() END
    WHERE id = :id AND claimed_by = :worker AND status IN ('sending', 'unknown')
    """
)
_NEXT_DUE = text(
    f"""
    SELECT extract(epoch FROM min(due) - statement_timestamp()),
           extract(epoch FROM min(due) FILTER (WHERE severity = 'critical') - statement_timestamp())
    FROM monitoring.notifications AS n CROSS JOIN LATERAL (
        SELECT CASE WHEN n.status = 'sending' THEN {_DUE_AFTER_LEASE} ELSE n.due_at END AS due) AS open
    WHERE n.status IN ('pending', 'sending', 'unknown')
        AND (n.channel, n.recipient) IN (SELECT * FROM unnest(CAST(:channels AS text[]), CAST(:recipients AS text[])))
        AND {_IS_ITS_TURN}
    """  # noqa: S608 - a condition of ours
)


def enqueue(connection: Connection, items: Iterable[Enqueued], *, deadline: timedelta = DEADLINE) -> None:
    """Put notifications into the outbox, in the caller's transaction; one that is there already is left alone."""
    rows = [_row(item) for item in items]
    if not rows:
        return
    values: dict[str, Any] = {"deadline_at": text(f"clock_timestamp() + interval '{int(deadline.total_seconds())} s'")}
    statement = insert(notifications).values([row | values for row in rows]).on_conflict_do_nothing()
    connection.execute(statement)


def _row(item: Enqueued) -> dict[str, Any]:
    held = item.note is not None
    return {
        "incident_id": item.incident,
        "sequence": item.sequence,
        "kind": item.message.kind,
        "severity": item.message.severity,
        "channel": item.channel,
        "recipient": item.recipient,
        # A business may be called by a number, a cause may quote one.
        "message": scrub_tree(item.message.as_json(), keep=frozenset({"sender"})),
        "status": "suppressed" if held else "pending",
        "note": item.note,
    }


class Outbox:
    """A worker's view of the outbox, over a connection in autocommit mode."""

    def __init__(self, connection: Connection, worker: str, targets: Sequence[tuple[str, str]], timing: Timing) -> None:
        """Take the channels and recipients that this worker can serve; it touches no others."""
        self._connection, self._worker, self._timing = connection, worker, timing
        self._delays = {"reconcile": timing.reconcile_delay, "least_left": timing.least_left}
        self._served = {"channels": [c for c, _ in targets], "recipients": [r for _, r in targets]}

    def sweep(self) -> None:
        """Take leases that are over back, give up what is too late, suppress the end of what was never told."""
        for statement in _SWEEP:
            self._connection.execute(statement, self._delays if ":reconcile" in statement.text else {})

    def claim(self) -> Claimed | None:
        """Take the lease of the next notification that is due, the most severe first."""
        values = {"worker": self._worker, "lease": self._timing.lease, **self._served}
        row = self._connection.execute(_CLAIM, values).mappings().first()
        if row is None:
            return None
        return Claimed(
            id=row["id"],
            tag=row["tag"],
            channel=row["channel"],
            recipient=row["recipient"],
            message=Message.from_json(row["message"]),
            attempt=row["attempts"],
            first_attempt_at=row["first_attempt_at"],
            may_have_arrived=row["may_have_arrived"],
            thread=row["thread"],
        )

    def begin(self, claimed: Claimed) -> bool:
        """Record that sending begins; False when too little of the lease is left."""
        values = {"id": claimed.id, "worker": self._worker, "least_left": self._timing.least_left}
        return self._connection.execute(_BEGIN, values).rowcount == 1

    def finish(
        self,
        claimed: Claimed,
        status: str,
        *,
        provider_id: str | None = None,
        note: str | None = None,
        may_have_arrived: bool = False,
        wait: timedelta = timedelta(0),
    ) -> bool:
        """Record what became of it; False when another worker holds it meanwhile.

        An answer that it was not taken says nothing about the attempts before it.
        """
        values = {
            "id": claimed.id,
            "worker": self._worker,
            "status": status,
            "provider_id": provider_id,
            "note": note,
            "may_have_arrived": may_have_arrived or claimed.may_have_arrived,
            "wait": wait,
        }
        return self._connection.execute(_FINISH, values).rowcount == 1

    def seconds_until_due(self) -> tuple[float | None, float | None]:
        """Return when the next one may be claimed, and the next critical one; None when none is open."""
        found, critical = self._connection.execute(_NEXT_DUE, {**self._delays, **self._served}).one()
        due, critical_due = (None if seconds is None else max(0.0, float(seconds)) for seconds in (found, critical))
        return due, critical_due
