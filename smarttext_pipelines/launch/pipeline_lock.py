"""One pipeline for each event database: whoever runs schedules and sensors for it holds a lock there.

Two of them would compute every day twice, answer for each other's failed runs, and hide by their heartbeats that the
other one hangs. The lock ends with its connection. A process that inherits the connection's descriptor keeps the lock
until it has ended, too; so what a killed launcher leaves behind is waited for.
"""

import os
import socket
import time
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from smarttext_pipelines.core.display import shown
from smarttext_pipelines.core.errors import DatabaseError, SettingsError
from smarttext_pipelines.database.connect import connected, describe, open_engine, parse_url
from smarttext_pipelines.database.pooler import refuse_transaction_pooler
from smarttext_pipelines.launch.launch_locks import AlreadyRunningError
from smarttext_pipelines.settings import Settings

GHOST_SECONDS = 120.0
"""How long our own lost connection may still hold the lock: longer than the server takes to find that it is dead."""

_NAME = "hashtextextended('smarttext:pipeline', 0)"
_TAKE = text(f"SELECT pg_try_advisory_lock({_NAME})")
_HOLDER = text(
    f"""
    SELECT coalesce(nullif(a.application_name, ''), 'a session') || coalesce(', ' || host(a.client_addr), '')
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (l.classid::bigint << 32 | l.objid::bigint) = {_NAME}
    """  # noqa: S608 - a constant
)
# A dead host gives the lock back within a minute, and a dead server is noticed within seconds.
_SERVER_SIDE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
_CLIENT_SIDE = {"connect_timeout": "5", "tcp_user_timeout": "10000", "keepalives_idle": "10"}
_LONGEST_NAME = 63


class PipelineLock:
    """The lock of an event database, held from ``with`` on."""

    def __init__(self, url: str, who: str) -> None:
        """Name the database, and what others are told of this process; nothing is connected yet."""
        named = f"{who} on {socket.gethostname()}, process {os.getpid()}"[:_LONGEST_NAME]
        full = parse_url(url).update_query_dict({**_CLIENT_SIDE, "application_name": named})
        self._engine = open_engine(full.render_as_string(hide_password=False))
        self._stack = ExitStack()
        self._session: Connection | None = None
        self._refused_since: float | None = None

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            AlreadyRunningError: Another pipeline works on this database.
            DatabaseError: The database cannot be reached, or its sessions do not last.
        """
        refuse_transaction_pooler(self._engine)
        if holder := self._take():
            place = describe(self._engine.url)
            message = f"{holder} already works on {place}, and a database has one pipeline: stop that one"
            raise AlreadyRunningError(message)
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: object, _trace: TracebackType | None) -> None:
        self._let_go()

    @property
    def descriptor(self) -> int:
        """The descriptor of the connection, for processes that are to keep the lock with this one."""
        driver = self._session.connection.driver_connection if self._session else None
        if not isinstance(driver, psycopg.Connection):
            message = "the lock is not held"
            raise DatabaseError(message)
        return driver.fileno()

    def check(self) -> None:
        """Take the lock again if its connection was lost; while the database is away nobody can work on it.

        Raises:
            AlreadyRunningError: Another pipeline has taken the lock meanwhile.
        """
        if self._holds():
            return
        try:
            holder = self._take()
        except DatabaseError:
            holder = None
        now = time.monotonic()
        self._refused_since = (self._refused_since or now) if holder else None
        if self._refused_since is not None and now - self._refused_since >= GHOST_SECONDS:
            message = f"{holder} took over {describe(self._engine.url)} while its connection was lost here"
            raise AlreadyRunningError(message)

    def _holds(self) -> bool:
        try:
            if self._session:
                self._session.exec_driver_sql("SELECT 1")
        except DBAPIError:
            self._let_go()
        return self._session is not None

    def _take(self) -> str | None:
        """Connect and take the lock; return who holds it where that is another one."""
        with ExitStack() as stack:
            session = stack.enter_context(connected(self._engine, isolation="AUTOCOMMIT"))
            if not session.execute(_TAKE).scalar_one():
                return shown(session.execute(_HOLDER).scalar() or "another pipeline")
            session.exec_driver_sql(_SERVER_SIDE)
            self._session, self._stack = session, stack.pop_all()
        return None

    def _let_go(self) -> None:
        with suppress(DatabaseError):
            self._stack.close()
        self._session = None


def pipeline_lock(settings: Settings, who: str) -> PipelineLock:
    """Return the lock of the event database that the settings name; raise SettingsError where they name none."""
    if settings.database_url is None:
        message = "SMARTTEXT_DATABASE_URL is not set: name the event database"
        raise SettingsError(message)
    return PipelineLock(settings.database_url.get_secret_value(), who)
