"""Recognise a transaction pooler: session locks, temporary tables and session settings do not survive one."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.connect import connected, describe

_BACKEND = text("SELECT pg_backend_pid()")


def refuse_transaction_pooler(engine: Engine) -> None:
    """Raise DatabaseError when a session is not served by one server process of its own.

    A direct connection reports the pid of its server process, and is trusted at once. Behind a pooler the two
    pids differ; then a second session is opened, and both ask several times which process serves them.
    """
    # Without the session settings of ``open_engine``: a pooler would hand them on to the sessions of others.
    bare = create_engine(engine.url, poolclass=NullPool, hide_parameters=True)
    with connected(bare, isolation="AUTOCOMMIT") as first:
        driver: Any = first.connection.driver_connection
        if driver.info.backend_pid == _backend(first):
            return
        with connected(bare, isolation="AUTOCOMMIT") as second:
            # Each is asked twice in a row, so that processes handed out in turn show, too.
            asked = [(session, _backend(session)) for session in (first, first, second, second, first)]
    if not has_sessions(*([pid for asker, pid in asked if asker is session] for session in (first, second))):
        message = (
            f"{describe(engine.url)} is a transaction pooler, where locks and temporary tables get lost; "
            "use the direct or the session connection (Supabase: port 5432)"
        )
        raise DatabaseError(message)


def has_sessions(first: Sequence[int], second: Sequence[int]) -> bool:
    """Return whether each of two sessions had one server process, and not the other's."""
    return len(set(first)) == len(set(second)) == 1 and first[0] != second[0]


def _backend(connection: Connection) -> int:
    return int(connection.execute(_BACKEND).scalar_one())
