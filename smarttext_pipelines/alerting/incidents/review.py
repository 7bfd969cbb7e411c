"""What people ask of alerting and do there: list, show, why, acknowledge, silence, resolve."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.incidents.known_scopes import known_scope
from smarttext_pipelines.alerting.rules.span import with_scopes
from smarttext_pipelines.alerting.signals import mark_well
from smarttext_pipelines.core.errors import InputError

Rows = Sequence[dict[str, Any]]

_NAMED = """
    SELECT i.id, i.rule, i.scope, coalesce(b.name, {sender}, i.scope) AS whom,
           i.state, i.severity, i.since, i.fired_at, i.resolved_at, i.reason, i.value, i.part, i.whole, i.peak, i.told,
           i.acknowledged_by, i.held_by, i.detail,
           (SELECT 'silence ' || s.id || ' by ' || s.author FROM monitoring.silences AS s
            WHERE coalesce(s.rule, i.rule) = i.rule AND coalesce(s.scope, i.scope) = i.scope
                AND now() BETWEEN s.starts_at AND s.ends_at ORDER BY s.ends_at DESC LIMIT 1) AS silenced_by
    FROM monitoring.incidents AS i LEFT JOIN monitoring.business_names AS b ON b.id = i.business_id
"""
_NUMBER = with_scopes("""CASE WHEN i.scope LIKE 'sender:%' THEN (
               SELECT 'sender ' || coalesce(
                   (SELECT min(o.twilio_phone) FROM monitoring.businesses AS o
                    WHERE sender_scope(o.twilio_phone) = i.scope),
                   -- A number that several businesses share: its notices have it.
                   (SELECT max(n.message ->> 'sender') FROM monitoring.notifications AS n
                    WHERE n.incident_id = i.id AND n.message ->> 'sender' <> ''))) END""")
_NO_NUMBER = "CASE WHEN i.scope LIKE 'sender:%' THEN 'a sender' END"
SHOWN = 200
"""How many incidents are listed at most; ``count_open`` counts all."""

_WHICH = f""" WHERE ((:open AND i.state IN ('firing', 'recovering'))
                     OR (:past AND i.state NOT IN ('firing', 'recovering') AND i.fired_at IS NOT NULL))
          AND i.scope = coalesce(:scope, i.scope)
      ORDER BY i.state = 'resolved', array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.id DESC
      LIMIT {SHOWN}"""
_LIST, _LIST_WITHOUT = (text(_NAMED.replace("{sender}", sender) + _WHICH) for sender in (_NUMBER, _NO_NUMBER))
_ONE, _ONE_WITHOUT = (
    text(_NAMED.replace("{sender}", sender) + " WHERE i.id = :id") for sender in (_NUMBER, _NO_NUMBER)
)
_COUNT_OPEN = text(
    """
    SELECT severity, count(*) AS incidents FROM monitoring.incidents
    WHERE state IN ('firing', 'recovering') AND scope = coalesce(:scope, scope) GROUP BY severity
    """
)
_SEES_NUMBERS = text("SELECT has_table_privilege('monitoring.businesses', 'SELECT')")
_MESSAGES = text("SELECT message FROM monitoring.notifications WHERE incident_id = :id ORDER BY sequence DESC LIMIT 1")
_WHY = text(
    """
    SELECT sequence AS no, kind, channel, recipient, status, attempts AS tries, note, created_at, finished_at
    FROM monitoring.notifications WHERE incident_id = :id ORDER BY sequence, channel, recipient
    """
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
_SAME_SILENCE = text(
    """
    SELECT id, ends_at FROM monitoring.silences
    WHERE rule IS NOT DISTINCT FROM :rule AND scope IS NOT DISTINCT FROM :scope
        AND ends_at >= now() + :length - interval '1 minute'
    ORDER BY ends_at DESC LIMIT 1
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
_STATES = text("SELECT rule, verdict, breaches, note, evaluated_at FROM monitoring.rule_states ORDER BY rule")


@dataclass(frozen=True)
class Why:
    """Why an incident was told or not: the incident, its notices, and what holds the next one back."""

    incident: dict[str, Any]
    notices: Rows


def list_incidents(connection: Connection, *, all_: bool, scope: str | None = None) -> Rows:
    """Return open incidents, with ``all_`` also past ones, of one scope or of all, ``SHOWN`` at most.

    A sender has its number for who may read that.
    """
    return _listed(connection, {"open": True, "past": all_, "scope": scope})


def past_incidents(connection: Connection, scope: str | None = None) -> Rows:
    """Return incidents that are over, the most severe first, ``SHOWN`` at most, however many are open."""
    return _listed(connection, {"open": False, "past": True, "scope": scope})


def count_open(connection: Connection, scope: str | None = None) -> dict[str, int]:
    """Return how many incidents are open, by severity, however many are listed."""
    return {severity: count for severity, count in connection.execute(_COUNT_OPEN, {"scope": scope})}


def _listed(connection: Connection, which: dict[str, Any]) -> Rows:
    statement = _LIST if _sees_numbers(connection) else _LIST_WITHOUT
    return [dict(row) for row in connection.execute(statement, which).mappings()]


def rule_states(connection: Connection) -> Rows:
    """Return what the last evaluation said of each rule."""
    return [dict(row) for row in connection.execute(_STATES).mappings()]


def find_incident(connection: Connection, number: int) -> dict[str, Any]:
    """Return an incident; raise InputError when there is none."""
    statement = _ONE if _sees_numbers(connection) else _ONE_WITHOUT
    row = connection.execute(statement, {"id": number}).mappings().first()
    if row is None:
        msg = f"there is no incident INC-{number}; see `smarttext alerts list --all`"
        raise InputError(msg)
    return dict(row)


def last_message(connection: Connection, number: int) -> dict[str, Any] | None:
    """Return the last notice of an incident as the outbox keeps it."""
    found: dict[str, Any] | None = connection.execute(_MESSAGES, {"id": number}).scalar()
    return found


def why(connection: Connection, number: int) -> Why:
    """Return for every recipient what was sent or suppressed, and by what."""
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
    connection: Connection,
    *,
    rule: str | None,
    scope: str | None,
    author: str,
    reason: str,
    length: timedelta,
    shared_senders: Sequence[str] = (),
) -> tuple[int, Any, bool]:
    """Suppress notices for a while; return the silence's number, its end, and whether there was one already.

    Raises:
        InputError: No incident can have that scope.
    """
    scope = None if scope is None else known_scope(connection, scope, shared_senders)
    values = {"rule": rule, "scope": scope, "author": author, "reason": reason, "length": length}
    before = connection.execute(_SAME_SILENCE, values).first()
    row = before or connection.execute(_SILENCE, values).one()
    return row.id, row.ends_at, before is not None


def silences(connection: Connection, *, all_: bool) -> Rows:
    """Return the silences that count now or will, or all there ever were."""
    return [dict(row) for row in connection.execute(_SILENCES, {"all": all_}).mappings()]


def end_silence(connection: Connection, number: int) -> None:
    """End a silence now; raise InputError when it does not count any more, or never was."""
    if connection.execute(_END_SILENCE, {"id": number}).scalar() is None:
        msg = f"there is no silence {number} that still counts; see `smarttext alerts silences`"
        raise InputError(msg)


def _sees_numbers(connection: Connection) -> bool:
    return bool(connection.execute(_SEES_NUMBERS).scalar())


def mark_resolved(connection: Connection, number: int, author: str) -> bool:
    """End what the pipeline reported for an incident, because a person says so; False where it was over already.

    Raises:
        InputError: It is not one that a person may end: its rule looks at events and ends it by itself.
    """
    incident = find_incident(connection, number)
    kind = incident["scope"].split(":")[0]
    if kind not in ("run", "check", "heartbeat", "job"):
        msg = f"INC-{number} ends by itself; `smarttext alerts silence {number} --for 2h` suppresses its notices"
        raise InputError(msg)
    return mark_well(connection, incident["scope"], author)
