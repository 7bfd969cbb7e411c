"""One pipeline for each event database: the second says in one line why it does not start, and nobody hides it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.launch import pipeline_lock as module
from smarttext_pipelines.launch.launch_locks import AlreadyRunningError
from smarttext_pipelines.launch.pipeline_lock import PipelineLock
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.launch.test_up import ROOT, free_port, up

HOLD = """
import os, pathlib, sys
from smarttext_pipelines.launch.pipeline_lock import PipelineLock
from smarttext_pipelines.launch.processes import Children
folder = pathlib.Path(sys.argv[1])
with PipelineLock(sys.argv[2], "up") as pipeline, Children(dict(os.environ), folder, [pipeline.descriptor]) as c:
    c.start("stays", ["stays"], grace=60)
    while "started" not in (folder / "stays.log").read_text():
        c.check()
    print("ready", flush=True)
    sys.stdin.read()
"""
STAYS = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", flush=True)
while not pathlib.Path(sys.argv[0]).with_name("go").exists():
    time.sleep(0.02)
"""
DAEMON = """
import sys
from smarttext_pipelines.launch import only_daemon, pipeline_lock
pipeline_lock.GHOST_SECONDS = only_daemon.LOOK_SECONDS = 0.1
sys.exit(only_daemon.main(["run", "--empty-workspace"]))
"""


def environment(database: Database, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "SMARTTEXT_DATABASE_URL": database.url,
        "SMARTTEXT_DATA_DIR": str(folder / "data"),
        "DAGSTER_HOME": str(folder),
    }


def lose(database: Database, then: str = "") -> None:
    """Let the server end the session that holds the lock; what is done then is done before anybody can notice."""
    with database.server.connect(database.name if then else "postgres") as connection:
        connection.execute(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
            f" WHERE l.locktype = 'advisory' AND d.datname = '{database.name}'; {then}"
        )


def until(is_so: Callable[[], object], said: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)


def can_take(database: Database) -> bool:
    try:
        with PipelineLock(database.url, "a test"):
            return True
    except AlreadyRunningError:
        return False


def test_a_second_up_with_another_folder_says_in_one_line_who_is_first_and_makes_nothing(
    empty_database: Database, tmp_path: Path
) -> None:
    with (
        PipelineLock(empty_database.url, "smarttext up"),
        up(environment(empty_database, tmp_path), "--port", str(free_port())) as second,
    ):
        said, _ = second.communicate(timeout=180)
    assert second.returncode == 2
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    first = (
        rf"error: smarttext up on \S+, process {os.getpid()}, 127\.0\.0\.1 already works on \S+/{empty_database.name},"
    )
    assert re.match(first, line), line
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["children.lock", "up.lock"]


def test_what_a_killed_launcher_started_keeps_the_lock_until_it_has_ended(
    empty_database: Database, tmp_path: Path
) -> None:
    (tmp_path / "stays.py").write_text(STAYS)
    command = [sys.executable, "-c", HOLD, str(tmp_path), empty_database.url]
    with subprocess.Popen(
        command, env=environment(empty_database, tmp_path), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n"
        holder.kill()
        holder.wait()
    assert not can_take(empty_database)
    (tmp_path / "go").touch()
    until(lambda: can_take(empty_database))


def test_a_lost_lock_is_taken_again_and_one_that_another_took_ends_the_first(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PipelineLock(empty_database.url, "the first") as first:
        lose(empty_database)
        first.check()
        assert not can_take(empty_database)
        # While the database is away nobody works on it.
        with empty_database.server.connect() as server:
            server.execute(f"ALTER DATABASE {empty_database.name} ALLOW_CONNECTIONS false")
            lose(empty_database)
            first.check()
            with pytest.raises(DatabaseError):
                first.descriptor  # noqa: B018
            server.execute(f"ALTER DATABASE {empty_database.name} ALLOW_CONNECTIONS true")
        with PipelineLock(empty_database.url, "the other"):
            first.check()  # it may be our own session, which the server does not know to be dead
            monkeypatch.setattr(module, "GHOST_SECONDS", 0.0)
            with pytest.raises(AlreadyRunningError, match=r"^the other on \S+, process \d+.* took over"):
                first.check()


def test_a_daemon_of_a_service_manager_waits_for_its_turn_and_goes_when_it_lost_it(
    empty_database: Database, tmp_path: Path
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-c", DAEMON]
    log = tmp_path / "daemon.log"

    def start() -> "subprocess.Popen[bytes]":
        with log.open("wb") as file:
            return subprocess.Popen(command, env=environment(empty_database, tmp_path), stdout=file, stderr=file)

    with PipelineLock(empty_database.url, "the first"):
        assert start().wait(90) == 2
        assert log.read_text().startswith("error: the first on ")
        assert log.read_text().count("\n") == 1
    daemon = start()
    try:
        until(lambda: "following daemons" in log.read_text(), log.read_text)
        assert not can_take(empty_database)
        lose(empty_database, "SELECT pg_advisory_lock(hashtextextended('smarttext:pipeline', 0)), pg_sleep(2)")
        assert daemon.wait(90) == 2, log.read_text()
        assert "took over" in log.read_text()
    finally:
        daemon.kill()
        daemon.wait()
