"""Fixtures: a real PostgreSQL for the whole run, and a database per test cloned from a migrated template."""

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from sqlalchemy import Engine

from smarttext_pipelines.database.connect import open_engine, parse_url
from smarttext_pipelines.database.embedded import embedded_server
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.settings import Settings

_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
# Shrinking a failure takes many databases' worth of time: `make soak` does that.
_PHASES = [Phase.explicit, Phase.generate]
settings.register_profile("test", derandomize=True, deadline=None, phases=_PHASES, suppress_health_check=_CHECKS)
settings.register_profile("soak", max_examples=2000, deadline=None, suppress_health_check=_CHECKS)
_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "test")
settings.load_profile(_PROFILE)
SOAK = _PROFILE == "soak"
"""Whether tests take their long form."""


def soak_cases(cases: Iterable[Any], *, short: Collection[Any]) -> list[Any]:
    """Return the cases of a parameter, of which ``make test`` takes the short ones and ``make soak`` all.

    The short ones together must be able to fail for every reason that the others have.
    """
    found = list(cases)
    assert all(case in found for case in short), "a short case is none of the cases"
    return [case if case in short else pytest.param(*_values(case), marks=pytest.mark.soak) for case in found]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what only waits for minutes to ``make soak``."""
    long = [item for item in items if item.get_closest_marker("soak")]
    if long and not SOAK:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server of the run; ``url(name)`` addresses a database."""

    base: str = field(repr=False)

    def url(self, name: str) -> str:
        return parse_url(self.base).set(database=name).render_as_string(hide_password=False)

    def plain_url(self, name: str) -> str:
        return parse_url(self.url(name)).set(drivername="postgresql").render_as_string(hide_password=False)

    def connect(self, name: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.plain_url(name), autocommit=True)


@dataclass(frozen=True)
class Database:
    """A database of one test."""

    url: str = field(repr=False)
    engine: Engine = field(repr=False)
    server: Server
    name: str

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self.server.connect(self.name) as connection:
            cursor = connection.execute(query, values)
            return [dict(zip([c.name for c in cursor.description or []], row, strict=True)) for row in cursor]

    def run(self, statement: str, *values: Any) -> None:
        with self.server.connect(self.name) as connection:
            connection.execute(statement, values or None)

    @property
    def plain_url(self) -> str:
        return self.server.plain_url(self.name)

    def settings(self, **values: Any) -> Settings:
        return Settings(database_url=self.url, _env_file=None, **values)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if (
            name.startswith(("SMARTTEXT_", "SLACK_", "TWILIO_", "PAGERDUTY_", "SENTRY_", "OPENAI_"))
            and name != "SMARTTEXT_TEST_DATABASE_URL"
        ):
            monkeypatch.delenv(name)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    # Every server of the tests is here, and gRPC, unlike others, asks a proxy for it.
    monkeypatch.setenv("no_grpc_proxy", "127.0.0.1,localhost")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _retries_follow_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step that Dagster repeats in this process wait for nothing."""
    monkeypatch.setattr("dagster.RetryPolicy.calculate_delay", lambda *_: 0)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    given = os.environ.get("SMARTTEXT_TEST_DATABASE_URL")
    if given:
        yield Server(given)
        return
    with tempfile.TemporaryDirectory(prefix="smarttext-test-", dir=_memory()) as folder:
        # The server's own user must be able to enter it when the tests run as root.
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder)) as embedded:
            server = Server(embedded.url("postgres"))
            with server.connect() as connection:
                for setting in ("fsync", "full_page_writes", "autovacuum", "jit"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off")
                connection.execute("SELECT pg_reload_conf()")
            yield server


def _memory() -> str | None:
    """Return a folder in memory that has room for many databases; making one there takes a quarter of the time."""
    folder = Path("/dev/shm")  # noqa: S108
    return str(folder) if folder.is_dir() and shutil.disk_usage(folder).free > 6e9 else None


@contextmanager
def fresh_database(server: Server, template: str = "template1") -> Iterator[Database]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        # Copying files takes half of what writing every page to the log does.
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    engine = open_engine(server.url(name))
    try:
        yield Database(server.url(name), engine, server, name)
    finally:
        engine.dispose()
        with server.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    from smarttext_pipelines_tests.legacy import create_roles

    # Roles belong to the whole server: made by a later test, they would lack their rights here.
    create_roles(server)
    with fresh_database(server) as database:
        migrate(database.engine, ZoneInfo("UTC"))
        yield database.name


Copied = Callable[..., AbstractContextManager[Database]]


@pytest.fixture(scope="module")
def copied(server: Server) -> Iterator[Copied]:
    """Give a copy of a database that ``prepare(database, *arguments)`` filled, once for all tests of a module."""
    with ExitStack() as stack:

        @cache
        def filled(prepare: Callable[..., object], *arguments: Any) -> str:
            database = stack.enter_context(fresh_database(server))
            prepare(database, *arguments)
            database.engine.dispose()
            return database.name

        yield lambda prepare, *arguments: fresh_database(server, filled(prepare, *arguments))


@pytest.fixture
def empty_database(server: Server) -> Iterator[Database]:
    """A database in which nothing was ever created."""
    with fresh_database(server) as database:
        yield database


@pytest.fixture
def database(server: Server, template: str) -> Iterator[Database]:
    """A migrated database without rows; reports in UTC."""
    with fresh_database(server, template) as database:
        yield database


@pytest.fixture
def smarttext(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: Database
) -> Callable[..., tuple[int, str, str]]:
    """Run a command against the test's database; give its exit code, output and errors."""
    from smarttext_pipelines.cli.main import run

    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["smarttext", *arguments])
        try:
            code = run()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
