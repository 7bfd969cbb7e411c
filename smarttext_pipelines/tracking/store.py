"""Questions to the database with a time limit: a few threads with a connection each, so that no caller waits longer."""

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from typing import Any

import psycopg
from psycopg.rows import dict_row

from smarttext_pipelines.tracking import process
from smarttext_pipelines.tracking.inserts import connect

DEADLINE_S = 0.15
"""How long a caller waits for a decision."""

SETTLE_DEADLINE_S = 2.0
"""How long he waits after his call, when nobody waits for him."""

THREADS = 8
_local = threading.local()


class _Threads:
    """The threads of this process; a fork begins with none."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], dict[str, Any]]) -> "Future[dict[str, Any]]":
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(THREADS, thread_name_prefix="smarttext-guard")
            return self._pool.submit(call)


_threads = _Threads()


def _after_fork() -> None:
    global _threads
    _threads = _Threads()


os.register_at_fork(after_in_child=_after_fork)


def _ask(statement: str, *values: object) -> dict[str, Any]:
    """Return the one row of a statement, on the connection of this thread."""
    for attempt in (1, 2):
        connection = _connection()
        try:
            with connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(statement, values).fetchone() or {}
        except psycopg.OperationalError:
            # A restart of the server; every statement here may be repeated.
            _forget()
            if attempt == 2 or not connection.broken:
                raise
    raise AssertionError


def ask_within(
    statement: str,
    *values: object,
    deadline: float = DEADLINE_S,
    late: Callable[["Future[dict[str, Any]]"], None] | None = None,
) -> dict[str, Any] | None:
    """Return the one row, or None when the database cannot answer in time.

    Args:
        statement: Text with placeholders.
        values: Values for them.
        deadline: Seconds to wait.
        late: Called with the answer that came too late.

    Raises:
        psycopg.DataError: A value cannot be used.
        psycopg.IntegrityError: A row that is referred to does not exist.
    """
    answer = _threads.submit(lambda: _ask(statement, *values))
    try:
        return answer.result(deadline)
    except TooLate:
        if late is not None:
            answer.add_done_callback(late)
        return None
    except (psycopg.DataError, psycopg.IntegrityError):
        raise
    except psycopg.Error:
        return None


def _connection() -> psycopg.Connection[Any]:
    url = process.options().database_url
    found: tuple[str | None, psycopg.Connection[Any]] | None = getattr(_local, "connection", None)
    if found and found[0] == url and not found[1].closed:
        return found[1]
    if url is None:
        msg = "SMARTTEXT_DATABASE_URL is not set"
        raise psycopg.OperationalError(msg)
    _local.connection = (url, connect(url))
    return _local.connection[1]  # type: ignore[no-any-return]


def _forget() -> None:
    found = getattr(_local, "connection", None)
    if found:
        with contextlib.suppress(psycopg.Error):
            found[1].close()
    _local.connection = None
