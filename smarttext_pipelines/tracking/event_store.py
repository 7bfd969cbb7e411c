"""Questions to the database with a time limit: a few threads with a connection each, so that no caller waits longer.

The threads are daemons of our own, not an executor's: that one takes no question any more once the interpreter is
ending, and joins threads that may wait for a lock. They never configure the process; the caller has done so before.
"""

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
from psycopg.rows import dict_row

from smarttext_pipelines.tracking import process
from smarttext_pipelines.tracking.inserts import connect

SETTLE_DEADLINE_S = 2.0
"""How long a question is pursued when its caller no longer waits."""

FIRST_CONNECTION_S = 2.0
"""How long callers wait for the first connection of a process, before their own time begins."""

EXIT_TIMEOUT_S = 2.0
"""How long the end of the process waits for questions whose callers no longer wait."""

THREADS = 8

Statement = tuple[str, tuple[object, ...]]
Row = dict[str, Any]
Undo = Callable[[Row], Statement | None]


@dataclass(frozen=True)
class _Question:
    """A question. A caller that gives up cancels the answer; ``undo`` is the statement that takes it back."""

    statement: Statement
    undo: Undo | None
    answer: "Future[Row]" = field(default_factory=Future)


class _Pool:
    """The threads that ask one database; ended by nothing but their queue."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self.connected = threading.Event()
        """Set when the first connection is open, or has failed."""
        self._born = time.monotonic()
        self._queue: SimpleQueue[_Question | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = threading.Semaphore(0)
        self._threads = 0
        self._ended = False
        self._open = threading.Condition()
        self._unanswered = 0

    def put(self, question: _Question) -> bool:
        """Hand the question to a thread; False when there is none left and none can be started."""
        with self._lock:
            if self._ended:
                return False
            if not self._idle.acquire(blocking=False) and self._threads < THREADS:
                try:
                    threading.Thread(target=self._run, name="smarttext-guard", daemon=True).start()
                    self._threads += 1
                except RuntimeError:  # the interpreter is ending
                    if not self._threads:
                        return False
            with self._open:
                self._unanswered += 1
            self._queue.put(question)
        return True

    def wait_for_connection(self) -> None:
        """Wait for the first connection, as long as it may take."""
        self.connected.wait(max(self._born + FIRST_CONNECTION_S - time.monotonic(), 0))

    def drain(self, timeout: float) -> None:
        """Wait until every question is answered."""
        with self._open:
            self._open.wait_for(lambda: not self._unanswered, timeout)

    def end(self) -> None:
        """Let the threads end when they have answered what they were asked."""
        with self._lock:
            self._ended = True
            for _ in range(self._threads):
                self._queue.put(None)

    def _run(self) -> None:
        asker = _Asker(self.url)
        # Before the first question is taken: a thread that connects holds up nobody.
        asker.prepare()
        self.connected.set()
        while (question := self._next()) is not None:
            asker.answer(question)
            with self._open:
                self._unanswered -= 1
                self._open.notify_all()
            del question
        asker.close()

    def _next(self) -> _Question | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            self._idle.release()
            return self._queue.get()


class _Asker:
    """One connection, used by one thread."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def prepare(self) -> None:
        """Connect ahead of the first question, which reports the error if that fails."""
        with contextlib.suppress(Exception):
            self._connected()

    def answer(self, question: _Question) -> None:
        """Ask, and answer the caller; take the answer back if it has given up."""
        if question.undo is not None and question.answer.cancelled():
            return
        try:
            found = self.ask(question.statement)
        except Exception as error:  # noqa: BLE001 - the caller gets it, whatever it is
            if question.answer.set_running_or_notify_cancel():
                question.answer.set_exception(error)
            return
        if question.answer.set_running_or_notify_cancel():
            question.answer.set_result(found)
        elif question.undo is not None and (undo := question.undo(found)) is not None:
            # Where this fails, too, the reaper does it.
            with contextlib.suppress(Exception):
                self.ask(undo)

    def ask(self, statement: Statement) -> Row:
        """Return the one row."""
        for attempt in (1, 2):
            connection = self._connected()
            try:
                with connection.cursor(row_factory=dict_row) as cursor:
                    return cursor.execute(*statement).fetchone() or {}
            except psycopg.OperationalError:
                # The server was restarted; every statement that comes here may be repeated.
                if attempt == 2 or not connection.broken:
                    raise
                self.close()
        raise AssertionError

    def ask_now(self, statement: Statement, seconds: float) -> Row:
        """Return the one row, in the caller's thread: a statement that takes longer is ended by the server."""
        connection = self._connected()
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {max(int(seconds * 1000), 1)}")
            return cursor.execute(*statement).fetchone() or {}

    def close(self) -> None:
        """Give the connection up."""
        with contextlib.suppress(psycopg.Error):
            if self._connection is not None:
                self._connection.close()
        self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            if self._url is None:
                msg = "SMARTTEXT_DATABASE_URL is not set"
                raise psycopg.OperationalError(msg)
            self._connection = connect(self._url)
        return self._connection


class _Pools:
    """The one pool of this process: of the database that it is configured with, made by the first question."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: _Pool | None = None

    def current(self, url: str | None) -> _Pool:
        with self._lock:
            if self._pool is not None and self._pool.url != url:
                self._pool.end()
                self._pool = None
            if self._pool is None:
                atexit.unregister(_at_exit)
                atexit.register(_at_exit)
                self._pool = _Pool(url)
            return self._pool

    def drain(self) -> None:
        with self._lock:
            pool = self._pool
        if pool is not None:
            pool.drain(EXIT_TIMEOUT_S)


_pools = _Pools()


def _at_exit() -> None:
    _pools.drain()


def _after_fork() -> None:
    # The parent's threads and locks do not exist here, and its connections are its own.
    global _pools
    _pools = _Pools()


os.register_at_fork(after_in_child=_after_fork)


def ask_within(
    statement: str, *values: object, deadline: float | None = None, undo: Undo | None = None
) -> dict[str, Any] | None:
    """Return the one row, or None when the database cannot answer in time.

    Args:
        statement: Text with placeholders.
        values: Values for them.
        deadline: Seconds to wait; default is what the process was configured with.
        undo: What to do with an answer that comes too late; without it, a late answer is kept.

    Raises:
        psycopg.DataError: A value cannot be used.
        psycopg.IntegrityError: A row that is referred to does not exist.
    """
    url = process.options().database_url
    seconds = process.decide_within_s() if deadline is None else deadline
    try:
        return _ask(_pools.current(url), _Question((statement, values), undo), seconds)
    except (psycopg.DataError, psycopg.IntegrityError):
        raise
    except psycopg.Error as error:
        process.current().warn("the OpenAI budget cannot be asked: %s", (str(error).splitlines() or ["no answer"])[0])
        return None


def _ask(pool: _Pool, question: _Question, seconds: float) -> Row | None:
    if not pool.put(question):
        asker = _Asker(pool.url)
        try:
            return asker.ask_now(question.statement, seconds)
        finally:
            asker.close()
    pool.wait_for_connection()
    try:
        return question.answer.result(seconds)
    except TooLate:
        # Either the caller gives up before the answer is there, or it is there after all.
        return None if question.answer.cancel() else question.answer.result()
