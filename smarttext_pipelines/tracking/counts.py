"""What became of the events of a writer, counted from several threads."""

import threading
from collections import Counter, deque
from collections.abc import Mapping

LOST = ("dropped", "damaged", "rejected")
"""Counters that are reported soon."""


class Counts:
    """Named numbers that only rise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        # Appending cannot be interrupted: a signal handler may record an event in the middle of another.
        self._new: deque[Mapping[str, int]] = deque()

    def add(self, **more: int) -> None:
        """Raise some numbers."""
        self._new.append(more)

    def now(self) -> Mapping[str, int]:
        """Return all numbers."""
        if self._lock.acquire(timeout=1):
            try:
                while self._new:
                    self._counts.update(self._new.popleft())
            finally:
                self._lock.release()
        return dict(self._counts)
