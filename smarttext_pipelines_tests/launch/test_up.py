"""`smarttext up`: what it refuses, what it leaves alone, and that nothing it started outlives it."""

import fcntl
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import smarttext_pipelines
from smarttext_pipelines.cli.up_command import DEFAULT_WEB_PORT
from smarttext_pipelines.launch.child import without_noise
from smarttext_pipelines.launch.dagster_services import socket_path
from smarttext_pipelines.launch.launch_locks import (
    AlreadyRunningError,
    next_free_port,
    only_launcher,
    require_free_port,
)
from smarttext_pipelines.launch.processes import ChildEndedError, Children
from smarttext_pipelines_tests.conftest import Database

ROOT = Path(smarttext_pipelines.__file__).parents[1]
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"])
print("started", flush=True)
signal.pause()
"""
HOLD = """
import os, pathlib, sys
from smarttext_pipelines.launch.launch_locks import only_launcher
from smarttext_pipelines.launch.processes import Children
folder = pathlib.Path(sys.argv[1])
with only_launcher(folder) as lock, Children(dict(os.environ), folder, [lock]) as children:
    children.start("stubborn", ["stubborn"], grace=0.2)
    while "started" not in (folder / "stubborn.log").read_text():
        children.check()
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    (tmp_path / "failing.py").write_text("import sys\nprint('the reason')\nsys.exit(3)\n")
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "SMARTTEXT_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@contextmanager
def up(environment: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "smarttext_pipelines.cli", "up", *options]
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_second_one_is_refused_and_starts_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    with only_launcher(tmp_path / "data"), up(environment) as second:
        said, _ = second.communicate(timeout=180)
    assert second.returncode == 2
    assert f"already runs on {tmp_path / 'data'} as process {os.getpid()}" in said
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["children.lock", "up.lock"]


def test_a_taken_port_is_refused_and_nothing_is_started(
    environment: dict[str, str], tmp_path: Path, taken_port: int
) -> None:
    with up(environment, "--port", str(taken_port)) as process:
        said, _ = process.communicate(timeout=180)
    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{taken_port}: Address already in use" in said
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["children.lock", "up.lock"]


@pytest.fixture
def default_web_port() -> Iterator[int]:
    """Return the dashboard's port, which somebody uses meanwhile."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # it is taken, by whomever
            server.bind(("127.0.0.1", DEFAULT_WEB_PORT))
            server.listen()
        yield DEFAULT_WEB_PORT


def test_the_dashboard_takes_the_next_port_unless_somebody_named_one(
    environment: dict[str, str], empty_database: Database, database: Database, default_web_port: int
) -> None:
    # Not migrated: it ends once it looked at the ports.
    urls = {"SMARTTEXT_DATABASE_URL": empty_database.url, "SMARTTEXT_DAGSTER_DATABASE_URL": database.url}
    with up({**environment, **urls}, "--port", str(free_port())) as process:
        said, _ = process.communicate(timeout=180)
    assert "run `smarttext migrate`" in said
    found = re.search(r"Port 8000 is taken; the dashboard will be on http://127\.0\.0\.1:(\d+)\n", said)
    assert found
    assert default_web_port < int(found[1]) < default_web_port + 20
    named = {"SMARTTEXT_WEB_URL": "https://dashboard.example.org"}
    for options, more in ((("--web-port", str(default_web_port)), {}), ((), named)):
        with up({**environment, **urls, **more}, "--port", str(free_port()), *options) as process:
            said, _ = process.communicate(timeout=180)
        assert process.returncode == 2
        assert f"cannot listen on 127.0.0.1:{default_web_port}" in said
        assert "choose another --web-port" in said


def test_the_next_port_is_none_that_the_same_command_is_about_to_take() -> None:
    first = next_free_port("127.0.0.1", 20_000, 0)
    assert next_free_port("127.0.0.1", first, first) > first
    with socket.socket() as server:
        server.bind(("127.0.0.1", first))
        server.listen()
        assert next_free_port("127.0.0.1", first, 0) > first


def test_a_host_that_is_none_is_refused_and_a_free_port_is_not() -> None:
    require_free_port("127.0.0.1", free_port())
    with pytest.raises(AlreadyRunningError, match=r"no\.such\.host"):
        require_free_port("no.such.host", 3000)


def test_dagsters_tables_are_kept_out_of_the_event_database(
    environment: dict[str, str], empty_database: Database
) -> None:
    urls = {"SMARTTEXT_DATABASE_URL": empty_database.url, "SMARTTEXT_DAGSTER_DATABASE_URL": empty_database.plain_url}
    with up({**environment, **urls}, "--port", str(free_port())) as process:
        said, _ = process.communicate(timeout=180)
    assert process.returncode == 2
    assert "a database of their own" in said


def test_a_database_that_was_not_migrated_is_left_alone(
    environment: dict[str, str], empty_database: Database, database: Database, tmp_path: Path
) -> None:
    urls = {"SMARTTEXT_DATABASE_URL": empty_database.url, "SMARTTEXT_DAGSTER_DATABASE_URL": database.url}
    with up({**environment, **urls}, "--port", str(free_port())) as process:
        said, _ = process.communicate(timeout=180)
    assert process.returncode == 2
    assert "run `smarttext migrate`" in said
    assert not empty_database.rows(
        "SELECT 1 FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    assert not (tmp_path / "data" / "postgres").exists()


def test_it_serves_the_graph_and_ends_on_sigterm_with_all_it_started(
    environment: dict[str, str], database: Database, empty_database: Database, tmp_path: Path
) -> None:
    urls = {"SMARTTEXT_DATABASE_URL": database.url, "SMARTTEXT_DAGSTER_DATABASE_URL": empty_database.url}
    port = free_port()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with manager, up({**environment, **urls, **told}, "--port", str(port)) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        assert f"http://127.0.0.1:{port}/assets/daily_stats\n" in said
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/server_info")
        assert connection.getresponse().status == 200
        connection.close()
        assert manager.recv(99) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=180) == 0
        assert manager.recv(99) == b"STOPPING=1"
        # Not one word of what it started.
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(99)
    assert database.rows("SELECT count(*) FROM public.businesses") == [{"count": 0}]
    with only_launcher(tmp_path / "data"):  # every child has let go of its lock
        require_free_port("127.0.0.1", port)


def test_children_end_with_their_context_and_take_theirs_along(environment: dict[str, str], tmp_path: Path) -> None:
    with only_launcher(tmp_path) as lock, Children(environment, tmp_path, [lock]) as children:
        child = children.start("stubborn", ["stubborn"], grace=0.2)
        while "started" not in child.log_file.read_text():
            children.check()
        children.check()
    assert child.process.returncode == 128 + signal.SIGKILL
    with (tmp_path / "children.lock").open() as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_children_of_a_killed_launcher_end_and_the_next_one_waits_for_them(
    environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(AlreadyRunningError, match=f"process {holder.pid}"), only_launcher(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with only_launcher(tmp_path):
            pass


def test_leftovers_are_waited_for(tmp_path: Path) -> None:
    tmp_path.joinpath("children.lock").touch()
    entered = threading.Event()

    def next_launcher() -> None:
        with only_launcher(tmp_path):
            entered.set()

    with (tmp_path / "children.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=next_launcher)
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(5)
    thread.join()


def test_a_child_that_fails_is_told_with_its_last_lines(environment: dict[str, str], tmp_path: Path) -> None:
    with only_launcher(tmp_path) as lock, Children(environment, tmp_path, [lock]) as children:
        with pytest.raises(ChildEndedError, match=r"failing failed with exit code 3:\nthe reason"):
            children.run("failing", ["failing"])
        child = children.start("failing", ["failing"], grace=1)
        child.process.wait()
        with pytest.raises(ChildEndedError, match=r"failing ended with exit code 3:\nthe reason"):
            children.check()


def test_the_log_leaves_out_what_nobody_can_act_on() -> None:
    lines = [
        "\x1b[32m2026-01-01\x1b[0m - dagster - WARNING - f.py:232: BetaWarning: Parameter `backfill_policy`\n",
        "  return fn(*args)\n",
        "\n",
        "2026-01-01 - dagster - ERROR - it failed\n",
        "  Traceback\n",
        "2026-01-01 - Sensor one skipped: nothing to do\n",
        "2026-01-01 - done\n",
    ]
    assert list(without_noise(lines)) == [lines[3], lines[4], lines[6]]


def test_the_code_server_has_a_socket_of_its_own_however_long_the_path(tmp_path: Path) -> None:
    assert socket_path(Path("/short")) == Path("/short/code.sock")
    deep = tmp_path / ("x" * 100)
    path = socket_path(deep)
    assert len(os.fsencode(path)) <= 100
    assert path == socket_path(deep)
    assert path.parent.stat().st_mode & 0o077 == 0
    path.parent.rmdir()
