"""A pooler that shares server processes between sessions is refused; one that gives each its own is not."""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from threading import Lock, Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine

from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.connect import open_engine, parse_url
from smarttext_pipelines.database.pooler import has_sessions, refuse_transaction_pooler
from smarttext_pipelines_tests.conftest import Database

PARAMETERS = ("server_version", "client_encoding", "standard_conforming_strings", "integer_datetimes", "TimeZone")


@pytest.mark.parametrize(
    ("first", "second"),
    [([7, 7, 7], [7, 7]), ([7, 8, 7], [9, 9]), ([7, 7, 7], [8, 9]), ([7, 7, 8], [9, 9]), ([7, 7, 7], [8, 7])],
)
def test_a_process_that_changes_or_serves_both_is_shared(first: Sequence[int], second: Sequence[int]) -> None:
    assert not has_sessions(first, second)


def test_two_processes_that_stay_are_sessions() -> None:
    assert has_sessions([7, 7, 7], [8, 8])


class Pooler:
    """A small pooler: greets clients itself and hands each transaction to the next of its server connections.

    Args:
        database: Where the server connections lead.
        servers: How many there are; None gives every client one of its own.
    """

    def __init__(self, database: Database, servers: int | None) -> None:
        self._database, self._servers = database, servers
        self._turn, self._turns = Lock(), count()
        self._shared = [self._open() for _ in range(servers or 0)]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def _open(self) -> tuple[psycopg.Connection[Any], socket.socket]:
        url = parse_url(self._database.url).set(drivername="postgresql").update_query_dict({"sslmode": "disable"})
        connection = psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)
        server = socket.socket(fileno=os.dup(connection.fileno()))
        server.setblocking(True)
        return connection, server

    def serve(self) -> None:
        threads = []
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                break
            threads.append(Thread(target=self._serve, args=[client]))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection, server in self._shared:
            server.close()
            connection.close()

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as stack:
            stack.enter_context(client)
            own = self._shared or [self._open()]
            if not self._shared:
                stack.callback(own[0][0].close)
                stack.enter_context(own[0][1])
            self._greet(client, own[0][0])
            while not self._transaction(client, own):
                pass

    def _transaction(self, client: socket.socket, servers: Sequence[Any]) -> bool:
        """Serve one transaction; tell whether the client has left."""
        kind = client.recv(1)
        if kind in (b"", b"X"):
            return True
        with self._turn:
            server = servers[next(self._turns) % len(servers)][1]
            while True:
                server.sendall(_message(client, kind))
                if kind in b"QS" and self._answer(client, server) == b"I":
                    return False
                kind = _read(client, 1)

    def _greet(self, client: socket.socket, like: psycopg.Connection[Any]) -> None:
        while (length := struct.unpack("!i", _read(client, 4))[0]) == 8:
            _read(client, 4)
            client.sendall(b"N")
        _read(client, length - 4)
        client.sendall(b"R" + struct.pack("!ii", 8, 0))
        for name in PARAMETERS:
            body = f"{name}\0{like.info.parameter_status(name)}\0".encode()
            client.sendall(b"S" + struct.pack("!i", len(body) + 4) + body)
        client.sendall(b"K" + struct.pack("!iii", 12, 1, 1) + b"Z" + struct.pack("!i", 5) + b"I")

    @staticmethod
    def _answer(client: socket.socket, server: socket.socket) -> bytes:
        """Hand over one answer; return the state of the transaction after it."""
        while True:
            kind = _read(server, 1)
            message = _message(server, kind)
            client.sendall(message)
            if kind == b"Z":
                return message[-1:]


def _read(peer: socket.socket, length: int) -> bytes:
    return peer.recv(length, socket.MSG_WAITALL)


def _message(peer: socket.socket, kind: bytes) -> bytes:
    head = _read(peer, 4)
    return kind + head + _read(peer, struct.unpack("!i", head)[0] - 4)


@contextmanager
def pooled(database: Database, servers: int | None) -> Iterator[str]:
    """Give the URL of a pooler in front of the database."""
    pooler = Pooler(database, servers)
    thread = Thread(target=pooler.serve)
    thread.start()
    try:
        yield f"postgresql://somebody@127.0.0.1:{pooler.port}/{database.name}"
    finally:
        pooler.close()
        thread.join()


def setting(database: Database, url: str) -> str:
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        value = connection.exec_driver_sql("SHOW row_security").scalar_one()
    engine.dispose()
    return str(value)


def test_a_direct_connection_passes(database: Database) -> None:
    refuse_transaction_pooler(database.engine)


def test_a_pooler_that_gives_each_session_a_process_of_its_own_passes(database: Database) -> None:
    with pooled(database, None) as url:
        refuse_transaction_pooler(open_engine(url))


@pytest.mark.parametrize("servers", [1, 2, 3])
def test_a_pooler_that_shares_its_processes_is_refused_with_the_reason(database: Database, servers: int) -> None:
    with pooled(database, servers) as url, pytest.raises(DatabaseError, match=r"is a transaction pooler, .*port 5432"):
        refuse_transaction_pooler(open_engine(url))


def test_the_sessions_that_others_share_are_left_as_they_were(database: Database) -> None:
    with pooled(database, 1) as url:
        with pytest.raises(DatabaseError):
            refuse_transaction_pooler(open_engine(url))
        assert setting(database, url) == "on"
