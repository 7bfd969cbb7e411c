"""The record of what was found before anything of it was changed: enough to put everything back.

``monitoring.adoption_record`` is filled once, in the transaction of the first change. What others put back later, and a
later ``migrate`` replaces again, is added. Nothing in it is ever overwritten.
"""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, text

from smarttext_pipelines.storage.public_state import STATE, State

RECORD_ONCE = f"""
DO $do$
DECLARE
    path text := current_setting('search_path');
BEGIN
    IF to_regclass('monitoring.adoption_record') IS NULL THEN
        CREATE TABLE monitoring.adoption_record (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, occasion text NOT NULL, kind text NOT NULL,
            object text NOT NULL, state jsonb NOT NULL, recorded_at timestamptz NOT NULL DEFAULT now()
        );
        PERFORM set_config('search_path', 'pg_catalog', true);
        INSERT INTO monitoring.adoption_record (occasion, kind, object, state)
        SELECT 'adoption', s.kind, s.object, s.state FROM ({STATE}) AS s ORDER BY s.kind, s.object;
        PERFORM set_config('search_path', path, true);
    END IF;
END $do$
"""  # noqa: S608 - our own query
"""Create the record with what is there now, unless there is one."""

REVOKED = "revoke-writers"
IS_REVOKED = f"EXISTS (SELECT FROM monitoring.adoption_record WHERE occasion = '{REVOKED}')"
"""SQL: whether the public roles write events no more, by a person's decision."""

_HAS_RECORD = text("SELECT to_regclass('monitoring.adoption_record') IS NOT NULL")
_FOUND = text("SELECT kind, object, state FROM monitoring.adoption_record WHERE occasion = 'adoption'")
_IS_REVOKED = text(f"SELECT {IS_REVOKED}")
_ADD = text(
    """
    INSERT INTO monitoring.adoption_record (occasion, kind, object, state)
    SELECT :occasion, :kind, :object, CAST(:state AS jsonb)
    WHERE NOT EXISTS (
        SELECT FROM monitoring.adoption_record
        WHERE kind = :kind AND object = :object AND state = CAST(:state AS jsonb))
    """
)


def recorded(connection: Connection) -> dict[tuple[str, str], dict[str, Any]] | None:
    """Return what was found first, or None where nothing was recorded yet."""
    if not connection.execute(_HAS_RECORD).scalar_one():
        return None
    return {(row.kind, row.object): row.state for row in connection.execute(_FOUND)}


def add_to_record(connection: Connection, keys: Iterable[tuple[str, str]], found: State) -> None:
    """Record the present state of what is about to be changed, unless that very state is recorded."""
    for kind, name in keys:
        if (kind, name) in found:
            state = json.dumps(found[kind, name])
            connection.execute(_ADD, {"occasion": "put back", "kind": kind, "object": name, "state": state})


def record_revocation(connection: Connection) -> None:
    """Record that a person took the right to write events from the public roles; ``migrate`` does not give it back."""
    connection.execute(_ADD, {"occasion": REVOKED, "kind": "decision", "object": "public", "state": "{}"})


def is_revoked(connection: Connection) -> bool:
    """Tell whether the public roles write events no more, by a person's decision."""
    return bool(connection.execute(_HAS_RECORD).scalar_one() and connection.execute(_IS_REVOKED).scalar_one())
