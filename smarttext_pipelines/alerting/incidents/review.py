"""What people ask of alerting and tell it: list, show, why, acknowledge, silence. Statements for the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.phones import masked_in_sql

Rows = Sequence[dict[str, Any]]

_SCOPES = ("platform", "group", "business:none")
_NAMED_SCOPES = ("sender", "job", "check", "channel", "heartbeat")
"""What stands before the colon in scopes with a name: of senders, and of what the pipeline tells of itself."""

_NAMED = """
    SELECT i.id, i.rule, i.scope,
           CASE WHEN i.business_id IS NULL THEN i.scope ELSE coalesce(b.name, i.scope) END AS whom,
           i.state, i.severity, i.since, i.fired_at, i.resolved_at, i.reason, i.value, i.part, i.whole, i.peak, i.told,
           i.acknowledged_by, i.held_by
    FROM monitoring.incidents AS i LEFT JOIN monitoring.businesses AS b ON b.id = i.business_id
"""
_LIST = text(
    _NAMED
    + " WHERE i.state IN ('firing', 'recovering') OR (:all AND i.fired_at IS NOT NULL) ORDER BY i.id DESC LIMIT 200"
)
_ONE = text(_NAMED + " WHERE i.id = :id")
_MESSAGES = text("SELECT message FROM monitoring.notifications WHERE incident_id = :id ORDER BY sequence DESC LIMIT 1")
_WHY = text(
    """
    SELECT sequence AS no, kind, channel, recipient, status, attempts AS tries, note, created_at, finished_at
    FROM monitoring.notifications WHERE incident_id = :id ORDER BY sequence, channel, recipient
    """
)
_ROWS = text(
    f"""
    SELECT created_at, status, error_code, error_message, message_sid, {masked_in_sql("to_number")} AS recipient
    FROM monitoring.sms_events
    WHERE business_id = (SELECT business_id FROM monitoring.incidents WHERE id = :id)
        AND created_at >= (SELECT since FROM monitoring.incidents WHERE id = :id) - interval '6 hours'
        AND lower(status) IN ('failed', 'undelivered', 'partially_delivered')
    ORDER BY created_at DESC LIMIT :limit
    """  # noqa: S608 - the name of a column of ours
)
_ACKNOWLEDGE = text(
    """
    UPDATE monitoring.incidents SET acknowledged = severity, acknowledged_by = :author
    WHERE id = :id AND state IN ('firing', 'recovering') RETURNING severity
    """
)
_SILENCE = text(
    """
    INSERT INTO monitoring.silences (rule, scope, author, reason, ends_at)
    VALUES (:rule, :scope, :author, :reason, now() + :length) RETURNING id, ends_at
    """
)
_SILENCES = text(
    """
    SELECT id AS silence, coalesce(rule, 'all') AS rule, coalesce(scope, 'all') AS scope, author, reason, starts_at,
           ends_at
    FROM monitoring.silences WHERE ends_at > now() OR :all ORDER BY id
    """
)
_END_SILENCE = text("UPDATE monitoring.silences SET ends_at = now() WHERE id = :id AND ends_at > now() RETURNING id")
_HAS_BUSINESS = text("SELECT EXISTS (SELECT FROM monitoring.businesses WHERE id = :id)")
_STATES = text("SELECT rule, verdict, breaches, note, evaluated_at FROM monitoring.rule_states ORDER BY rule")


@dataclass(frozen=True)
class Why:
    """Why an incident was told or not: the incident, its notices, and what holds the next one back."""

    incident: dict[str, Any]
    notices: Rows


def list_incidents(connection: Connection, *, all_: bool) -> Rows:
    """Return open incidents, or the last two hundred."""
    return [dict(row) for row in connection.execute(_LIST, {"all": all_}).mappings()]


def rule_states(connection: Connection) -> Rows:
    """Return what the last evaluation said of each rule."""
    return [dict(row) for row in connection.execute(_STATES).mappings()]


def find_incident(connection: Connection, number: int) -> dict[str, Any]:
    """Return an incident; raise InputError when there is none."""
    row = connection.execute(_ONE, {"id": number}).mappings().first()
    if row is None:
        msg = f"there is no incident INC-{number}; see `smarttext alerts list --all`"
        raise InputError(msg)
    return dict(row)


def last_message(connection: Connection, number: int) -> dict[str, Any] | None:
    """Return the last notice of an incident as the outbox keeps it."""
    found: dict[str, Any] | None = connection.execute(_MESSAGES, {"id": number}).scalar()
    return found


def failed_rows(connection: Connection, number: int, limit: int) -> Rows:
    """Return the failed rows of the incident's business since six hours before it began; numbers are masked."""
    return [dict(row) for row in connection.execute(_ROWS, {"id": number, "limit": limit}).mappings()]


def why(connection: Connection, number: int) -> Why:
    """Return for every recipient what was sent or held back, and by what."""
    incident = find_incident(connection, number)
    return Why(incident, [dict(row) for row in connection.execute(_WHY, {"id": number}).mappings()])


def acknowledge(connection: Connection, number: int, author: str) -> tuple[str, str | None]:
    """Stop the repeats of an open incident until it becomes worse; return its severity, and who did so before."""
    before: str | None = find_incident(connection, number)["acknowledged_by"]
    severity: str | None = connection.execute(_ACKNOWLEDGE, {"id": number, "author": author}).scalar()
    if severity is None:
        msg = f"INC-{number} is not open; there is nothing to acknowledge"
        raise InputError(msg)
    return severity, before


def silence(
    connection: Connection, *, rule: str | None, scope: str | None, author: str, reason: str, length: timedelta
) -> tuple[int, Any]:
    """Hold notices back for a while; return the silence's number and its end.

    Raises:
        InputError: No incident can have that scope.
    """
    scope = None if scope is None else _known_scope(connection, scope)
    values = {"rule": rule, "scope": scope, "author": author, "reason": reason, "length": length}
    row = connection.execute(_SILENCE, values).one()
    return row.id, row.ends_at


def silences(connection: Connection, *, all_: bool) -> Rows:
    """Return the silences that count now or will, or all there ever were."""
    return [dict(row) for row in connection.execute(_SILENCES, {"all": all_}).mappings()]


def end_silence(connection: Connection, number: int) -> None:
    """End a silence now; raise InputError when it does not count any more, or never was."""
    if connection.execute(_END_SILENCE, {"id": number}).scalar() is None:
        msg = f"there is no silence {number} that still counts; see `smarttext alerts silences`"
        raise InputError(msg)


def _known_scope(connection: Connection, scope: str) -> str:
    """Return a scope as incidents have it; raise InputError for one that none can have."""
    kind, _, name = scope.partition(":")
    if kind == "business" and name != "none":
        try:
            business = UUID(name)
        except ValueError:
            msg = f"'{name}' is no id of a business; write business:<id>, see `smarttext alerts list`"
            raise InputError(msg) from None
        if not connection.execute(_HAS_BUSINESS, {"id": business}).scalar():
            msg = f"no business has the id {business}"
            raise InputError(msg)
        return f"business:{business}"
    if scope not in _SCOPES and not (kind in _NAMED_SCOPES and name):
        kinds = ", ".join([*_SCOPES, "business:<id>", *(f"{kind}:…" for kind in _NAMED_SCOPES)])
        msg = f"'{scope}' is no scope; write one of {kinds}"
        raise InputError(msg)
    return scope
