"""Advisory locks per (asset, day), held by the session so that the snapshot is taken after they are granted.

A long range takes one lock on the asset instead of one per day, because the server's lock table is small; short ranges
share that lock, so the two exclude each other.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.storage.connect import connected

MOST_DAY_LOCKS = 32

_SHARED = text("SELECT pg_advisory_lock_shared(hashtextextended('smarttext:' || :asset, 0))")
_EXCLUSIVE = text("SELECT pg_advisory_lock(hashtextextended('smarttext:' || :asset, 0))")
_DAY = text("SELECT pg_advisory_lock(hashtextextended('smarttext:' || :asset || ':' || :day, 0))")
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
        connection.exec_driver_sql("SET lock_timeout = '30min'")
        if len(days) > MOST_DAY_LOCKS:
            connection.execute(_EXCLUSIVE, {"asset": asset})
        else:
            connection.execute(_SHARED, {"asset": asset})
            for day in days:
                connection.execute(_DAY, {"asset": asset, "day": day.isoformat()})
        pid = connection.execute(_PID).scalar_one()
        connection.commit()
        try:
            with connection.execution_options(isolation_level="REPEATABLE READ").begin():
                yield connection
        except Exception:
            raise
        except BaseException:
            # Whoever interrupts us would leave the statement running, and the locks held, to its end.
            with connected(engine, isolation="AUTOCOMMIT") as other:
                other.execute(_TERMINATE, {"pid": pid})
            raise
