"""The one way to a database: URLs, session settings, and errors as one line without row data.

Every session runs in UTC, and a role that would see a filtered table gets an error, not zeros.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from smarttext_pipelines.core.errors import DatabaseError, DeadlockError, SchemaError, SettingsError
from smarttext_pipelines.core.redact import scrub

if TYPE_CHECKING:
    import psycopg

ROW_SECURITY = """
DO $$ BEGIN
    PERFORM set_config('row_security', CASE WHEN (
        SELECT bool_and(EXISTS (
                SELECT FROM pg_policy AS p
                WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd = '*' AND r.oid = ANY (p.polroles)
                    AND pg_get_expr(p.polqual, c.oid) = 'true' AND pg_get_expr(p.polwithcheck, c.oid) = 'true'
            ) AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND NOT p.polpermissive))
        FROM pg_class AS c JOIN pg_roles AS r ON r.rolname = current_user
        WHERE c.relrowsecurity AND c.relnamespace = to_regnamespace('public')
            AND c.relname IN ('businesses', 'call_events', 'sms_events', 'api_usage', 'owner_alerts', 'daily_stats')
            AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE')
                 OR has_any_column_privilege(c.oid, 'SELECT'))
    ) THEN 'on' ELSE 'off' END, false);
END $$
"""
"""Let policies decide only where they show this role every row of every table it may use; else they raise an error."""

_SESSION = (
    "SET timezone = 'UTC'",
    ROW_SECURITY,
    "SET lock_timeout = '60s'",
    "SET statement_timeout = '60min'",
    "SET idle_in_transaction_session_timeout = '10min'",
)
_MISSING = {"42P01": "table", "42703": "column", "3F000": "schema", "42883": "function"}
_FILTERED = "42501"
_REQUIRED = "23502"
_ABOUT_THE_SESSION = ("08", "25", "26", "28", "3D", "40", "53", "55", "57", "58", "XX")
_LOCKED, _BUILT_ON, _DEADLOCK = "55P03", "2BP01", "40P01"


def parse_url(text: str) -> URL:
    """Return a URL for psycopg 3, for any driver the text names; raise SettingsError for anything but PostgreSQL."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        message = "the database URL cannot be read; write it as postgresql://USER:PASSWORD@HOST:5432/NAME"
        raise SettingsError(message)
    if any("@" in (part or "") for part in (url.host, url.database)):
        # Parsed as written, half of the password would be taken for the host, and shown.
        message = "the password of the database URL holds an @; write it as %40, and / as %2F, # as %23"
        raise SettingsError(message)
    return url.set(drivername="postgresql+psycopg")


def describe(url: URL) -> str:
    """Return host, port and database of a URL, without user and password."""
    return f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"


def open_engine(text: str) -> Engine:
    """Return an engine without a pool: processes are short-lived or idle, and connections few."""
    engine = create_engine(parse_url(text), poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: "psycopg.Connection[Any]", _record: object) -> None:
        connection.autocommit = True
        for statement in _SESSION:
            connection.execute(statement)
        connection.autocommit = False

    return engine


@contextmanager
def connected(engine: Engine, *, isolation: str | None = None) -> Iterator[Connection]:
    """Give a connection; turn what the driver raises into one line that says what to do.

    Args:
        engine: Result of ``open_engine``.
        isolation: ``AUTOCOMMIT`` or ``REPEATABLE READ``; default is READ COMMITTED.

    Raises:
        DatabaseError: The server cannot be reached, or a statement failed.
        DeadlockError: The server rolled this transaction back for another one's sake.
        SchemaError: A table, column, schema or function does not exist.
    """
    try:
        with engine.connect() as connection:
            yield connection.execution_options(isolation_level=isolation) if isolation else connection
    except DBAPIError as error:
        raise explain(error, engine.url) from None


def explain(error: DBAPIError, url: URL) -> DatabaseError:
    """Return the error in one line, redacted; DETAIL is left out, because it quotes rows."""
    state = getattr(error.orig, "sqlstate", None)
    diagnosis = getattr(error.orig, "diag", None)
    first = (getattr(diagnosis, "message_primary", None) or "").splitlines()[:1]
    said = scrub(first[0]) if first else ""
    place = describe(url)
    if not said and (error.connection_invalidated or state is None):
        reason = (
            scrub(str(error.orig).strip().splitlines()[0].split("failed: ")[-1])
            if str(error.orig).strip()
            else "no answer"
        )
        return DatabaseError(
            f"PostgreSQL at {place} cannot be used: {reason}; check SMARTTEXT_DATABASE_URL and the server"
        )
    if state in _MISSING:
        return SchemaError(f"{place} has no such {_MISSING[state]}: {said}; run `smarttext migrate --check`")
    if state == _FILTERED:
        return _denied(said, place, url.username or "")
    if state == _REQUIRED and "contains null values" in said:
        return SchemaError(f"{said}: {place} has rows but lacks this required column; add and fill it, then migrate")
    kind = DeadlockError if state == _DEADLOCK else DatabaseError
    return kind(f"PostgreSQL at {place} refused ({state}): {said}{_advice(state, said)}")


def _denied(said: str, place: str, role: str) -> DatabaseError:
    if "row-level security" in said:
        return DatabaseError(
            f"{said}; the role '{role}' would see a filtered table: use the owner or a role with BYPASSRLS, "
            "or run `smarttext migrate` if `--roles` made it"
        )
    if role.startswith("smarttext_"):
        return DatabaseError(
            f"{said}: {role} may not do this; use smarttext_pipeline, smarttext_retention for `retention` and "
            "`erase`, or the owner for `migrate`, or run `smarttext migrate` if that role should be able to"
        )
    return DatabaseError(f"{said} at {place}; connect as the owner of the tables or grant the role what it lacks")


def is_about_a_row(error: DBAPIError) -> bool:
    """Return whether the server refused the row, not the session: another row may be accepted."""
    state = getattr(error.orig, "sqlstate", None) or ""
    is_answer = bool(state) and not error.connection_invalidated
    return is_answer and state[:2] not in _ABOUT_THE_SESSION and state != _FILTERED


def name_refusal(error: DBAPIError) -> str:
    """Return why a row was refused, with the constraint or column, and without a value of it."""
    diagnosis = getattr(error.orig, "diag", None)
    column, constraint = getattr(diagnosis, "column_name", None), getattr(diagnosis, "constraint_name", None)
    if constraint:
        return f"constraint {constraint}"
    if column:
        return f"column {column} must not be NULL"
    state = getattr(error.orig, "sqlstate", None) or "no state"
    if state[:2] == "22":
        return scrub(re.sub(r'".*"', '"…"', (getattr(diagnosis, "message_primary", None) or "a value")))
    # What a trigger says may quote the row.
    by = re.match(r"PL/pgSQL function ([\w.]+)\(", getattr(diagnosis, "context", None) or "")
    return f"function {by[1]} ({state})" if by else f"SQLSTATE {state}"


def _advice(state: str | None, said: str) -> str:
    if state == _LOCKED:
        return "; another session holds it: try again, or end that session"
    if state == _BUILT_ON or "used by a view" in said:
        return "; drop what was built on it, and create that again afterwards"
    return ""
