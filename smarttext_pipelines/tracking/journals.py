"""The journals of a process in a folder, one per table, and those that it took over from processes that have ended.

A drained file is emptied and used again; one that grows large while the database is away is followed by the next.
``TABLE-….journal`` holds what waits, ``TABLE.rejected`` what the database refused; renamed to ``TABLE-again.journal``,
that is tried again.
"""

import contextlib
import os
import re
from collections import Counter, deque
from pathlib import Path
from uuid import uuid4

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.tracking import journal
from smarttext_pipelines.tracking.inserts import TABLES
from smarttext_pipelines.tracking.journal import RECORD_BYTES, Journal, append_to_shared, create, take
from smarttext_pipelines.tracking.records import UNNUMBERED, Piece

ROTATE_BYTES = 8 * 2**20
_NAME = re.compile(rf"({'|'.join(TABLES)})-.*\.journal")


class Journals:
    """Files of this process in one folder; safe to use from any thread, but read by one at a time."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._rotate = min(ROTATE_BYTES, limit_bytes // 4)
        # By table, and by the depth of nested ``append`` calls: a signal handler may record events, too.
        self._active: dict[tuple[str, int], Journal] = {}
        self._depth = 0
        self._full: dict[str, deque[Journal]] = {table: deque() for table in TABLES}
        self._taken: dict[str, deque[Journal]] = {table: deque() for table in TABLES}
        self._bytes = 0
        self._gone: Counter[str] = Counter()
        self._late: Counter[str] = Counter()

    def append(self, table: str, row: bytes) -> bool:
        """Write a row; False when the files are full or cannot be written."""
        with journal.lock:
            slot = (table, self._depth)
            self._depth += 1
            try:
                return self._append(slot, row)
            except OSError:
                return False
            finally:
                self._depth -= 1

    def _append(self, slot: tuple[str, int], row: bytes) -> bool:
        active = self._active.get(slot)
        if active is not None and (active.is_sealed or active.size > self._rotate):
            self._seal(slot)
            active = None
        active = active or self._open(slot)
        before = active.size
        if self._bytes + len(row) + RECORD_BYTES > self._limit or not active.append(row):
            return False
        self._bytes += active.size - before
        return True

    def told(self, table: str) -> int:
        """Return how many rows of a table have ever been appended."""
        with journal.lock:
            return self._gone[table] + sum(file.ever for file in self._own() if file.table == table)

    def is_done(self, table: str, told: int) -> bool:
        """Whether none of the first rows of a table wait any more."""
        with journal.lock:
            return self.told(table) - self._pending(table) >= told

    def newly_late(self, table: str) -> int:
        """Count the rows that wait and were not counted before."""
        with journal.lock:
            all_told = self.told(table)
            found = all_told - max(self._late[table], all_told - self._pending(table))
            self._late[table] = all_told
            return found

    def pending(self) -> int:
        """Rows of this process that are in a file."""
        with journal.lock:
            return sum(file.pending for file in self._own())

    def _pending(self, table: str) -> int:
        return sum(file.pending for file in self._own() if file.table == table)

    def first_own(self, table: str) -> Journal | None:
        """Return the file of this process whose rows come next."""
        with journal.lock:
            if self._full[table]:
                return self._full[table][0]
            waiting = (file for file in self._active.values() if file.table == table and not file.is_drained)
            return next(waiting, None)

    def first_taken(self, table: str) -> Journal | None:
        """Return a file of an ended process."""
        return self._taken[table][0] if self._taken[table] else None

    def done(self, file: Journal, piece: Piece) -> int:
        """Note that a piece is written, and return how many rows damage took; a file that is done goes away."""
        with journal.lock:
            before = file.size
            damaged = file.done(piece)
            if file.is_own and not file.is_sealed:
                self._bytes += file.size - before
            elif file.is_drained:
                self._forget(file)
            return damaged

    def take_over(self) -> None:
        """Take the files of processes that have ended; files of this process that are gone are not used further."""
        with journal.lock:
            for slot, active in list(self._active.items()):
                if not active.is_in_place():
                    self._seal(slot)
            self._bytes = sum(own.size for own in self._own())
            mine = {file.path for files in self._taken.values() for file in files} | {f.path for f in self._own()}
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.iterdir()):
                name = _NAME.fullmatch(path.name)
                if name and path not in mine and (file := take(path, name[1])):
                    self._taken[name[1]].append(file)

    def give_up_taken(self) -> None:
        """Leave the files of ended processes to a process that can write them."""
        with journal.lock:
            for files in self._taken.values():
                while files:
                    files.popleft().close()

    def note_told(self) -> None:
        """Record next to each file how many rows wait in it."""
        with journal.lock:
            for file in self._own():
                file.note_told()

    def reject(self, table: str, rows: list[bytes]) -> bool:
        """Keep rows that the database refused; False when there is no room."""
        return append_to_shared(self._folder / f"{table}.rejected", rows, self._limit, UNNUMBERED)

    def release(self) -> None:
        """Let other processes, or the next writer of this one, take over the files."""
        with journal.lock:
            for file in [*self._own(), *(file for files in self._taken.values() for file in files)]:
                self._gone[file.table] += file.ever
                if file.is_drained:
                    file.remove()
                else:
                    file.close()
            self._active.clear()
            for files in (*self._full.values(), *self._taken.values()):
                files.clear()
            self._bytes = 0

    def _own(self) -> list[Journal]:
        return [*self._active.values(), *(file for files in self._full.values() for file in files)]

    def _open(self, slot: tuple[str, int]) -> Journal:
        table, _ = slot
        name = f"{table}-{os.getpid()}-{uuid4().hex[:12]}.journal"
        self._active[slot] = create(self._folder / name, table)
        return self._active[slot]

    def _seal(self, slot: tuple[str, int]) -> None:
        file = self._active.pop(slot)
        file.is_sealed = True
        self._full[file.table].append(file)

    def _forget(self, file: Journal) -> None:
        self._active = {slot: active for slot, active in self._active.items() if active is not file}
        for files in (self._full, self._taken):
            if file in files[file.table]:
                files[file.table].remove(file)
        self._gone[file.table] += file.ever
        self._bytes = sum(own.size for own in self._own())
        file.remove()


def require_folder(folder: Path) -> None:
    """Raise SettingsError unless journals can be made, locked and removed in a folder."""
    try:
        with journal.lock:
            create(folder / f"probe-{uuid4().hex[:12]}.journal", "").remove()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        msg = (
            f"events cannot be kept in {folder}: {reason}; give configure(spill_folder=…) or SMARTTEXT_DATA_DIR "
            "a folder that this user can write"
        )
        raise SettingsError(msg) from None
