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

SETTLE_DEADLINE_S = 2.0
"""How long a caller waits after his call, when nobody waits for him."""

THREADS = 8


class _Threads:
    """The threads of this process, and their connections."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._local = threading.local()
        self._open: set[psycopg.Connection[Any]] = set()

    def submit(self, statement: str, values: tuple[object, ...]) -> "Future[dict[str, Any]]":
        """Ask in a thread."""
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(THREADS, thread_name_prefix="smarttext-guard")
            return self._pool.submit(self._ask, statement, values)

    def close(self) -> None:
        """End the threads, when they have their answers, and their connections."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()

    def _ask(self, statement: str, values: tuple[object, ...]) -> dict[str, Any]:
        for attempt in (1, 2):
            connection = self._connection()
            try:
                with connection.cursor(row_factory=dict_row) as cursor:
                    return cursor.execute(statement, values).fetchone() or {}
            except psycopg.OperationalError:
                # The server was restarted; every statement that comes here may be repeated.
                if attempt == 2 or not connection.broken:
                    raise
                self._forget(connection)
        raise AssertionError

    def _connection(self) -> psycopg.Connection[Any]:
        found: psycopg.Connection[Any] | None = getattr(self._local, "connection", None)
        if found is not None and not found.closed:
            return found
        url = process.options().database_url
        if url is None:
            msg = "SMARTTEXT_DATABASE_URL is not set"
            raise psycopg.OperationalError(msg)
        self._local.connection = connect(url)
        self._open.add(self._local.connection)
        return self._local.connection  # type: ignore[no-any-return]

    def _forget(self, connection: psycopg.Connection[Any]) -> None:
        with contextlib.suppress(psycopg.Error):
            connection.close()
        self._open.discard(connection)
        self._local.connection = None


_threads = _Threads()


def _after_fork() -> None:
    global _threads
    _threads = _Threads()


os.register_at_fork(after_in_child=_after_fork)
process.at_reconfiguration(lambda: _threads.close())


def ask_within(
    statement: str,
    *values: object,
    deadline: float | None = None,
    late: Callable[["Future[dict[str, Any]]"], None] | None = None,
) -> dict[str, Any] | None:
    """Return the one row, or None when the database cannot answer in time.

    Args:
        statement: Text with placeholders.
        values: Values for them.
        deadline: Seconds to wait; default is what the process was configured with.
        late: Called with the answer that came too late.

    Raises:
        psycopg.DataError: A value cannot be used.
        psycopg.IntegrityError: A row that is referred to does not exist.
    """
    answer = _threads.submit(statement, values)
    try:
        return answer.result(process.decide_within_s() if deadline is None else deadline)
    except TooLate:
        if late is not None:
            answer.add_done_callback(late)
        return None
    except (psycopg.DataError, psycopg.IntegrityError):
        raise
    except psycopg.Error as error:
        process.current().warn("the OpenAI budget cannot be asked: %s", str(error).splitlines()[0])
        return None
