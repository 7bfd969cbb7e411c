"""One file (0600) of records that a process appends to and reads from the start; the holder of its lock may read it.

What was appended is in the page cache, so it survives any end of the process. A child of a fork neither keeps
its parent's locks nor writes into its files.
"""

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

from smarttext_pipelines.tracking.records import HEADER_BYTES, Piece, Position, encode, read

RECORD_BYTES = HEADER_BYTES + 1
"""Bytes of a record in addition to its row."""

_BLOCK_BYTES = 4096
_handles: set[int] = set()
"""Every handle of this process that holds a lock."""

lock = threading.RLock()
"""Held while files are opened, appended to or shortened, and during a fork. A signal handler may record events, too."""


def _after_fork() -> None:
    global lock
    lock = threading.RLock()
    for handle in _handles:
        # Otherwise the locks would outlive the parent.
        with contextlib.suppress(OSError):
            os.close(handle)
    _handles.clear()


os.register_at_fork(
    before=lambda: lock.acquire(),
    after_in_parent=lambda: lock.release(),
    after_in_child=_after_fork,
)


class Journal:
    """An open, locked file; ``is_own`` is whether this process appends to it.

    While its rows wait, a second file (``.told``) says how many they are, so that a cut-off end is noticed.
    """

    def __init__(self, path: Path, table: str, handle: int, *, is_own: bool) -> None:
        self.path, self.table, self.is_own = path, table, is_own
        self.told, self.ever, self.size = 0, 0, os.fstat(handle).st_size
        self.is_sealed = not is_own
        self._beside, self._noted = path.with_suffix(".told"), 0
        if not is_own:
            with contextlib.suppress(OSError, ValueError):
                self.told = int(self._beside.read_text())
        self._handle, self._position = handle, Position()
        _handles.add(handle)

    @property
    def pending(self) -> int:
        """Rows that were appended here and are not done."""
        return self.told - self._position.number if self.is_own else 0

    @property
    def is_drained(self) -> bool:
        """Whether there is nothing behind what is done."""
        return self._position.offset >= self.size

    def append(self, row: bytes) -> bool:
        """Write one row, or nothing and return False; under the lock."""
        data = memoryview(encode(self.told, row))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError:
            # Its reader would take half a record for damage.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self.size)
            return False
        self.size += written
        self.told += 1
        self.ever += 1
        return True

    def read(self, max_rows: int) -> Piece:
        """Return the next rows that are not done."""
        with lock:
            size, told = self.size, self.told
            if self.is_own and os.fstat(self._handle).st_size < size:
                # Somebody shortened it: what is left is read from the beginning, and what is done is skipped.
                self.is_sealed = True
                size = self.size = os.fstat(self._handle).st_size
                self._position = Position(number=self._position.number)
        piece = read(self._load, self._position, size, max_rows, told, is_exact=self.is_own)
        if self.is_own:
            piece.rows = [(number, row) for number, row in piece.rows if number >= self._position.number]
        return piece

    def done(self, piece: Piece) -> int:
        """Note that a piece is written; return how many rows damage took from it. A drained file becomes empty."""
        with lock:
            damaged = piece.after.damaged - self._position.damaged
            self._position = piece.after
            if self.is_own and not self.is_sealed and self.is_drained:
                self._forget_told()
                os.ftruncate(self._handle, 0)
                self.told, self.size, self._position = 0, 0, Position()
            return damaged

    def note_told(self) -> None:
        """Write down how many rows there are, where they wait."""
        with lock, contextlib.suppress(OSError):
            if self.pending and self.told != self._noted:
                handle = os.open(self._beside, os.O_CREAT | os.O_WRONLY, 0o600)
                try:
                    os.write(handle, b"%010d" % self.told)
                finally:
                    os.close(handle)
                self._noted = self.told

    def _forget_told(self) -> None:
        if self._noted or not self.is_own:
            self._beside.unlink(missing_ok=True)
            self._noted = 0

    def is_in_place(self) -> bool:
        """Whether the file can still be found under its name."""
        try:
            return os.fstat(self._handle).st_ino == self.path.stat().st_ino
        except OSError:
            return False

    def close(self) -> None:
        """Give the lock back; under the lock."""
        _handles.discard(self._handle)
        os.close(self._handle)
        self._handle = -1

    def remove(self) -> None:
        """Delete the file; its lock goes with it; under the lock."""
        self._forget_told()
        if self.is_in_place():
            self.path.unlink(missing_ok=True)
        self.close()

    def _load(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._handle, length, offset)
        except OSError:
            return b"".join(self._load_block(offset + at, length - at) for at in range(0, length, _BLOCK_BYTES))

    def _load_block(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._handle, min(length, _BLOCK_BYTES), offset)
        except OSError:
            # The medium cannot read this block.
            return b"\0" * min(length, _BLOCK_BYTES)


def create(path: Path, table: str) -> Journal:
    """Make a file of this process.

    Raises:
        OSError: It cannot be made, or locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Under another name until it is locked, so that nobody believes its process has ended.
    unlocked = path.with_suffix(".new")
    with lock:
        handle = os.open(unlocked, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(path)
        except OSError:
            unlocked.unlink(missing_ok=True)
            os.close(handle)
            raise
        return Journal(path, table, handle, is_own=True)


def take(path: Path, table: str) -> Journal | None:
    """Lock a file that another process left; None while somebody has it."""
    with lock:
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = os.fstat(handle).st_ino == path.stat().st_ino
        except OSError:
            is_free = False
        if is_free:
            return Journal(path, table, handle, is_own=False)
        os.close(handle)
        return None


def append_to_shared(path: Path, rows: list[bytes], limit: int, number: int) -> bool:
    """Append rows to a file that belongs to no process; False when it is full or cannot be written."""
    data = b"".join(encode(number, row) for row in rows)
    for _ in range(100):
        with lock:
            try:
                handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            except OSError:
                return False
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_ino != path.stat().st_ino:
                    continue
                if os.fstat(handle).st_size + len(data) > limit:
                    return False
                return os.write(handle, data) == len(data)
            except BlockingIOError:
                pass
            except OSError:
                return False
            finally:
                os.close(handle)
        time.sleep(0.01)
    return False
