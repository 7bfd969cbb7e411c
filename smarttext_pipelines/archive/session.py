"""The session that works on one table and day: it holds the lock, so everything it commits was done under the lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.archive.columns import SESSION
from smarttext_pipelines.archive.manifest import name_day
from smarttext_pipelines.database.connect import connected

PATIENCE = "60s"
"""How long a lock is waited for: the server process of a killed client lives on for a moment."""

_LOCK = text("SELECT pg_advisory_lock(hashtextextended('smarttext:archive:' || :table || ':' || :day, 0))")


@contextmanager
def locked_day(engine: Engine, table: str, day: date) -> Iterator[Connection]:
    """Give a session that holds the lock of a table and day; begin a transaction for each step.

    Raises:
        DatabaseError: Another session held the lock for longer than ``PATIENCE``.
    """
    with connected(engine) as connection:
        for statement in (*SESSION, f"SET lock_timeout = '{PATIENCE}'"):
            connection.exec_driver_sql(statement)
        connection.execute(_LOCK, {"table": table, "day": name_day(day)})
        connection.commit()
        yield connection
