"""Files (0600) for what cannot be written now: one per process, locked while it lives, replayed and removed later.

A line is one row: table, tabulator, JSON. A file whose process died is adopted by the next process of the folder.
"""

import contextlib
import fcntl
import os
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from smarttext_pipelines.tracking.inserts import Row


class SpillFile:
    """An open, locked file of rows; ``is_own`` tells whether this process wrote it."""

    def __init__(self, path: Path, handle: int, *, is_own: bool) -> None:
        self.path, self.is_own, self.rows = path, is_own, 0
        self._handle, self._done_to = handle, 0
        self._reader = os.fdopen(os.dup(handle), "rb")

    def append(self, rows: Sequence[Row]) -> int:
        """Write all rows or none, and return how many bytes that were."""
        data = b"".join(f"{table}\t{row}\n".encode() for table, row in rows)
        size = os.fstat(self._handle).st_size
        try:
            written = 0
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError:
            # Half a line would spoil the next one.
            os.ftruncate(self._handle, size)
            raise
        self.rows += len(rows)
        return len(data)

    def read(self, most: int) -> list[Row]:
        """Return the next rows that are not done; a last line that was cut off by a crash is left out."""
        self._reader.seek(self._done_to)
        rows: list[Row] = []
        while len(rows) < most and (line := self._reader.readline()):
            table, separator, row = line.decode(errors="replace").rstrip("\n").partition("\t")
            if separator and line.endswith(b"}\n"):
                rows.append((table, row))
        return rows

    def done(self, rows: Sequence[Row]) -> None:
        """Note that the rows that were read last are written."""
        self._done_to = self._reader.tell()
        self.rows -= len(rows)

    def close(self) -> None:
        """Give the lock back."""
        self._reader.close()
        os.close(self._handle)

    def remove(self) -> None:
        """Delete the file; its lock goes with it."""
        self.path.unlink(missing_ok=True)
        self.close()


class Spill:
    """The files of this process and those it adopted."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._lock = threading.Lock()
        self._active: SpillFile | None = None
        self._full: deque[SpillFile] = deque()
        self._bytes = 0

    @property
    def pending(self) -> int:
        """Rows of this process that are in a file."""
        with self._lock:
            files = [*self._full, *([self._active] if self._active else [])]
            return sum(file.rows for file in files if file.is_own)

    def append(self, rows: Sequence[Row]) -> bool:
        """Write rows; False when the files are full or cannot be written."""
        size = sum(len(table) + len(row) + 2 for table, row in rows)
        with self._lock:
            if self._bytes + size > self._limit:
                return False
            try:
                self._active = self._active or self._open(self._folder / f"{os.getpid()}-{uuid4().hex[:12]}.jsonl")
                self._bytes += self._active.append(rows)
            except OSError:
                return False
        return True

    def adopt(self) -> None:
        """Take the files of processes that have ended."""
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.glob("*.jsonl")):
                mine = {file.path for file in self._full} | ({self._active.path} if self._active else set())
                if path not in mine and (file := _lock_existing(path)):
                    self._full.append(file)

    def next_file(self) -> SpillFile | None:
        """Return the file to replay; it stays until ``remove``."""
        with self._lock:
            if not self._full and self._active:
                self._full.append(self._active)
                self._active = None
            return self._full[0] if self._full else None

    def remove(self, file: SpillFile) -> None:
        """Remove a file all of whose rows are written."""
        with self._lock:
            self._full.remove(file)
            self._bytes = 0 if not self._full and not self._active else self._bytes
            file.remove()

    def release(self) -> None:
        """Let other processes, or the next writer of this one, take over the files."""
        with self._lock:
            self.abandon()

    def abandon(self) -> None:
        """Close the files, without the lock, which another thread may have held when this process was forked."""
        for file in (*self._full, *([self._active] if self._active else [])):
            file.close()
        self._full.clear()
        self._active = None

    def _open(self, path: Path) -> SpillFile:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return SpillFile(path, handle, is_own=True)


def _lock_existing(path: Path) -> SpillFile | None:
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        still_there = os.fstat(handle).st_ino == path.stat().st_ino
    except OSError:
        still_there = False
    if not still_there:
        os.close(handle)
        return None
    return SpillFile(path, handle, is_own=False)
