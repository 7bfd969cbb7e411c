"""systemd is told when a process is ready, that it still answers, and that it stops; by real datagrams."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smarttext_pipelines.launch.databases import child_environment
from smarttext_pipelines.launch.service_manager import VARIABLES, Watchdog, notify, watchdog_seconds
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.launch.test_up import ROOT, free_port

PATIENCE = "400000"
COMMANDS = {"web": ["web", "--port"], "receiver": ["receiver", "--port"], "sampler": ["sampler"]}


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Return the socket of a service manager, whose address this process is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(tmp_path / "notify"))
        found.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield found


def told(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def quiet(manager: socket.socket) -> bool:
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)
    return True


@contextmanager
def running(name: str, database: Database, **more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SMARTTEXT_DATABASE_URL": database.url,
        "TWILIO_AUTH_TOKEN": "t" * 32,
        "SMARTTEXT_RECEIVER_URL": "https://hooks.example.com/status",
        **more,
    }
    command = [*COMMANDS[name], *([str(port)] if len(COMMANDS[name]) > 1 else [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "smarttext_pipelines.cli", *command], env=environment, text=True, stdout=subprocess.PIPE
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_told_once_that_a_process_is_ready_and_then_that_it_still_answers(
    name: str, manager: socket.socket, database: Database
) -> None:
    with running(name, database, WATCHDOG_USEC=PATIENCE) as (process, port):
        said = [told(manager) for _ in range(5)]
        assert sorted(said) == ["READY=1", *["WATCHDOG=1"] * 4]
        if name == "web":
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as answer:
                assert answer.status == 200
        assert process.poll() is None


@pytest.mark.parametrize("name", ["web", "receiver"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_told_that_a_server_stops_which_then_finishes_what_it_began(
    name: str, number: int, manager: socket.socket, database: Database
) -> None:
    with running(name, database) as (process, _):
        assert told(manager) == "READY=1"
        process.send_signal(number)
        assert told(manager) == "STOPPING=1"
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        # The receiver says what it did once nothing of it waits to be written.
        assert said == ("no request\n" if name == "receiver" else "")
    assert quiet(manager)


def test_a_process_that_hangs_says_nothing(manager: socket.socket, database: Database) -> None:
    with running("web", database, WATCHDOG_USEC=PATIENCE) as (process, _):
        assert sorted(told(manager) for _ in range(2)) == ["READY=1", "WATCHDOG=1"]
        process.send_signal(signal.SIGSTOP)
        manager.settimeout(1)
        with pytest.raises(TimeoutError):
            [told(manager) for _ in range(9)]


def test_an_address_without_a_file_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"smarttext-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert told(manager) == "READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody", "/" + "x" * 300])
def test_nobody_there_is_no_reason_to_fail(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
    ids=["unset", "set", "ours", "another's", "no number"],
)
def test_it_is_told_twice_in_the_time_that_it_waits_for(
    values: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert watchdog_seconds() == seconds


def test_a_long_wait_is_no_silence(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    waited: list[float] = []
    watchdog, began = Watchdog(), time.monotonic()
    assert not watchdog.wait(0.3, lambda seconds: bool(waited.append(seconds)) or threading.Event().wait(seconds))
    assert 0.3 <= time.monotonic() - began < 3
    assert max(waited) <= 0.05
    assert {told(manager) for _ in range(4)} == {"WATCHDOG=1"}
    assert watchdog.wait(60, lambda _: True)


def test_what_a_process_starts_is_not_what_the_manager_asked(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    given = child_environment(database.settings(dagster_database_url=database.url), tmp_path)
    assert not set(VARIABLES) & set(given)
