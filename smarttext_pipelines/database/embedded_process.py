"""The embedded PostgreSQL as a process: start it, find it, stop it.

A lock that every PostgreSQL process inherits from us shows whether it lives: unlike the process id in
``postmaster.pid`` it cannot be stale, a zombie or somebody else's. Who shares the server is not decided here.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from smarttext_pipelines.core.errors import EmbeddedServerError
from smarttext_pipelines.database.embedded_cluster import PASSWORD_FILE, SUPERUSER, create_cluster
from smarttext_pipelines.database.embedded_user import Place

HOST = "127.0.0.1"
_STARTS_WITHIN_SECONDS = 180  # replaying the log of a killed server takes its time
_STOPS_WITHIN_SECONDS = 30
_PORT_ATTEMPTS = 5
_POLL_SECONDS = 0.02
_LOG_LIMIT_BYTES = 5_000_000


@dataclass(frozen=True)
class EmbeddedServer:
    """A running embedded server and how to reach it."""

    data_directory: Path
    host: str
    port: int
    password: str = field(repr=False)

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://{SUPERUSER}:{self.password}@{self.host}:{self.port}/{database}"


@dataclass
class ServerProcess:
    """The server process of one directory, no matter who started it."""

    place: Place
    lock_file: Path
    log_file: Path
    started: subprocess.Popen[bytes] | None = None

    def attach_or_start(self) -> EmbeddedServer:
        """Return the running server, started if it was not running."""
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            if server := find_running(self.place.cluster):
                return server
            with self._claim() as lock:
                if lock is not None:
                    return self._start(lock)
            # It is alive and does not answer: it is starting, or was killed and its last processes are ending.
            time.sleep(_POLL_SECONDS)
        message = f"PostgreSQL in {self.place.cluster} does not answer: {_last_line(self.log_file, 0)}"
        raise EmbeddedServerError(message)

    def stop(self) -> None:
        """Stop the server if we, or another process of this project, started it."""
        asked: set[int] = set()
        begun = time.monotonic()
        while not self._is_gone():
            waited = time.monotonic() - begun
            if waited > 2 * _STOPS_WITHIN_SECONDS:
                message = f"PostgreSQL in {self.place.cluster} does not stop: see {self.log_file}"
                raise EmbeddedServerError(message)
            pid = _postmaster_pid(self.place.cluster)
            if pid and (pid not in asked or waited > _STOPS_WITHIN_SECONDS):
                asked.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT if waited > _STOPS_WITHIN_SECONDS else signal.SIGINT)
            time.sleep(_POLL_SECONDS)
        if self.started:
            self.started.wait()

    def disown(self) -> None:
        """Leave the server running for the others who use it."""
        if self.started and self.started.poll() is None:
            self.started.returncode = 0  # else subprocess warns that we forgot about it

    @contextlib.contextmanager
    def _claim(self) -> Iterator[int | None]:
        """Hold the lock if the server is not alive; None if it is."""
        lock = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield lock if try_lock(lock) else None
        finally:
            os.close(lock)

    def _is_gone(self) -> bool:
        with self._claim() as lock:
            return lock is not None

    def _start(self, lock: int) -> EmbeddedServer:
        if not self.place.cluster.exists():
            create_cluster(self.place)
        # The lock is ours, so no process of this cluster lives; the id in the file may be anybody's by now.
        (self.place.cluster / "postmaster.pid").unlink(missing_ok=True)
        for _ in range(_PORT_ATTEMPTS):
            log_start = _log_size(self.log_file)
            if server := self._start_on(_free_port(), lock):
                return server
            fault = _last_line(self.log_file, log_start)
            if "could not create any TCP/IP sockets" not in fault:
                break
        message = f"PostgreSQL did not start: {fault} (see {self.log_file}, or set SMARTTEXT_DATABASE_URL)"
        raise EmbeddedServerError(message)

    def _start_on(self, port: int, lock: int) -> EmbeddedServer | None:
        """Start the server; None if it ended before it could be reached."""
        command = [str(self.place.binaries / "postgres"), "-D", str(self.place.cluster), "-p", str(port)]
        command += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="]
        with self.log_file.open("ab") as log:
            self.started = subprocess.Popen(  # noqa: S603
                command, stdout=log, stderr=log, pass_fds=[lock], **self.place.popen_options()
            )
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while self.started.poll() is None and time.monotonic() < deadline:
            if server := find_running(self.place.cluster):
                return server
            time.sleep(_POLL_SECONDS)
        return None


def find_running(cluster: Path) -> EmbeddedServer | None:
    """Return the server of this cluster if it answers; a foreign server on its old port is not it."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        password = (cluster / PASSWORD_FILE).read_text()
        if lines[7].strip() != "ready":
            return None
        server = EmbeddedServer(cluster, HOST, int(lines[3]), password)
        with connect(server, "postgres") as connection, connection.cursor() as cursor:
            return server if serves(cursor, cluster) else None
    except (FileNotFoundError, IndexError, ValueError, psycopg.Error):
        return None


def connect(server: EmbeddedServer, database: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect without ever handing the password to a server that asks for it in clear."""
    return psycopg.connect(
        server.url(database), autocommit=True, connect_timeout=10, sslmode="disable", require_auth="scram-sha-256"
    )


def serves(cursor: psycopg.Cursor[tuple[object, ...]], cluster: Path) -> bool:
    """Whether the server behind a cursor runs this cluster."""
    # pg_settings hides the row from roles that may not see it, where SHOW would fail and break the transaction.
    row = cursor.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'").fetchone()
    if row is None or row[0] != str(cluster):
        return False
    # The same path exists on other machines.
    identifier = cursor.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    return identifier is not None and identifier[0] == _system_identifier(cluster)


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock without waiting; whether it was free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def prepare_log(path: Path) -> Path:
    """Return the path, ready to be appended to; a long log is put aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _log_size(path) > _LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path


def _system_identifier(cluster: Path) -> int:
    with (cluster / "global" / "pg_control").open("rb") as control:
        return int.from_bytes(control.read(8), sys.byteorder, signed=True)


def _postmaster_pid(cluster: Path) -> int | None:
    try:
        return int((cluster / "postmaster.pid").read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _log_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _last_line(log_file: Path, start: int) -> str:
    """Return the last complaint in a log from a position on, else its last line."""
    with log_file.open("rb") as log:
        log.seek(start)
        lines = log.read().decode(errors="replace").splitlines()
    complaints = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "ERROR:"))]
    return next(iter((complaints or lines)[-1:]), "it said nothing")
