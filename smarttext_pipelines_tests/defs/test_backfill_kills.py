"""A backfill of thirty days while what runs it is killed again and again. ``make soak`` only: it takes minutes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.defs.assets import FACTS, STATS
from smarttext_pipelines.launch.dagster_services import WebAddress
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines_tests.bench.instance import stored_instance
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import cells, roll_up_all

LAST = date(2026, 6, 30)
DAYS = DayRange(date(2026, 6, 1), LAST)
KILLS = 20
ASSETS = (*FACTS, *STATS)
CUSTOMER_KEY = "of-these-tests-alone"
LONGEST_WAIT = 600
_LAUNCH = """mutation ($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_STATUS = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } } }"""


@dataclass
class Up:
    """``smarttext up``, started again whenever it has ended."""

    environment: dict[str, str]
    folder: Path
    port: int
    starts: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    killed: list[str] = field(default_factory=list)

    @property
    def address(self) -> WebAddress:
        return WebAddress("127.0.0.1", self.port)

    def ensure(self) -> None:
        """Start it if it has ended, and wait until the UI answers."""
        deadline = time.monotonic() + LONGEST_WAIT
        while self.ask("{ version }") is None:
            assert time.monotonic() < deadline, self.said()
            if self.process is None or self.process.poll() is not None:
                command = [sys.executable, "-m", "smarttext_pipelines.cli", "up", "--port", str(self.port)]
                with (self.folder / "up.log").open("ab") as log:
                    self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
                self.starts += 1
            time.sleep(0.5)

    def ask(self, query: str, **variables: Any) -> Any:
        answer: Any = self.address.ask("POST", "/graphql", {"query": query, "variables": variables})
        return answer and answer.get("data")

    def kill(self, chance: random.Random) -> None:
        """Kill the daemon, the code server or a worker of a run."""
        found = dict(_parts(self.process.pid if self.process else 0))
        name = chance.choice(sorted(found)) if found else ""
        if name:
            with suppress(ProcessLookupError):
                os.kill(found[name], signal.SIGKILL)
                self.killed.append(name)
        if self.process and name != "worker":
            self.process.wait(60)

    def said(self) -> str:
        return (self.folder / "up.log").read_text()[-3000:]


def _parts(root: int) -> Iterator[tuple[str, int]]:
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                commands[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    for process, command in commands.items():
        above = process
        while above and above != root:
            above = parents.get(above, 0)
        if above != root or "launch.child" in command:
            continue
        if "multiprocessing.spawn" in command and "resource_tracker" not in command:
            yield "worker", process
        elif "dagster._daemon" in command or "dagster-daemon" in command:
            yield "daemon", process
        elif " api grpc" in command:
            yield "code server", process


@pytest.mark.soak
def test_a_backfill_of_thirty_days_survives_twenty_kills(server: Server, database: Database, tmp_path: Path) -> None:
    chance = random.Random(5)
    load_sample(database.url, SampleSpec(34, 20, 500, 7, LAST, datetime(2026, 6, 30, 23, tzinfo=UTC)))
    with fresh_database(server, database.name) as undisturbed:
        roll_up_all(undisturbed.engine, DAYS, customer_secret=CUSTOMER_KEY.encode())
        expected = {name: cells(undisturbed.engine, name) for name in ASSETS}
    with fresh_database(server) as storage:
        environment = {
            **os.environ,
            "SMARTTEXT_DATABASE_URL": database.url,
            "SMARTTEXT_DAGSTER_DATABASE_URL": storage.url,
            "SMARTTEXT_DATA_DIR": str(tmp_path),
            "SMARTTEXT_CUSTOMER_KEY": CUSTOMER_KEY,
        }
        up = Up(environment, tmp_path, 20_000 + os.getpid() % 10_000)
        try:
            up.ensure()
            backfills = _backfill_under_kills(up, chance)
        finally:
            if up.process:
                up.process.terminate()
                up.process.wait(60)
        with stored_instance(storage.plain_url) as instance:
            done = {name: instance.get_materialized_partitions(dg.AssetKey(name)) for name in ASSETS}
    wanted = {day.isoformat() for day in DAYS}
    assert {name: wanted - days for name, days in done.items()} == {name: set() for name in ASSETS}
    for name in ASSETS:
        days = [row for row in cells(database.engine, name) if (row.get("day") or row.get("date")) in set(DAYS)]
        assert days == expected[name], name
    print(f"\nkilled: {up.killed}; {up.starts} starts; {backfills} backfills")  # noqa: T201


def _backfill_under_kills(up: Up, chance: random.Random) -> int:
    """Ask for the backfill until one ends after the last kill; return how many were asked for."""
    deadline, count, backfill = time.monotonic() + 3 * LONGEST_WAIT, 0, ""
    while time.monotonic() < deadline:
        up.ensure()
        status = up.ask(_STATUS, id=backfill) if backfill else {}
        ended = status and not (status.get("partitionBackfillOrError") or {}).get("status", "").startswith("REQ")
        if ended and backfill and len(up.killed) >= KILLS:
            return count
        if not backfill or (ended and backfill):
            told = up.ask(
                _LAUNCH,
                p={"assetSelection": [{"path": [n]} for n in ASSETS], "partitionNames": [d.isoformat() for d in DAYS]},
            )
            backfill = ((told or {}).get("launchPartitionBackfill") or {}).get("backfillId", "")
            count += bool(backfill)
        time.sleep(chance.uniform(1, 8))
        if len(up.killed) < KILLS:
            up.kill(chance)
    msg = f"no backfill ended; killed {up.killed}: {up.said()}"
    raise TimeoutError(msg)
