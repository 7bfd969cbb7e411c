"""The writer of a process: what it takes is in a file before the call returns, and a thread drains the files.

An accepted row waits in a file, is written, was rejected by the database, or was lost: dropped because file and memory
are full, or damaged. Each is counted. A row has its id from the beginning, so writing it again changes nothing.
"""

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from smarttext_pipelines.tracking import journal
from smarttext_pipelines.tracking.counts import Counts
from smarttext_pipelines.tracking.drain import Drain
from smarttext_pipelines.tracking.journals import Journals
from smarttext_pipelines.tracking.memory import Memory
from smarttext_pipelines.tracking.problems import Problems

LINGER_S = 0.2
"""How long a row waits for others."""

SYNCHRONOUS_S = 30.0
"""How long a synchronous call waits at most; its row is safe in a file."""


@dataclass(frozen=True)
class WriterOptions:
    """How a writer works.

    Attributes:
        database_url: Where rows go; None keeps them in files.
        spill_folder: Folder of those files.
        spill_bytes: Bytes that they hold at most.
        buffer_bytes: Bytes in memory at most while no file can be written.
        synchronous: Let the caller wait until its row is written, and raise ValueError for bad values.
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
        self._counts, self._problems = Counts(), Problems()
        self._memory = Memory(options.buffer_bytes)
        self._journals = Journals(options.spill_folder, options.spill_bytes)
        self._drain = Drain(
            options.database_url,
            options.spill_folder,
            self._journals,
            self._memory,
            self._counts,
            self._problems,
            self._note_refused,
        )
        # Not an event: a signal handler that sets one while it is being set waits for ever.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._asked, self._answered = 0, 0
        self._round = threading.Lock()
        self._thread: threading.Thread | None = None
        self._starting = threading.RLock()
        self._is_released = False
        self._refused: dict[str, str] = {}

    @property
    def synchronous(self) -> bool:
        """Whether a caller waits until its row is written."""
        return self._options.synchronous

    def counts(self) -> Mapping[str, int]:
        """Return accepted, written, spilled, buffered, dropped, damaged, rejected, trimmed, odd_numbers, pending."""
        return {**self._counts.now(), "pending": self._pending()}

    def accept(self, table: str, row: Mapping[str, Any], **noted: int) -> bool:
        """Take a row, and count what was noted about it; False when there is no room for it.

        Raises:
            ValueError: In synchronous use, when the database refuses it.
        """
        data = json.dumps(row).encode()
        failures = self._drain.failures(table)
        self._counts.add(accepted=1, **noted)
        with journal.lock:
            kept = self._journals.append(table, data)
            ticket = self._journals.told(table)
            if self._is_released:
                # The next writer of this process, or another process, takes it from there.
                self._journals.release()
        kept = kept or self._remember(table, data)
        self._start()
        if kept and self.synchronous and not self._is_released:
            self._wait_for(table, str(row["id"]), ticket, failures)
        return kept

    def reject(self, table: str, reason: str) -> None:
        """Count an event that cannot be written as it is."""
        self._counts.add(rejected=1)
        self._problems.warn("an event for %s was rejected: %s", table, reason)
        self._start()

    def warn(self, message: str, *values: object) -> None:
        """Log a warning, redacted; the same one at most once a minute."""
        self._problems.warn(message, *values)

    def count_policy(self, policy: str) -> None:
        """Count a decision on the budget that the policy took because the store did not answer."""
        self._counts.add(by_policy=1)
        self._problems.warn("the OpenAI budget cannot be asked; policy %s decides", policy)

    def note_problem(self, *key: object) -> None:
        """Remember a failed message or an undelivered alert, to be reported in one event for ten minutes."""
        self._problems.note(*key)

    def flush(self, timeout: float) -> bool:
        """Wait until everything is written, also what ended processes left; whether nothing waits or was lost."""
        deadline = time.monotonic() + timeout
        self._drain.try_now()
        while True:
            self._wait_for_round(deadline)
            if not self._pending() or time.monotonic() >= deadline:
                break
            time.sleep(min(LINGER_S / 4, max(deadline - time.monotonic(), 0)))
        self._problems.send_all()
        counts = self.counts()
        return not any(counts.get(name) for name in ("pending", "dropped", "damaged"))

    def close(self, timeout: float) -> None:
        """Write what can be written in time; the rest stays in the files."""
        self.flush(timeout)
        self._stop.set()
        self._wake.put(None)
        if self._thread is not None:
            self._thread.join(max(timeout / 5, 0.5))
        if not self._is_running():
            self._release()

    def _pending(self) -> int:
        return self._journals.pending() + len(self._memory)

    def _remember(self, table: str, data: bytes) -> bool:
        folder = self._options.spill_folder
        if not self._is_released and self._memory.put(table, data):
            self._counts.add(buffered=1)
            self._problems.warn("%s: no file in %s takes events; they wait in memory", table, folder)
            return True
        self._counts.add(dropped=1)
        self._problems.warn("%s: events were dropped: memory and %s are full", table, folder)
        return False

    def _wait_for_round(self, deadline: float) -> None:
        """Wait until the thread has tried everything once more; without a thread, try it here."""
        self._start()
        with self._changed:
            self._asked += 1
            asked = self._asked
        self._wake.put(None)
        while not self._is_running() and self._answered < asked and time.monotonic() < deadline:
            self._work()
        with self._changed:
            self._changed.wait_for(lambda: self._answered >= asked, max(deadline - time.monotonic(), 0))

    def _wait_for(self, table: str, row: str, ticket: int, failures: int) -> None:
        """Wait until a row is written or cannot be written now; raise ValueError when it was refused."""

        def is_over() -> bool:
            done = self._journals.is_done(table, ticket) and not len(self._memory)
            return done or self._drain.failures(table) > failures or self._is_released

        if self._drain.is_due(table):
            self._wake.put(None)
            with self._changed:
                self._changed.wait_for(is_over, SYNCHRONOUS_S)
        if (why := self._refused.pop(row, None)) is not None:
            raise ValueError(why)

    def _note_refused(self, row: str, why: str) -> None:
        if self.synchronous and len(self._refused) < 1000:
            self._refused[json.loads(row).get("id", "")] = why

    def _start(self) -> None:
        if self._thread is not None or self._is_released:
            return
        with self._starting:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="smarttext-tracking", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                # The interpreter is ending and starts no thread any more.
                self._thread = None

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with contextlib.suppress(Empty):
                    self._wake.get(timeout=LINGER_S)
                    while True:
                        self._wake.get_nowait()
                self._work()
        finally:
            self._release()

    def _work(self) -> None:
        """Write what can be written; log any error and continue."""
        try:
            with self._round:
                asked = self._asked
                if self._drain.round(is_asked=asked > self._answered, go_on=self._go_on):
                    self._answered = asked
            self._problems.send_due()
        except Exception as error:  # noqa: BLE001 - a thread that ends would write nothing any more
            self._problems.warn("events wait: unexpected %s", type(error).__name__)
            self._drain.disconnect()
        self._go_on()

    def _go_on(self) -> bool:
        with self._changed:
            self._changed.notify_all()
        return not self._stop.is_set()

    def _release(self) -> None:
        with journal.lock:
            if self._is_released:
                return
            self._is_released = True
            self._journals.release()
        if len(self._memory):
            self._counts.add(dropped=len(self._memory))
            self._problems.warn("%d events in memory were dropped at the end of the process", len(self._memory))
        self._drain.disconnect()
        self._problems.send_all()
