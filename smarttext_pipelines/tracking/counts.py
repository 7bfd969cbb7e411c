"""What became of the events of a writer, counted from several threads."""

import threading
from collections import Counter
from collections.abc import Mapping

LOST = ("dropped", "damaged", "rejected")
"""What somebody should hear of soon."""


class Counts:
    """Named numbers that only rise."""

    def __init__(self) -> None:
        # A signal handler may tell events in the middle of an event.
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()

    def add(self, **more: int) -> None:
        """Raise some numbers."""
        with self._lock:
            self._counts.update(more)

    def now(self) -> Mapping[str, int]:
        """Return all numbers."""
        with self._lock:
            return dict(self._counts)
