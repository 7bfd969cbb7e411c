"""Kill the archiver wherever it stands, while others write: no row is lost, stale or there twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pyarrow.parquet as pq
import pytest

from smarttext_pipelines_tests.archiver import STEPS
from smarttext_pipelines_tests.conftest import SOAK, Database

DAYS = [date(2026, 1, 10) + timedelta(days=n) for n in range(3)]
KILLS_AT_RANDOM = 100 if SOAK else 4
OCCURRENCES = [1 + n % 3 for n in range(10)] if SOAK else [1, 3]
SHORT = [{"step": step, "occurrence": OCCURRENCES[n % 2]} for n, step in enumerate(STEPS)]
"""Each step once, the first or the third time."""
CRASHES = 5 if SOAK else 1
FOREVER = 600.0


@dataclass
class Harness:
    """A database that two writers change, an archive, and a process that forks archivers.

    ``truth`` holds the newest version of every row; a writer commits it together with the row.
    """

    database: Database
    archive: Path
    process: "subprocess.Popen[str]"

    def run(self, step: str = "", occurrence: int = 1, *, seconds: float = FOREVER, broken: bool = False) -> int:
        order = {
            "url": self.database.url,
            "archive": str(self.archive),
            "days": [day.isoformat() for day in DAYS],
            "step": step,
            "occurrence": occurrence,
            "seconds": seconds,
            "broken": broken,
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def readable(self) -> list[tuple[UUID, str, int]]:
        """Every row that a reader finds: live ones, and of files that the manifest lets speak those not replaced."""
        with self.database.server.connect(self.database.name) as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            live = connection.execute("SELECT id, status, body_length FROM public.sms_events").fetchall()
            segments = connection.execute(
                "SELECT object_key, coalesce(changed_ids, '{}') FROM monitoring.archive_segments"
                " WHERE state = 'deleted' ORDER BY day, seq"
            ).fetchall()
        seen = {row[0] for row in live}
        found = list(live)
        for key, changed in segments:
            rows = pq.read_table(self.archive / key, columns=["id", "status", "body_length"]).to_pylist()
            for row in rows:
                id_ = UUID(row["id"])
                if id_ not in seen and id_ not in changed:
                    found.append((id_, row["status"], row["body_length"]))
        return found

    def faults(self) -> dict[str, int]:
        truth = {row["id"]: row for row in self.database.rows("SELECT * FROM truth")}
        found = self.readable()
        versions = {id_: (status, length) for id_, status, length in found}
        return {
            "lost": len(truth.keys() - versions.keys()),
            "twice": len(found) - len(versions),
            "stale": sum(
                versions[id_] != (row["status"], row["body_length"]) for id_, row in truth.items() if id_ in versions
            ),
        }

    def orphans(self) -> set[str]:
        files = {str(path.relative_to(self.archive)) for path in self.archive.rglob("*") if path.is_file()}
        named = self.database.rows("SELECT object_key FROM monitoring.archive_segments WHERE object_key IS NOT NULL")
        return files - {row["object_key"] for row in named}

    def crash_server(self) -> None:
        """Kill a server process: PostgreSQL ends all sessions, recovers from its log and goes on."""
        connect = self.database.server.connect
        with connect(self.database.name) as witness, suppress(psycopg.OperationalError):
            with connect(self.database.name) as victim:
                os.kill(victim.info.backend_pid, signal.SIGKILL)
            # Until it has ended all sessions, the server answers as if nothing had happened.
            while True:
                witness.execute("SELECT 1")
        wait_for(self.database)


def wait_for(database: Database) -> None:
    for _ in range(2000):
        try:
            with database.server.connect(database.name) as connection:
                connection.execute("SELECT 1")
                return
        except psycopg.OperationalError:
            threading.Event().wait(0.01)
    message = "the server did not come back"
    raise AssertionError(message)


_CHANGE = """
WITH changed AS (
    UPDATE public.sms_events SET status = %s, body_length = body_length + 1, created_at = %s WHERE id = (
        SELECT id FROM public.sms_events OFFSET %s LIMIT 1)
    RETURNING id, status, body_length
) UPDATE truth SET status = changed.status, body_length = changed.body_length FROM changed WHERE truth.id = changed.id
"""
_INSERT = """
WITH new AS (
    INSERT INTO public.sms_events (id, from_number, to_number, status, body_length, created_at, payload)
    VALUES (%s, 'a', 'b', 'queued', 1, %s, '{"k": [1, null, "ü"]}') RETURNING id, status, body_length
) INSERT INTO truth SELECT * FROM new
"""


def _some_time(chance: random.Random) -> datetime:
    return datetime.combine(chance.choice(DAYS), datetime.min.time(), UTC) + timedelta(seconds=chance.random() * 86399)


def _write(database: Database, stop: threading.Event, seed: int) -> None:
    chance = random.Random(seed)
    while not stop.is_set():
        try:
            with database.server.connect(database.name) as connection:
                while not stop.wait(0.004):
                    if chance.random() < 0.5:
                        connection.execute(_INSERT, (uuid4(), _some_time(chance)))
                    else:
                        connection.execute(
                            _CHANGE, (chance.choice(["sent", "failed"]), _some_time(chance), chance.randrange(40))
                        )
        except psycopg.Error:
            stop.wait(0.05)


@contextmanager
def writers(database: Database) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=_write, args=(database, stop, seed)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def harness(database: Database, tmp_path: Path) -> Iterator[Harness]:
    database.run("CREATE TABLE truth (id uuid PRIMARY KEY, status text, body_length int)")
    chance = random.Random(0)
    with database.server.connect(database.name) as connection, connection.transaction():
        for _ in range(150):
            connection.execute(_INSERT, (uuid4(), _some_time(chance)))
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "smarttext_pipelines_tests.archiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    try:
        yield Harness(database, tmp_path / "archive", process)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait()
        assert process.stdout
        process.stdout.close()


def _kills(chance: random.Random) -> list[dict[str, Any]]:
    each = [{"step": step, "occurrence": n} for step in STEPS for n in OCCURRENCES]
    named: list[dict[str, Any]] = each if SOAK else SHORT
    at_random = [{"seconds": chance.uniform(0.02, 0.6)} for _ in range(KILLS_AT_RANDOM)]
    kills = named + at_random
    chance.shuffle(kills)
    return kills


def test_no_row_is_lost_stale_or_twice_wherever_the_archiver_is_killed(harness: Harness) -> None:
    chance = random.Random(7)
    kills = _kills(chance)
    crashes = set(chance.sample(range(len(kills)), CRASHES))
    killed = 0
    with writers(harness.database):
        for number, kill in enumerate(kills):
            if number in crashes:
                crash = threading.Timer(chance.uniform(0.05, 0.3), harness.crash_server)
                crash.start()
                harness.run()
                crash.join()
            killed += harness.run(**kill) == -signal.SIGKILL
    assert harness.faults() == {"lost": 0, "twice": 0, "stale": 0}
    assert killed >= 0.8 * len(kills)
    assert harness.run() == 0
    assert harness.faults() == {"lost": 0, "twice": 0, "stale": 0}
    assert harness.orphans() == set()
    assert harness.database.rows("SELECT count(*) FROM public.sms_events") == [{"count": 0}]
    assert harness.database.rows("SELECT count(*) FROM monitoring.archive_segments WHERE state = 'deleted'") != [
        {"count": 0}
    ]


def test_the_same_kills_lose_rows_where_rows_are_deleted_before_their_file_was_verified(harness: Harness) -> None:
    for step in ("written", "read back", "named", "published"):
        harness.run(step, broken=True)
    harness.run()
    assert harness.faults()["lost"] > 0
