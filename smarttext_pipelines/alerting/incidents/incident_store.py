"""Incidents in the database: read the open ones, write what an evaluation made of them. One statement each.

Rows travel as one JSON document, so that a thousand of them are not a thousand statements.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.incidents.lifecycle import Incident, Severity, State
from smarttext_pipelines.alerting.rules.rule_tables import Key
from smarttext_pipelines.alerting.rules.span import Scope, Span

_SEVERITIES = ("severity", "told", "acknowledged")


@dataclass(frozen=True)
class Stored:
    """An incident with what only the database knows of it.

    Attributes:
        id: Its number; None until it is written.
        key: Rule and scope.
        kind: Kind of the scope.
        business_id: Business of the scope.
        incident: The episode.
        sequence: Number of the last notice.
        value: Value, k and n at the last evaluation.
        muted_by: Baseline or group that tells of it.
        muted_severity: Up to which severity that does.
        last_sent_at: When something of it was last sent; None also while something waits to be sent.
        span: What the value was counted over; None where nothing was measured.
        detail: What the measurement said of the scope.
    """

    id: int | None
    key: Key
    business_id: UUID | None
    incident: Incident
    sequence: int = 0
    value: tuple[float, float, float] | None = None
    muted_by: str | None = None
    muted_severity: Severity | None = None
    last_sent_at: datetime | None = None
    span: Span | None = None
    detail: str | None = None

    @property
    def kind(self) -> str:
        """Kind of the scope."""
        scope = self.key[1]
        return scope if scope == "platform" else scope.split(":", 1)[0]


_OPEN = text(
    """
    SELECT i.*, CASE WHEN n.is_waiting THEN NULL ELSE n.last_sent_at END AS last_sent_at
    FROM monitoring.incidents AS i
    LEFT JOIN LATERAL (
        SELECT max(finished_at) FILTER (WHERE status = 'sent') AS last_sent_at,
               bool_or(status IN ('pending', 'sending', 'unknown')) AS is_waiting
        FROM monitoring.notifications WHERE incident_id = i.id
    ) AS n ON true
    WHERE i.state <> 'resolved'
    """
)
_COLUMNS = (
    "rule", "scope", "business_id", "state", "severity", "since", "breaches", "fired_at", "clear_since", "resolved_at",
    "reason", "value", "part", "whole", "peak", "told", "held_by", "muted_by", "muted_severity", "sequence",
    "evaluated_at", "counted_at", "window_minutes", "window_start", "window_end", "apart", "detail",
)  # fmt: skip
"""What an evaluation writes; who acknowledged belongs to people, who may do so while it runs."""

_INSERT = text(
    f"""
    INSERT INTO monitoring.incidents ({", ".join(_COLUMNS)})
    SELECT {", ".join(_COLUMNS)} FROM jsonb_populate_recordset(NULL::monitoring.incidents, CAST(:rows AS jsonb))
    RETURNING id, rule, scope
    """  # noqa: S608 - constant names
)
_UPDATE = text(
    f"""
    UPDATE monitoring.incidents AS i SET ({", ".join(_COLUMNS)}) = ROW ({", ".join(f"new.{c}" for c in _COLUMNS)})
    FROM jsonb_populate_recordset(NULL::monitoring.incidents, CAST(:rows AS jsonb)) AS new
    WHERE i.id = new.id
    """  # noqa: S608 - constant names
)
_DELETE = text("DELETE FROM monitoring.incidents WHERE id = ANY (:ids) AND state = 'pending'")


def read_open(connection: Connection) -> dict[Key, Stored]:
    """Return the open incidents by rule and scope."""
    return {stored.key: stored for stored in map(_stored, connection.execute(_OPEN).mappings())}


def _stored(row: Mapping[Any, Any]) -> Stored:
    values = {each.name: row[each.name] for each in fields(Incident)}
    values |= {name: Severity[row[name]] if row[name] else None for name in _SEVERITIES}
    peak = None if row["peak"] is None else float(row["peak"])
    muted = row["muted_severity"]
    value = None if row["value"] is None else (float(row["value"]), float(row["part"] or 0), float(row["whole"] or 0))
    return Stored(
        id=row["id"],
        key=(row["rule"], row["scope"]),
        business_id=row["business_id"],
        incident=Incident(**{**values, "state": State(row["state"]), "peak": peak}),
        sequence=row["sequence"],
        value=value,
        muted_by=row["muted_by"],
        muted_severity=Severity[muted] if muted else None,
        last_sent_at=row.get("last_sent_at"),
        span=span_of(row),
        detail=row["detail"],
    )


def span_of(row: Mapping[Any, Any]) -> Span | None:
    """Return what the value of an incident was counted over."""
    if row["window_start"] is None:
        return None
    bounds = (row["window_start"], row["window_end"], row["window_minutes"])
    return Span(Scope.parse(row["scope"]), *bounds, business_id=row["business_id"], apart=row["apart"])


def write(connection: Connection, changed: Sequence[Stored], gone: Iterable[Stored], now: datetime) -> list[Stored]:
    """Write incidents; return them with their numbers. Those that are gone were pending, and nobody heard of them."""
    new = [_row(stored, now) for stored in changed if stored.id is None]
    ids: dict[Key, int] = {}
    if new:
        found = connection.execute(_INSERT, {"rows": json.dumps(new, default=str)})
        ids = {(row.rule, row.scope): row.id for row in found}
    old = [_row(stored, now) for stored in changed if stored.id is not None]
    if old:
        connection.execute(_UPDATE, {"rows": json.dumps(old, default=str)})
    if vanished := [stored.id for stored in gone if stored.id is not None]:
        connection.execute(_DELETE, {"ids": vanished})
    return [stored if stored.id is not None else replace(stored, id=ids[stored.key]) for stored in changed]


def _row(stored: Stored, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {each.name: getattr(stored.incident, each.name) for each in fields(Incident)}
    values |= {name: _name(values[name]) for name in _SEVERITIES}
    value, part, whole = stored.value or (None, None, None)
    span = stored.span
    return values | {
        "id": stored.id,
        "rule": stored.key[0],
        "scope": stored.key[1],
        "business_id": stored.business_id,
        "state": stored.incident.state.value,
        "value": value,
        "part": part,
        "whole": whole,
        "muted_by": stored.muted_by,
        "muted_severity": _name(stored.muted_severity),
        "sequence": stored.sequence,
        "evaluated_at": now,
        "window_minutes": span.minutes if span else None,
        "window_start": span.start_at if span else None,
        "window_end": span.end_at if span else None,
        "apart": span.apart if span else None,
        "detail": stored.detail,
    }


def _name(severity: Severity | None) -> str | None:
    return None if severity is None else severity.name
