"""Two `smarttext up` on two folders and one event database, for half an hour, under kills. ``make soak`` only."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.defs.assets import FACTS, STATS
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import cells, roll_up_all
from smarttext_pipelines_tests.fakes.server import serving
from smarttext_pipelines_tests.fakes.slack import FakeSlack
from smarttext_pipelines_tests.launch.test_up import free_port

SECONDS = 1800.0
QUIET_SECONDS = 420.0
"""At the end, without kills: what a kill left is made up for, and the last incident resolves."""

INCIDENT_SECONDS = 600.0
TARGETS = ("smarttext_pipelines.cli up ", "dagster._daemon run", "dagster api grpc", "multiprocessing.spawn")
ASSETS = (*FACTS, *STATS)
CUSTOMER_KEY = "of-these-tests-alone"


@dataclass
class Up:
    """``smarttext up`` on a folder of its own, started again whenever it has ended."""

    environment: dict[str, str]
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    ended: Counter[int] = field(default_factory=Counter)

    def ensure(self) -> None:
        if self.process and self.process.poll() is None:
            return
        if self.process:
            self.ended[self.process.returncode] += 1
        ports = ["--port", str(free_port()), "--web-port", str(free_port())]
        with (self.folder / "up.log").open("ab") as log:
            command = [sys.executable, "-m", "smarttext_pipelines.cli", "up", *ports]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(90)
        if self.process and self.process.returncode:
            self.ended[self.process.returncode] += 1
        self.process = None


def _processes(folder: Path) -> Iterator[tuple[int, str]]:
    """Yield the processes whose environment names a folder below this one, with their commands."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if f"SMARTTEXT_DATA_DIR={folder}".encode() in (entry / "environ").read_bytes():
                    yield int(entry.name), (entry / "cmdline").read_text().replace("\0", " ")


def _daemons(folder: Path) -> list[int]:
    return [pid for pid, command in _processes(folder) if "dagster._daemon run" in command and "child" not in command]


@contextmanager
def _incidents(environment: dict[str, str]) -> Iterator[None]:
    """Let texts come in, and those of one business fail for three minutes at the beginning."""
    told = ["--follow", "--incident", "--into-this-database", "--days", "5", "--businesses", "20"]
    command = [sys.executable, "-m", "smarttext_pipelines.cli", "simulate", *told, "--events-per-day", "500"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.soak
def test_two_ups_compute_every_day_once_and_send_every_notice_once(
    server: Server, database: Database, tmp_path: Path
) -> None:
    chance, begun = random.Random(22), datetime.now(UTC)
    load_sample(database.url, SampleSpec(5, 20, 500, 7, begun.date(), begun))
    kills: Counter[str] = Counter()
    most = 0
    with ExitStack() as stack:
        slack = stack.enter_context(serving(FakeSlack()))
        ups = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            environment = {
                **os.environ,
                "SMARTTEXT_DATABASE_URL": database.url,
                "SMARTTEXT_DAGSTER_DATABASE_URL": stack.enter_context(fresh_database(server)).url,
                "SMARTTEXT_DATA_DIR": str(folder),
                "SMARTTEXT_START_DATE": str(begun.date() - timedelta(days=4)),
                "SMARTTEXT_SLACK_BASE_URL": slack.url + "/api/",
                "SMARTTEXT_CUSTOMER_KEY": CUSTOMER_KEY,
                "SLACK_BOT_TOKEN": "xoxb",
                "SLACK_CHANNEL": "C1",
            }
            ups.append(Up(environment, folder))
            stack.callback(ups[-1].stop)
        end, incident_at, kill_at = time.monotonic() + SECONDS, 0.0, time.monotonic() + 60
        playing = stack.enter_context(ExitStack())
        while (now := time.monotonic()) < end:
            for up in ups:
                up.ensure()
            # Of folders: a daemon that begins a process is two for a moment.
            most = max(most, sum(bool(_daemons(up.folder)) for up in ups))
            if now >= incident_at and now < end - QUIET_SECONDS:
                playing.close()
                playing.enter_context(_incidents(ups[0].environment))
                incident_at = now + INCIDENT_SECONDS
            if kill_at <= now < end - QUIET_SECONDS:
                kills[_kill_one(tmp_path, chance)] += 1
                kill_at = now + chance.uniform(20, 90)
            time.sleep(0.5)
        playing.close()
        for up in ups:
            up.stop()
        arrived = Counter(message["metadata"]["event_payload"]["tag"] for message in slack.messages.values())
    print(f"\nkilled {dict(kills)}; ended {[dict(up.ended) for up in ups]}; notices {arrived.total()}")  # noqa: T201
    assert most == 1
    _expect_notices(database, arrived)
    for up in ups:
        said = (up.folder / "up.log").read_text().splitlines()
        refusals = [line for line in said if line.startswith("error:") and "already works on" in line]
        assert up.ended[2] == len(refusals)
        assert not [line for line in said if "Traceback" in line]
    assert sum(up.ended[2] for up in ups) > 0
    days = DayRange(begun.date() - timedelta(days=4), begun.date() - timedelta(days=1))
    found = {name: _of(days, database, name) for name in ASSETS}
    with fresh_database(server, database.name) as undisturbed:
        undisturbed.run("DELETE FROM monitoring.rollup_days")
        roll_up_all(undisturbed.engine, days, customer_secret=CUSTOMER_KEY.encode())
        assert {name: _of(days, undisturbed, name) for name in ASSETS} == found


def _of(days: DayRange, database: Database, name: str) -> list[dict[str, object]]:
    rows = [row for row in cells(database.engine, name) if (row.get("day") or row.get("date")) in set(days)]
    database.engine.dispose()
    return [{key: value for key, value in row.items() if key not in ("data_through", "is_final")} for row in rows]


def _kill_one(folder: Path, chance: random.Random) -> str:
    """Kill a process of a kind that is there; return the kind."""
    # What holds a process by its leash is left: killed alone, it would leave that process to nobody.
    alive = [(pid, command) for pid, command in _processes(folder) if "launch.child" not in command]
    found = [(target, pid) for pid, command in alive for target in TARGETS if target in command]
    kinds = sorted({target for target, _ in found})
    if not kinds:
        return "nothing"
    kind = chance.choice(kinds)
    with suppress(ProcessLookupError):
        os.kill(chance.choice([pid for target, pid in found if target == kind]), signal.SIGKILL)
    return kind


def _expect_notices(database: Database, arrived: Counter[str]) -> None:
    assert [tag for tag, times in arrived.items() if times > 1] == []
    rows = database.rows(
        "SELECT status, count(*) AS n FROM monitoring.notifications WHERE channel = 'slack' GROUP BY 1"
    )
    by_status = {row["status"]: row["n"] for row in rows}
    assert by_status["sent"] == arrived.total(), by_status
    assert by_status["sent"] >= 2, "an incident and its end"
