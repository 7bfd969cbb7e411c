"""The buffered writer of a process: a bounded buffer, a thread that writes batches, files for what must wait.

An accepted row is in the buffer, under way, in a file, written, rejected by the database, or dropped because buffer and
file are full; each is counted. A row has its id from the beginning, so writing it again changes nothing.
"""

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.tracking.inserts import Row, connect, insert
from smarttext_pipelines.tracking.problems import Problems
from smarttext_pipelines.tracking.reports import WriterReport
from smarttext_pipelines.tracking.spill import Spill

BATCH_ROWS = 500
LINGER_S = 0.2
"""How long a row waits for others."""

FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 5.0


@dataclass(frozen=True)
class WriterOptions:
    """How a writer works.

    Attributes:
        database_url: Where rows go; None keeps them in files.
        spill_folder: Folder of those files.
        spill_bytes: Most bytes that they hold.
        buffer_bytes: Bytes in memory beyond which the caller who is over it writes the buffer to the file.
        synchronous: Write in the caller's thread, and raise ValueError for bad values.
    """

    database_url: str | None = field(repr=False)
    spill_folder: Path
    spill_bytes: int
    buffer_bytes: int
    synchronous: bool


class Writer:
    """Takes rows of this process; safe to use from any thread."""

    def __init__(self, options: WriterOptions) -> None:
        self._options = options
        self._spill = Spill(options.spill_folder, options.spill_bytes)
        self._problems = Problems()
        self._report = WriterReport()
        self._counts: Counter[str] = Counter()
        self._buffer: deque[Row] = deque()
        self._bytes = 0
        self._under_way: Sequence[Row] = ()
        self._lock = threading.Lock()
        self._database = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        self._retry_at, self._delay = 0.0, FIRST_RETRY_S
        self._wake, self._stop = threading.Event(), threading.Event()
        self._settled = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def synchronous(self) -> bool:
        """Whether rows are written in the caller's thread."""
        return self._options.synchronous

    def counts(self) -> Mapping[str, int]:
        """Return accepted, written, spilled, dropped, rejected, and pending."""
        with self._lock:
            buffered = len(self._buffer) + len(self._under_way)
            return {**self._counts, "pending": buffered + self._spill.pending}

    def accept(self, table: str, row: Mapping[str, Any]) -> None:
        """Take a row; synchronous ones raise ValueError when the database will never take it."""
        item = (table, json.dumps(row))
        if self.synchronous:
            self._write_now(item)
            return
        with self._lock:
            self._counts["accepted"] += 1
            overflow = [item] if self._stop.is_set() else self._put(item)
        if overflow:
            self._keep(overflow)
        elif len(self._buffer) >= BATCH_ROWS:
            self._wake.set()

    def _put(self, item: Row) -> list[Row]:
        """Append to the buffer; return what is to go to the file instead, because there is too much of it."""
        self._buffer.append(item)
        self._bytes += len(item[1])
        is_full = self._bytes > self._options.buffer_bytes
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="smarttext-tracking", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                # The interpreter is ending and starts no thread any more.
                self._thread, is_full = None, True
        if not is_full:
            return []
        overflow = list(self._buffer)
        self._buffer.clear()
        self._bytes = 0
        return overflow

    def reject(self, table: str, reason: str) -> None:
        """Count an event that cannot be written as it is."""
        with self._lock:
            self._counts["rejected"] += 1
        self._problems.warn("an event for %s was rejected: %s", table, reason)

    def warn(self, message: str, *values: object) -> None:
        """Log a warning, scrubbed; the same one at most once a minute."""
        self._problems.warn(message, *values)

    def count_policy(self, policy: str) -> None:
        """Count a decision on the budget that the policy took because the store did not answer."""
        with self._lock:
            self._counts["by_policy"] += 1
        self._problems.warn("the OpenAI budget cannot be asked; policy %s decides", policy)

    def note_problem(self, *key: object) -> None:
        """Remember a failed message or an undelivered alert, to be told in one event for ten minutes."""
        self._problems.note(*key)

    def flush(self, timeout: float) -> bool:
        """Wait until everything is written; False when something still waits."""
        deadline = time.monotonic() + timeout
        self._retry_at = 0.0
        while self.counts()["pending"]:
            if self.synchronous:
                self._drain()
            self._wake.set()
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._settled:
                self._settled.wait(min(left, LINGER_S))
        self._problems.send_all()
        return True

    def close(self, timeout: float) -> None:
        """Write what can be written in time, and put the rest into the file."""
        self.flush(timeout)
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(max(timeout / 5, 0.5))
        with self._lock:
            left = [*self._under_way, *self._buffer]
            self._buffer.clear()
        self._keep(left)
        self._spill.release()
        self._disconnect()
        self._problems.send_all()

    def abandon(self) -> None:
        """Close what a fork copied into this process; the parent goes on with it."""
        self._spill.abandon()

    def _run(self) -> None:
        self._spill.adopt()
        while not self._stop.is_set():
            self._wake.wait(LINGER_S)
            self._wake.clear()
            self._drain()
            self._problems.send_due()

    def _drain(self) -> None:
        while rows := self._take():
            if time.monotonic() < self._retry_at or not self._write(rows):
                self._keep(rows)
            with self._lock:
                self._under_way = ()
        if time.monotonic() >= self._retry_at:
            self._replay()
            if self._report.is_due() and self._connection is not None:
                self._attempt(lambda connection: self._report.send(connection, self.counts()))
        with self._settled:
            self._settled.notify_all()

    def _take(self) -> Sequence[Row]:
        with self._lock:
            rows = [self._buffer.popleft() for _ in range(min(BATCH_ROWS, len(self._buffer)))]
            self._bytes -= sum(len(row) for _, row in rows)
            self._under_way = rows
        return rows

    def _write_now(self, item: Row) -> None:
        with self._lock:
            self._counts["accepted"] += 1
        bad: list[tuple[str, str]] = []
        if not self._write([item], bad):
            self._keep([item])
        elif time.monotonic() >= self._retry_at:
            self._replay()
        if bad:
            raise ValueError(bad[0][1])

    def _write(self, rows: Sequence[Row], bad: list[tuple[str, str]] | None = None, *, is_own: bool = True) -> bool:
        """Write rows; False when the database cannot be used now."""
        rejected: list[tuple[str, str]] = []
        if not self._attempt(lambda connection: rejected.extend(insert(connection, rows))):
            return False
        for table, reason in rejected:
            self.reject(table, reason)
        with self._lock:
            self._counts["written"] += len(rows) - len(rejected) if is_own else 0
        if bad is not None:
            bad.extend(rejected)
        return True

    def _attempt(self, action: Any) -> bool:
        with self._database:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                action(self._connection)
            except (psycopg.Error, OSError, SmartTextError) as error:
                self._failed(error)
                return False
            self._delay = FIRST_RETRY_S
            return True

    def _connect(self) -> psycopg.Connection[Any]:
        if self._options.database_url is None:
            msg = "SMARTTEXT_DATABASE_URL is not set"
            raise psycopg.OperationalError(msg)
        return connect(self._options.database_url)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _failed(self, error: Exception) -> None:
        self._disconnect()
        self._retry_at = time.monotonic() + self._delay
        self._delay = min(self._delay * 2, LONGEST_RETRY_S)
        self._problems.warn("events wait in %s: %s", self._options.spill_folder, type(error).__name__)

    def _keep(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        kept = self._spill.append(rows)
        with self._lock:
            self._counts["spilled" if kept else "dropped"] += len(rows)
        if not kept:
            self._problems.warn("%d events were dropped: buffer and %s are full", len(rows), self._options.spill_folder)

    def _replay(self) -> None:
        while file := self._spill.next_file():
            while rows := file.read(BATCH_ROWS):
                if not self._write(rows, is_own=file.is_own):
                    return
                file.done(rows)
            self._spill.remove(file)
