"""What goes wrong with a database is told in one line that says what to do, without passwords and without rows."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from sqlalchemy import text

from smarttext_pipelines.core.errors import DatabaseError, SchemaError, SettingsError
from smarttext_pipelines.database.connect import connected, describe, open_engine, parse_url
from smarttext_pipelines_tests.conftest import Database, Server

PASSWORD = "s3cret-pass"  # noqa: S105 - of nobody


def complaint(url: str, statement: str = "SELECT 1") -> str:
    """Return what is told when a statement is run on a URL."""
    with pytest.raises(DatabaseError) as raised, connected(open_engine(url)) as connection:
        connection.execute(text(statement))
    message = str(raised.value)
    assert "\n" not in message
    assert PASSWORD not in message
    return message


@contextmanager
def server_that_answers(error: bytes) -> Iterator[int]:
    """Give the port of a server that refuses every client with one error message of the protocol."""

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while (length := struct.unpack("!i", client.recv(4))[0]) == 8:  # asks for encryption
                    client.recv(length - 4)
                    client.sendall(b"N")
                client.recv(length - 4)
                client.sendall(b"E" + struct.pack("!i", len(error) + 4) + error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-host.invalid"])
def test_an_unreachable_server_is_told_with_the_setting_to_look_at(host: str) -> None:
    message = complaint(f"postgresql://somebody:{PASSWORD}@{host}:1/stats")
    assert message.startswith(f"PostgreSQL at {host}:1/stats cannot be used: ")
    assert message.endswith("; check SMARTTEXT_DATABASE_URL and the server")


def test_a_wrong_password_is_told_without_the_password() -> None:
    said = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "somebody"\0\0'
    with server_that_answers(said) as port:
        message = complaint(f"postgresql://somebody:{PASSWORD}@127.0.0.1:{port}/stats")
    assert (
        f'127.0.0.1:{port}/stats cannot be used: FATAL:  password authentication failed for user "somebody"' in message
    )


def test_a_server_that_starts_or_is_full_says_so() -> None:
    with server_that_answers(b"SFATAL\0VFATAL\0C53300\0Mtoo many clients already\0\0") as port:
        assert "too many clients already" in complaint(f"postgresql://somebody:{PASSWORD}@127.0.0.1:{port}/stats")


def test_a_missing_database_is_named(server: Server) -> None:
    assert 'database "no_such_database" does not exist' in complaint(server.url("no_such_database"))


def test_a_parameter_that_the_driver_does_not_know_is_named() -> None:
    message = complaint(f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/stats?pgbouncer=true")
    assert 'connection option "pgbouncer"' in message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:5432/stats",
        f"mysql://somebody:{PASSWORD}@127.0.0.1/stats",
        f"sqlite:///{PASSWORD}",
        f"postgresql:/somebody:{PASSWORD}@127.0.0.1/stats",
        f"postgresql://somebody@127.0.0.1:{PASSWORD}/stats",
    ],
)
def test_a_url_that_is_none_of_postgresql_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError, match=r"write it as postgresql://USER:PASSWORD@HOST:5432/NAME$") as raised:
        open_engine(url)
    assert PASSWORD not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_is_read_as_psycopg_3(scheme: str) -> None:
    url = parse_url(f"{scheme}://somebody:{PASSWORD}@db.example.com/stats?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert url.query == {"sslmode": "require"}
    assert describe(url) == "db.example.com:5432/stats"


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT * FROM public.no_such", "table"),
        ("SELECT no_such FROM public.sms_events", "column"),
        ("SELECT no_such(1)", "function"),
        ("CREATE TABLE no_such.x (y int)", "schema"),
    ],
)
def test_what_is_missing_is_a_schema_error(database: Database, statement: str, kind: str) -> None:
    with (
        pytest.raises(SchemaError, match=rf"has no such {kind}: [^\n]*no_such[^\n]*; run `smarttext migrate --check`$"),
        connected(database.engine) as connection,
    ):
        connection.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO public.businesses (id, name) VALUES ('b0000001-0000-4000-8000-000000000000', NULL)",
        "INSERT INTO public.sms_events (from_number, to_number, status, business_id) "
        "VALUES ('+15550001', '+2', 'sent', 'b0000001-0000-4000-8000-000000000000')",
        "INSERT INTO public.daily_stats (business_id, date) VALUES (NULL, '2026-03-01'), (NULL, '2026-03-01')",
    ],
)
def test_the_rows_of_a_failed_statement_are_not_quoted(database: Database, statement: str) -> None:
    message = complaint(database.url, statement)
    for value in ("b0000001", "+15550001", "2026-03-01", "INSERT", "DETAIL"):
        assert value not in message


def test_a_refused_right_says_whom_to_connect_as(database: Database) -> None:
    message = complaint(database.url, "SET ROLE pg_monitor; SELECT * FROM monitoring.spend")
    assert "permission denied for schema monitoring" in message
    assert "connect as the owner of the tables" in message


def test_every_session_runs_in_utc_without_row_security_and_with_timeouts(database: Database) -> None:
    database.run(f"ALTER DATABASE {database.name} SET timezone = 'Asia/Kolkata'")
    names = ("timezone", "row_security", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with connected(database.engine) as connection:
        settings = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in names}
    assert settings == {
        "timezone": "UTC",
        "row_security": "off",
        "lock_timeout": "1min",
        "statement_timeout": "1h",
        "idle_in_transaction_session_timeout": "10min",
    }
