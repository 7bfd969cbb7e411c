"""Separates launchers: one ``smarttext up`` per data directory, and a port that nobody uses."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smarttext_pipelines.core.errors import SettingsError, SmartTextError

_LEFTOVERS_END_WITHIN_SECONDS = 20
_POLL_SECONDS = 0.1
_PORTS_TRIED = 20


class AlreadyRunningError(SmartTextError):
    """Another launcher uses the data directory or the port."""


@contextmanager
def only_launcher(data_dir: Path) -> Iterator[int]:
    """Be the one launcher of a data directory; gives the lock that its child processes hold with it.

    The children of a launcher that was killed end by themselves; they are waited for.

    Raises:
        SettingsError: The data directory cannot be made or written to.
        AlreadyRunningError: Another launcher runs, or children of one do not end.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        launcher = os.open(data_dir / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        children = os.open(data_dir / "children.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        message = f"SMARTTEXT_DATA_DIR: {data_dir} cannot be written to ({error.strerror}); name another directory"
        raise SettingsError(message) from None
    try:
        if not _lock(launcher, patience=0):
            pid = os.pread(launcher, 20, 0).decode() or "unknown"
            message = f"'smarttext up' already runs on {data_dir} as process {pid}: stop it there, or with 'kill {pid}'"
            raise AlreadyRunningError(message)
        os.truncate(launcher, 0)
        os.pwrite(launcher, str(os.getpid()).encode(), 0)
        if not _lock(children, patience=_LEFTOVERS_END_WITHIN_SECONDS):
            message = f"processes of an earlier 'smarttext up' on {data_dir} do not end: see 'ps -e | grep dagster'"
            raise AlreadyRunningError(message)
        yield children
    finally:
        os.close(children)
        os.close(launcher)


def require_free_port(host: str, port: int, option: str = "--port") -> None:
    """Raise AlreadyRunningError when the port cannot be listened on."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As the web server does it: else connections that ended a moment ago keep the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror}; stop what runs there, or choose another {option}"
        raise AlreadyRunningError(message) from None


def next_free_port(host: str, first: int, taken: int) -> int:
    """Return the first port that can be listened on, and that is not ``taken`` by what starts with it.

    Raises:
        AlreadyRunningError: The next ports are in use too.
    """
    for port in range(first, first + _PORTS_TRIED):
        with suppress(AlreadyRunningError):
            if port != taken:
                require_free_port(host, port)
                return port
    message = f"cannot listen on {host}:{first}, nor on the {_PORTS_TRIED - 1} ports after it; choose a --web-port"
    raise AlreadyRunningError(message)


def _lock(descriptor: int, *, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True
