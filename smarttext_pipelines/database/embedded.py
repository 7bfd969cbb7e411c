"""The embedded PostgreSQL, shared by the processes that need it: the first starts it, the last to leave stops it.

A process holds a shared lock while it uses the server; the kernel frees that lock even after ``kill -9``. How the
server is run is in ``embedded_process``, as whom and from where in ``embedded_user``, how made in ``embedded_cluster``.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row
from sqlalchemy import Connection

from smarttext_pipelines.core.errors import EmbeddedServerError
from smarttext_pipelines.database.embedded_process import (
    EmbeddedServer,
    ServerProcess,
    connect,
    find_running,
    prepare_log,
    serves,
    try_lock,
)
from smarttext_pipelines.database.embedded_user import find_place, known_clusters

__all__ = ["EmbeddedServer", "embedded_server", "ensure_database", "has_cluster", "is_embedded", "running_server"]


@contextmanager
def embedded_server(data_dir: Path) -> Iterator[EmbeddedServer]:
    """Hold the embedded server of a data directory; it is started if need be and stopped by its last user.

    Raises:
        EmbeddedServerError: it cannot be started, or another server answers in its place.
    """
    home = _home(data_dir)
    with _readable_errors(home):
        process = _prepare(home, data_dir)
        users = os.open(home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with _readable_errors(home), _alone(home):
            fcntl.flock(users, fcntl.LOCK_SH)
            server = process.attach_or_start()
        yield server
    finally:
        with _alone(home):
            _leave(users, process)


def has_cluster(data_dir: Path) -> bool:
    """Whether a data directory ever had an embedded server."""
    return any(cluster.exists() for cluster in known_clusters(_home(data_dir)))


def running_server(data_dir: Path) -> EmbeddedServer | None:
    """Return the embedded server of a data directory if it runs; it is not started, and nothing is made."""
    return next((found for cluster in known_clusters(_home(data_dir)) if (found := find_running(cluster))), None)


def ensure_database(server: EmbeddedServer, name: str) -> bool:
    """Create a database if it is missing; return whether it was."""
    with connect(server, "postgres") as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return False
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg.errors.DuplicateDatabase:
            return False
        return True


def is_embedded(connection: psycopg.Connection[Any] | Connection, data_dir: Path) -> bool:
    """Whether the server behind a connection is the embedded one of this data directory."""
    driver = connection.connection.driver_connection if isinstance(connection, Connection) else connection
    if not isinstance(driver, psycopg.Connection):
        message = f"cannot ask a connection of type {type(driver).__name__} whose server it is: use psycopg 3"
        raise EmbeddedServerError(message)
    with driver.cursor(row_factory=tuple_row) as cursor:
        return any(serves(cursor, cluster) for cluster in known_clusters(_home(data_dir)))


def _home(data_dir: Path) -> Path:
    return data_dir.resolve() / "postgres"


def _prepare(home: Path, data_dir: Path) -> ServerProcess:
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home):
        place = find_place(home)
    return ServerProcess(place, home / "server.lock", prepare_log(data_dir.resolve() / "logs" / "postgres.log"))


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    descriptor = os.open(home / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _readable_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"the embedded server in {home} cannot be used: {error} (set SMARTTEXT_DATA_DIR to another directory)"
        raise EmbeddedServerError(message) from error


def _leave(users: int, process: ServerProcess) -> None:
    """Give up our share; nobody can join meanwhile, so a process that gets the lock alone is the last."""
    try:
        if try_lock(users):
            process.stop()
        else:
            process.disown()
    finally:
        os.close(users)
