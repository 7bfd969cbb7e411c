"""Recognise a transaction pooler: session locks, temporary tables and session settings do not survive one."""

from typing import Any

from sqlalchemy import Engine, text

from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.storage.connect import connected, describe

_BACKEND = text("SELECT pg_backend_pid()")


def refuse_transaction_pooler(engine: Engine) -> None:
    """Raise DatabaseError when two open sessions are given the same server process.

    A direct connection tells the client the pid of its server process, and is believed at once. Behind a pooler the two
    differ; then a second session is opened, and a server process that serves both is shared by transaction.
    """
    with connected(engine, isolation="AUTOCOMMIT") as first:
        mine = first.execute(_BACKEND).scalar_one()
        driver: Any = first.connection.driver_connection
        if driver.info.backend_pid == mine:
            return
        with connected(engine, isolation="AUTOCOMMIT") as second:
            pids = {mine, *(c.execute(_BACKEND).scalar_one() for c in (second, first, second, first))}
    if len(pids) == 1:
        message = (
            f"{describe(engine.url)} is a transaction pooler, where locks and temporary tables get lost; "
            "use the direct or the session connection (Supabase: port 5432)"
        )
        raise DatabaseError(message)
