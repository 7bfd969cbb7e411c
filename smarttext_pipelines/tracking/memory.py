"""Rows that no file could take: bounded, and lost when the process is killed."""

import threading
from collections import deque


class Memory:
    """A bounded queue of tables and rows; one thread takes, any thread puts."""

    def __init__(self, limit_bytes: int) -> None:
        self._lock = threading.RLock()
        self._limit, self._bytes = limit_bytes, 0
        self._rows: deque[tuple[str, bytes]] = deque()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def put(self, table: str, row: bytes) -> bool:
        """Take a row; False when there is no room."""
        with self._lock:
            if self._bytes + len(row) > self._limit:
                return False
            self._rows.append((table, row))
            self._bytes += len(row)
            return True

    def first(self, max_rows: int) -> tuple[str, list[bytes]] | None:
        """Return the oldest rows of one table, which stay until ``drop_first``."""
        with self._lock:
            if not self._rows:
                return None
            table = self._rows[0][0]
            found: list[bytes] = []
            for other, row in self._rows:
                if other != table or len(found) == max_rows:
                    break
                found.append(row)
            return table, found

    def drop_first(self, count: int) -> None:
        """Forget the oldest rows."""
        with self._lock:
            for _ in range(count):
                self._bytes -= len(self._rows.popleft()[1])

    def turn(self) -> None:
        """Let the rows of another table come first."""
        with self._lock:
            found = self.first(len(self._rows))
            if found is not None:
                self._rows.rotate(-len(found[1]))
