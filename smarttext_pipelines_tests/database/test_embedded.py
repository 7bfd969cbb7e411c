"""The embedded server: shared, stopped by the last, and found again after whatever kills it."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import smarttext_pipelines
from smarttext_pipelines.core.errors import EmbeddedServerError
from smarttext_pipelines.database import embedded_user
from smarttext_pipelines.database.connect import connected, open_engine
from smarttext_pipelines.database.embedded import EmbeddedServer, embedded_server, ensure_database, is_embedded

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(smarttext_pipelines.__file__).parents[1])}
HOLD = """
import pathlib, sys
from smarttext_pipelines.database.embedded import embedded_server
with embedded_server(pathlib.Path(sys.argv[1])) as server:
    print(server.url("postgres"), flush=True)
    sys.stdin.read()
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lends an account (2026-11-28)")


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that other users can enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="smarttext-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def new_dir() -> Iterator[Path]:
    """Where there is no cluster yet."""
    with open_directory() as path:
        yield path


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """Where there is one, that no test breaks."""
    with open_directory() as path:
        yield path


@contextmanager
def other_user(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the server; its first line of output is the URL."""
    command = [sys.executable, "-c", HOLD, str(data_dir)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def postmaster(server: EmbeddedServer) -> int:
    return int((server.data_directory / "postmaster.pid").read_text().splitlines()[0])


def setting(server: EmbeddedServer, name: str) -> str:
    with psycopg.connect(server.url("postgres")) as connection:
        (value,) = connection.execute("SELECT current_setting(%s)", [name]).fetchone() or ("",)
    return str(value)


def test_it_listens_on_loopback_only_and_ends_with_its_user(data_dir: Path) -> None:
    with embedded_server(data_dir) as server:
        assert setting(server, "listen_addresses") == "127.0.0.1"
        assert setting(server, "unix_socket_directories") == ""
        assert setting(server, "fsync") == "on"
        assert setting(server, "max_connections") == "40"
        assert server.password not in repr(server)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url("postgres").replace(server.password, "wrong"))
        assert stat.S_IMODE((server.data_directory / "smarttext.password").stat().st_mode) == 0o600
    assert not answers(server.url("postgres"))
    assert not (server.data_directory / "postmaster.pid").exists()


def test_the_last_of_two_processes_stops_it(data_dir: Path) -> None:
    with other_user(data_dir) as other:
        assert other.stdout
        assert other.stdin
        url = other.stdout.readline().strip()
        with embedded_server(data_dir) as server:
            assert server.url("postgres") == url
        assert answers(url)
        other.stdin.close()
        other.wait(timeout=120)
        assert not answers(url)


def test_a_process_that_leaves_first_does_not_take_it_along(data_dir: Path) -> None:
    with embedded_server(data_dir) as first, embedded_server(data_dir) as second:
        assert first == second
        with other_user(data_dir) as other:
            assert other.stdout
            assert other.stdout.readline().strip() == first.url("postgres")
            other.kill()
            other.wait()
        assert answers(first.url("postgres"))
    assert not answers(first.url("postgres"))


def test_a_server_that_was_killed_comes_back_with_its_rows(data_dir: Path) -> None:
    with embedded_server(data_dir) as server:
        with psycopg.connect(server.url("postgres")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        # It stays a zombie, with its id in postmaster.pid, for as long as this process does not look at it.
        os.kill(postmaster(server), signal.SIGKILL)
        with embedded_server(data_dir) as again, psycopg.connect(again.url("postgres")) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    assert not answers(again.url("postgres"))


def test_a_server_whose_users_were_all_killed_is_found_and_stopped(data_dir: Path) -> None:
    with other_user(data_dir) as other:
        assert other.stdout
        url = other.stdout.readline().strip()
        other.kill()
        other.wait()
    assert answers(url)
    with embedded_server(data_dir) as server:
        assert server.url("postgres") == url
    assert not answers(url)


def test_a_process_that_was_killed_within_initdb_is_no_obstacle(new_dir: Path) -> None:
    with other_user(new_dir) as other:
        while not any((new_dir / "postgres").glob("init-*/cluster/PG_VERSION")):
            assert other.poll() is None
            time.sleep(0.001)
        other.kill()
        other.wait()
    assert not (new_dir / "postgres" / "cluster").exists()
    with embedded_server(new_dir) as server:
        assert answers(server.url("postgres"))
    assert not list((new_dir / "postgres").glob("init-*/cluster/PG_VERSION"))


def test_another_server_on_the_old_port_is_not_ours(new_dir: Path, data_dir: Path) -> None:
    with embedded_server(new_dir) as ours:
        pass
    with embedded_server(data_dir) as foreign, psycopg.connect(foreign.url("postgres"), autocommit=True) as connection:
        (ours.data_directory / "postmaster.pid").write_text((foreign.data_directory / "postmaster.pid").read_text())
        set_password = sql.SQL("ALTER ROLE smarttext PASSWORD {}")
        connection.execute(set_password.format(ours.password))
        try:
            with embedded_server(new_dir) as again:
                assert again.port != foreign.port
                assert setting(again, "data_directory") == str(ours.data_directory)
            assert connection.execute("SELECT 1").fetchone() == (1,)
        finally:
            connection.execute(set_password.format(foreign.password))


def test_its_databases_are_made_once_and_known_as_its_own(data_dir: Path) -> None:
    with embedded_server(data_dir) as server:
        assert ensure_database(server, "smart text")
        assert not ensure_database(server, "smart text")
        with psycopg.connect(server.url("postgres")) as connection:
            assert is_embedded(connection, data_dir)
            assert not is_embedded(connection, data_dir / "other")
            query = "SELECT datlocprovider, datlocale, encoding FROM pg_database WHERE datname = 'smart text'"
            assert connection.execute(query).fetchone() == ("b", "C.UTF-8", 6)
            connection.execute("CREATE ROLE nosy LOGIN PASSWORD 'nosy'")
        with connected(open_engine(server.url("postgres"))) as connection:
            assert is_embedded(connection, data_dir)
        nosy = server.url("postgres").replace(f"smarttext:{server.password}", "nosy:nosy")
        with psycopg.connect(nosy) as connection:
            assert not is_embedded(connection, data_dir)
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cluster_that_cannot_start_says_why(new_dir: Path) -> None:
    with embedded_server(new_dir) as server:
        pass
    (server.data_directory / "PG_VERSION").write_text("9.6\n")
    reason = r"incompatible with server.*SMARTTEXT_DATABASE_URL"
    with pytest.raises(EmbeddedServerError, match=reason), embedded_server(new_dir):
        pass


@as_root
def test_root_lends_an_account_and_changes_no_mode_of_others(new_dir: Path) -> None:
    new_dir.chmod(0o751)
    with embedded_server(new_dir) as server:
        assert server.data_directory.stat().st_uid != 0
    assert stat.S_IMODE(new_dir.stat().st_mode) == 0o751
    assert new_dir.stat().st_uid == 0


@as_root
def test_what_the_account_cannot_enter_is_put_elsewhere(new_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, elsewhere = new_dir / "closed", new_dir / "elsewhere"
    closed.mkdir(mode=0o700)
    wheel = Path(embedded_user._wheel_packages())
    for name in (embedded_user.WHEEL, f"{embedded_user.WHEEL}.libs"):
        if (wheel / name).exists():
            (closed / name).symlink_to(wheel / name)
    monkeypatch.setattr(embedded_user, "_SYSTEM_DIR", elsewhere)
    monkeypatch.setattr(embedded_user, "_wheel_packages", lambda: closed)
    for _ in range(2):
        with embedded_server(closed / "data") as server:
            assert server.data_directory.is_relative_to(elsewhere)
            assert len(list(elsewhere.glob("*/postgresql-*"))) == 1
            with psycopg.connect(server.url("postgres")) as connection:
                assert is_embedded(connection, closed / "data")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
