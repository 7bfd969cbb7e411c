"""Writes into the database what waits in files, in one thread: a batch of each table in turn, each row once.

An error about a row sets that row apart; one about a table makes its rows wait; one about the connection makes all
rows wait (``answers``). Any other error makes the table wait, too: no exception ends the thread.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.tracking import known_prices
from smarttext_pipelines.tracking.answers import About, about, is_too_slow, reason
from smarttext_pipelines.tracking.counts import Counts
from smarttext_pipelines.tracking.inserts import TABLES, connect, insert
from smarttext_pipelines.tracking.journal import Journal
from smarttext_pipelines.tracking.journals import Journals
from smarttext_pipelines.tracking.memory import Memory
from smarttext_pipelines.tracking.problems import Problems
from smarttext_pipelines.tracking.reports import WriterReport

BATCH_ROWS = 500
FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 5.0
TAKE_OVER_S = 3.0
"""How often files of ended processes are looked for."""


@dataclass
class Turn:
    """When something is tried again."""

    retry_at: float = 0.0
    delay: float = FIRST_RETRY_S
    failures: int = 0

    @property
    def is_due(self) -> bool:
        """Whether it may be tried now."""
        return time.monotonic() >= self.retry_at

    def fail(self) -> None:
        """Wait, longer each time."""
        self.retry_at = time.monotonic() + self.delay
        self.delay = min(self.delay * 2, LONGEST_RETRY_S)
        self.failures += 1

    def succeed(self) -> None:
        """Wait no longer."""
        self.retry_at, self.delay = 0.0, FIRST_RETRY_S


@dataclass
class Lane(Turn):
    """A table, and how many of its rows are written at once."""

    max_rows: int = field(default=BATCH_ROWS)


class Drain:
    """The database's side of a writer; used by one thread at a time."""

    def __init__(
        self,
        url: str | None,
        folder: Path,
        journals: Journals,
        memory: Memory,
        counts: Counts,
        problems: Problems,
        refused: Callable[[str, str], None],
    ) -> None:
        self._url, self._folder, self._refused = url, folder, refused
        self._journals, self._memory, self._counts, self._problems = journals, memory, counts, problems
        self._report = WriterReport()
        self._server = Turn()
        self._lanes = {table: Lane() for table in TABLES}
        self._connection: psycopg.Connection[Any] | None = None
        self._take_over_at = 0.0

    def failures(self, table: str) -> int:
        """How often rows of a table could not be written."""
        return self._server.failures + self._lanes[table].failures

    def is_due(self, table: str) -> bool:
        """Whether rows of a table may be tried now."""
        return self._server.is_due and self._lanes[table].is_due

    def try_now(self) -> None:
        """Wait no longer before the next attempt, and look for files of ended processes."""
        self._take_over_at = self._server.retry_at = 0.0
        for lane in self._lanes.values():
            lane.retry_at = 0.0

    def round(self, *, is_asked: bool, go_on: Callable[[], bool]) -> bool:
        """Write what can be written now, then report; whether nothing is left that could be written."""
        now = time.monotonic()
        if self._server.is_due and self._url is not None and now >= self._take_over_at:
            self._take_over_at = now + TAKE_OVER_S
            self._journals.take_over()
        while (is_more := self._pass()) and go_on() and time.monotonic() < now + TAKE_OVER_S:
            pass
        if not all(self.is_due(table) for table in TABLES):
            self._journals.note_told()
        self._send_report(is_asked=is_asked)
        return not is_more

    def disconnect(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _pass(self) -> bool:
        """Write a batch from each place that has one; whether more was there."""
        is_more = self._empty_memory()
        for table in TABLES:
            for first in (self._journals.first_own, self._journals.first_taken):
                file = first(table) if self.is_due(table) else None
                if file is not None and self._survive(table, file):
                    is_more = True
        return is_more

    def _survive(self, table: str, file: Journal) -> bool:
        try:
            return self._write_from(table, file)
        except Exception as error:  # noqa: BLE001 - a thread that ends would write nothing any more
            self._problems.warn("events for %s wait: %s", table, f"unexpected {type(error).__name__}")
            self._lanes[table].fail()
            self.disconnect()
            return False

    def _write_from(self, table: str, file: Journal) -> bool:
        piece = file.read(self._lanes[table].max_rows)
        rows = [row for _, row in piece.rows]
        if rows and not self._write(table, rows, is_own=file.is_own):
            return False
        damaged = self._journals.done(file, piece)
        if damaged:
            self._counts.add(damaged=damaged)
            self._problems.warn("%s: %d events of a damaged file are lost", table, damaged)
        # Rows that arrive meanwhile are for the next round; otherwise the round, and its report, would never end.
        return not piece.is_last or file.is_sealed

    def _empty_memory(self) -> bool:
        moved = False
        while (found := self._memory.first(BATCH_ROWS)) is not None:
            table, rows = found
            done = 0
            while done < len(rows) and self._journals.append(table, rows[done]):
                done += 1
            if not done and self.is_due(table) and self._write(table, rows, is_own=True):
                done = len(rows)
            self._memory.drop_first(done)
            if not done:
                self._memory.turn()
                break
            moved = True
        return moved

    def _write(self, table: str, rows: Sequence[bytes], *, is_own: bool) -> bool:
        """Write rows; False when they must wait."""
        lane = self._lanes[table]
        texts = [row.decode() for row in rows]
        try:
            connection = self._connection or self._connect()
        except (psycopg.Error, OSError, SmartTextError) as error:
            self._cannot_connect(error)
            return False
        try:
            refused = insert(connection, table, known_prices.complete(texts) if table == "api_usage" else texts)
        except psycopg.Error as error:
            self._failed(table, len(rows), error)
            return False
        self._server.succeed()
        lane.succeed()
        lane.max_rows = min(lane.max_rows * 2, BATCH_ROWS)
        if refused:
            self._set_apart(table, refused)
        self._counts.add(written=len(rows) - len(refused) if is_own else 0)
        return True

    def _set_apart(self, table: str, refused: Sequence[tuple[str, str]]) -> None:
        self._counts.add(rejected=len(refused))
        kept = self._journals.reject(table, [row.encode() for row, _ in refused])
        place = f"kept in {table}.rejected" if kept else f"and not kept: {table}.rejected is full"
        self._problems.warn("%s: %d events were rejected, %s: %s", table, len(refused), place, refused[0][1])
        for row, why in refused:
            self._refused(row, why)

    def _connect(self) -> psycopg.Connection[Any]:
        if self._url is None:
            msg = "SMARTTEXT_DATABASE_URL is not set"
            raise psycopg.OperationalError(msg)
        self._connection = connect(self._url)
        return self._connection

    def _cannot_connect(self, error: Exception) -> None:
        self.disconnect()
        self._journals.give_up_taken()
        self._server.fail()
        self._counts.add(spilled=sum(self._journals.newly_late(table) for table in TABLES))
        self._problems.warn("events wait in %s: %s", self._folder, type(error).__name__)

    def _failed(self, table: str, count: int, error: psycopg.Error) -> None:
        if about(error) is About.connection or self._connection is None or self._connection.broken:
            self._cannot_connect(error)
            return
        lane = self._lanes[table]
        lane.fail()
        self._counts.add(spilled=self._journals.newly_late(table))
        if is_too_slow(error):
            lane.max_rows = max(count // 2, 1)
        self._problems.warn("events for %s wait: %s", table, reason(error))

    def _send_report(self, *, is_asked: bool) -> None:
        counts = self._counts.now()
        if not self._server.is_due or not self._report.is_due(counts, is_asked=is_asked):
            return
        try:
            self._report.send(self._connection or self._connect(), counts)
        except (psycopg.Error, OSError, SmartTextError) as error:
            if not isinstance(error, psycopg.Error) or about(error) is About.connection:
                self._cannot_connect(error)
            else:
                self._problems.warn("the counters of this process cannot be reported: %s", reason(error))
