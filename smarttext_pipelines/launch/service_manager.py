"""Tells systemd how this process is, by the protocol of sd_notify(3); nothing happens where no manager asked for it.

A server tells from its event loop, and a loop from its rounds, so that one that hangs is silent and is restarted.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Meant for one process, not for those that it starts."""

_SEND_SECONDS = 5
_STARTUP_FAILED = 3


def notify(state: str) -> None:
    """Send ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``; a manager that cannot be reached is no reason to fail."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(_SEND_SECONDS)
        # An address that begins with @ is in Linux's abstract namespace.
        manager.sendto(state.encode(), f"\0{address[1:]}" if address[0] == "@" else address)


def watchdog_seconds() -> float | None:
    """Return how often the manager is to be told that all is well, half of its patience; None if it does not ask."""
    microseconds, asked = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not microseconds.isdigit() or (asked and asked != str(os.getpid())):
        return None
    return int(microseconds) / 2e6


class Watchdog:
    """Tells the manager at most every ``watchdog_seconds``, however often the process comes by."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._every, self._told_at = watchdog_seconds(), float("-inf")

    def alive(self) -> None:
        """Say that all is well, if that is due."""
        now = time.monotonic()
        if self._every is not None and now - self._told_at >= self._every:
            self._told_at = now
            notify("WATCHDOG=1")

    def wait(self, seconds: float, wait: Callable[[float], bool]) -> bool:
        """Wait with ``wait``, in parts, and say in between that all is well; return whether it ended the waiting."""
        end = time.monotonic() + seconds
        while True:
            self.alive()
            left = max(0.0, end - time.monotonic())
            part = left if self._every is None else min(left, self._every)
            if wait(part):
                return True
            if part == left:
                return False


def serve(app: Any, **options: Any) -> None:
    """Serve an ASGI application with uvicorn until SIGINT or SIGTERM; the manager learns when it listens and stops.

    Returns after either signal, so that the caller can finish what it has begun.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, *given: Any, **named: Any) -> None:
            await super().startup(*given, **named)
            if self.started:
                notify("READY=1")

        async def shutdown(self, *given: Any, **named: Any) -> None:
            notify("STOPPING=1")
            await super().shutdown(*given, **named)

    async def alive() -> None:
        notify("WATCHDOG=1")

    every = watchdog_seconds()
    told: dict[str, Any] = {} if every is None else {"callback_notify": alive, "timeout_notify": every}
    server = Server(uvicorn.Config(app, **options, **told))
    # uvicorn stops, and raises the signal once more for whoever was there before it.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            server.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    if not server.started:
        sys.exit(_STARTUP_FAILED)
