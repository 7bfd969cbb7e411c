"""Advisory locks per (asset, day), held by the session so that the snapshot is taken after they are granted.

A long range takes one lock on the asset instead of one per day, because the server's lock table is small; short ranges
share that lock, so the two exclude each other.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.exc import OperationalError

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import connected

MAX_DAY_LOCKS = 32
SILENT_S = 5
"""A session that waits longer than this logs which lock it waits for, and who holds it."""

_PATIENCE = "30min"
_SHARED = text("SELECT pg_advisory_lock_shared(hashtextextended('smarttext:' || :name, 0))")
_EXCLUSIVE = text("SELECT pg_advisory_lock(hashtextextended('smarttext:' || :name, 0))")
_HOLDERS = text(
    """
    SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename, 'a session') AS name,
           coalesce(host(a.client_addr), 'its own machine') AS place
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid),
         hashtextextended('smarttext:' || :name, 0) AS key
    WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid() AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (l.classid::bigint << 32 | l.objid::bigint) = key
    ORDER BY a.pid
    """
)
_log = logging.getLogger("smarttext_pipelines.rollup")
_PID = text("SELECT pg_backend_pid()")
_TERMINATE = text("SELECT pg_terminate_backend(:pid)")


@contextmanager
def locked(engine: Engine, asset: str, days: DayRange) -> Iterator[Connection]:
    """Give a transaction whose session holds the locks of the days; they end with the session.

    Args:
        engine: Result of ``open_engine``; it has no pool, so closing the connection ends the session.
        asset: Name of the table that will be written.
        days: Days that will be read and written.

    Raises:
        DatabaseError: Another writer held a lock for longer than the session's ``lock_timeout``.
    """
    with connected(engine, isolation="AUTOCOMMIT") as connection:
        if len(days) > MAX_DAY_LOCKS:
            _take(connection, _EXCLUSIVE, asset)
        else:
            _take(connection, _SHARED, asset)
            for day in days:
                _take(connection, _EXCLUSIVE, f"{asset}:{day.isoformat()}")
        pid = connection.execute(_PID).scalar_one()
        connection.commit()
        with (
            ended_on_interrupt(engine, pid),
            connection.execution_options(isolation_level="REPEATABLE READ").begin(),
        ):
            yield connection


@contextmanager
def ended_on_interrupt(engine: Engine, pid: int) -> Iterator[None]:
    """End a session when this process is interrupted, which would leave its statement running, and its locks held."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        with connected(engine, isolation="AUTOCOMMIT") as other:
            other.execute(_TERMINATE, {"pid": pid})
        raise


def _take(connection: Connection, statement: TextClause, name: str) -> None:
    """Wait for a lock; after a few seconds say who holds it."""
    connection.exec_driver_sql(f"SET lock_timeout = {SILENT_S * 1000:.0f}")
    try:
        connection.execute(statement, {"name": name})
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        holders = [f"process {h.pid} ({h.name}, {h.place})" for h in connection.execute(_HOLDERS, {"name": name})]
        _log.warning("waiting for the lock of %s, held by %s", name, ", ".join(holders) or "a session that has ended")
        connection.exec_driver_sql(f"SET lock_timeout = '{_PATIENCE}'")
        connection.execute(statement, {"name": name})
