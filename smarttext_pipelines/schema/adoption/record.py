"""The record of what was found before anything of it was changed: enough to put everything back.

``monitoring.adoption_record`` is filled once, in the transaction of the first change. What others restore later, and a
later ``migrate`` replaces again, is added. Nothing in it is ever overwritten.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, text

from smarttext_pipelines.schema.public_state import STATE, VIEWS

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
"""SQL: whether a person has revoked the public roles' right to write events."""

_HAS_RECORD = text("SELECT to_regclass('monitoring.adoption_record') IS NOT NULL")
_FOUND = text("SELECT kind, object, state FROM monitoring.adoption_record WHERE occasion = 'adoption'")
_IS_REVOKED = text(f"SELECT {IS_REVOKED}")
_ADD = """
DO $do$
DECLARE
    path CONSTANT text := current_setting('search_path');
BEGIN
    PERFORM set_config('search_path', 'pg_catalog', true);
    INSERT INTO monitoring.adoption_record (occasion, kind, object, state)
    SELECT '{occasion}', s.kind, s.object, s.state FROM ({found}) AS s
    WHERE s.state IS DISTINCT FROM (
        SELECT r.state FROM monitoring.adoption_record AS r
        WHERE r.kind = s.kind AND r.object = s.object ORDER BY r.id DESC LIMIT 1);
    PERFORM set_config('search_path', path, true);
END $do$
"""


_LATER = text(
    "SELECT DISTINCT ON (kind, object) kind, object, state FROM monitoring.adoption_record "  # noqa: S608 - constant
    f"WHERE occasion = 'put back' AND (kind IN ('view', 'function') OR object ~ '^({'|'.join(VIEWS)})[.]') "
    "AND strpos(coalesce(state ->> 'definition', ''), 'monitoring.') = 0 ORDER BY kind, object, id DESC"
)
_BEFORE_DOWN = text("SELECT kind, object, state FROM monitoring.adoption_record WHERE occasion = 'down'")
_INSERT = """
DO $do$
DECLARE
    path CONSTANT text := current_setting('search_path');
BEGIN
    PERFORM set_config('search_path', 'pg_catalog', true);
    INSERT INTO monitoring.adoption_record (occasion, kind, object, state)
    SELECT '{occasion}', s.kind, s.object, s.state FROM ({found}) AS s ORDER BY s.kind, s.object;
    PERFORM set_config('search_path', path, true);
END $do$
"""


def has_record(connection: Connection) -> bool:
    """Return whether anything was recorded."""
    return bool(connection.execute(_HAS_RECORD).scalar_one())


def later_definitions(connection: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the newest state of each view, its columns, and function that the application put in place of ours."""
    return {(row.kind, row.object): row.state for row in connection.execute(_LATER)}


def before_down(connection: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what was in ``public`` before the way down."""
    return {(row.kind, row.object): row.state for row in connection.execute(_BEFORE_DOWN)}


def record_down(revision: str) -> str:
    """Return the statement that records what is there before the way down, and the revision."""
    own = f"SELECT 'revision' AS kind, {_literal(revision)} AS object, '{{}}'::jsonb AS state"
    return _INSERT.format(occasion="down", found=f"{STATE} UNION ALL {own}")


def forget_adoption() -> list[str]:
    """Return the statements that make the next ``migrate`` adopt again; what was recorded stays under another name."""
    return [
        "UPDATE monitoring.adoption_record SET occasion = 'earlier ' || occasion "
        "WHERE occasion IN ('adoption', 'put back')",
        "DELETE FROM monitoring.installed_objects",
        "DELETE FROM monitoring.alembic_version",
    ]


def record_again() -> str:
    """Return the statement that records what an adoption after the way down finds."""
    return _INSERT.format(occasion="adoption", found=STATE)


def finish_down() -> list[str]:
    """Return the statements that end the way down: the revision is that of before."""
    return [
        "INSERT INTO monitoring.alembic_version (version_num) "
        "SELECT object FROM monitoring.adoption_record WHERE occasion = 'down' AND kind = 'revision'",
        "UPDATE monitoring.adoption_record SET occasion = 'earlier down' WHERE occasion = 'down'",
    ]


def recorded(connection: Connection) -> dict[tuple[str, str], dict[str, Any]] | None:
    """Return what was found originally, or None where nothing was recorded yet."""
    if not connection.execute(_HAS_RECORD).scalar_one():
        return None
    return {(row.kind, row.object): row.state for row in connection.execute(_FOUND)}


def add_to_record(keys: Iterable[tuple[str, str]]) -> str:
    """Return the statement that records the present state of what is about to change, unless it is recorded already."""
    wanted = ", ".join(f"({_literal(kind)}, {_literal(name)})" for kind, name in keys)
    found = f"SELECT f.* FROM ({STATE}) AS f WHERE (f.kind, f.object) IN ({wanted})"  # noqa: S608 - quoted
    return _ADD.format(occasion="put back", found=found)


def record_revocation() -> str:
    """Return the statement that records that a person revoked the public roles' right to write events, for good."""
    found = "SELECT 'decision' AS kind, 'public' AS object, '{}'::jsonb AS state"
    return _ADD.format(occasion=REVOKED, found=found)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def is_revoked(connection: Connection) -> bool:
    """Return whether a person has revoked the public roles' right to write events."""
    return bool(connection.execute(_HAS_RECORD).scalar_one() and connection.execute(_IS_REVOKED).scalar_one())
