"""The example of Celery, as it is written: two workers, each on a folder of its own, compute what one process does."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.defs.assets import FACTS, STATS
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.launch import databases as launch_databases
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines_tests.bench.instance import stored_instance
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import cells, roll_up_all
from smarttext_pipelines_tests.launch.test_up import ROOT, free_port

EXAMPLE = ROOT / "examples" / "celery"
REDIS = shutil.which("redis-server")
DAYS = DayRange(date(2026, 6, 1), date(2026, 6, 4))
PARTS = [DayRange(DAYS.first, date(2026, 6, 2)), DayRange(date(2026, 6, 3), DAYS.last)]
ASSETS = (*FACTS, *STATS)
CUSTOMER_KEY = "of-these-tests-alone"
LONGEST_WAIT = 400

HAS_CELERY, HAS_KUBERNETES = (find_spec(name) is not None for name in ("dagster_celery", "dagster_k8s"))


def _until(is_so: Callable[[], bool], *processes: "Running") -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while not is_so():
        assert time.monotonic() < deadline, "".join(each.said()[-3000:] for each in processes)
        time.sleep(0.2)


@dataclass(frozen=True)
class Running:
    """A process, and what it has written so far."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def kill_a_child(self) -> None:
        pid = self.process.pid
        os.kill(int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]), signal.SIGKILL)


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str], folder: Path) -> Iterator[Running]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=file, stderr=file)
    try:
        yield Running(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _home(folder: Path) -> str:
    """Return a DAGSTER_HOME made as the example says."""
    folder.mkdir()
    parts = [Path(launch_databases.__file__).with_name("dagster.yaml"), EXAMPLE / "run_launcher.yaml"]
    (folder / "dagster.yaml").write_text("".join(part.read_text() for part in parts))
    return str(folder)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(not HAS_KUBERNETES, reason="dagster-k8s is not installed: pip install dagster-k8s (2026-11-28)")
def test_kubernetes_would_take_the_configuration() -> None:
    _require_accepted("dagster_k8s", ROOT / "examples" / "kubernetes")


@pytest.mark.skipif(not HAS_CELERY, reason="dagster-celery is not installed: pip install '.[celery]' (2026-11-28)")
@pytest.mark.skipif(REDIS is None, reason="there is no redis-server on this machine (2026-11-28)")
def test_two_workers_of_which_one_is_killed_roll_up_what_one_process_does(
    server: Server, database: Database, tmp_path: Path
) -> None:
    load_sample(database.url, SampleSpec(8, 20, 500, 7, DAYS.last, datetime(2026, 6, 4, 23, tzinfo=UTC)))
    with fresh_database(server, database.name) as undisturbed:
        roll_up_all(undisturbed.engine, DAYS, customer_secret=CUSTOMER_KEY.encode())
        expected = {name: cells(undisturbed.engine, name) for name in ASSETS}
    with fresh_database(server) as storage, ExitStack() as stack:
        workers, main = _start_all(stack, database, storage, tmp_path)
        # Nobody writes until both are at work: with one place each, they are at work on two workers.
        holder = stack.enter_context(database.server.connect(database.name))
        holder.execute("SELECT pg_advisory_lock(hashtextextended('smarttext:sms_outcomes', 0))")
        for part in PARTS:
            _launch(main, tmp_path, part)
        instance = stack.enter_context(stored_instance(storage.plain_url))

        def has_two(status: dg.DagsterRunStatus) -> bool:
            return instance.get_runs_count(dg.RunsFilter(job_name="rollup_job", statuses=[status])) == len(PARTS)

        _until(lambda: has_two(dg.DagsterRunStatus.STARTED), *workers)
        workers[0].kill_a_child()
        holder.execute("SELECT pg_advisory_unlock_all()")
        _until(lambda: has_two(dg.DagsterRunStatus.SUCCESS), *workers)
        lost = instance.get_runs(dg.RunsFilter(job_name="rollup_job", statuses=[dg.DagsterRunStatus.FAILURE]))
    assert len(lost) == 1, "the run of the killed process was run again"
    assert "WorkerLostError" in workers[0].said()
    for name in ASSETS:
        days = [row for row in cells(database.engine, name) if (row.get("day") or row.get("date")) in set(DAYS)]
        assert days == expected[name], name


def _start_all(
    stack: ExitStack, database: Database, storage: Database, folder: Path
) -> tuple[list[Running], dict[str, str]]:
    """Start a broker, two workers with folders of their own, and ``smarttext up``; give its environment, too."""
    broker, port = free_port(), free_port()
    common = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SMARTTEXT_DATABASE_URL": database.url,
        "SMARTTEXT_DAGSTER_DATABASE_URL": storage.url,
        "SMARTTEXT_DAGSTER_STORAGE_URL": storage.url.replace("+psycopg:", "+psycopg2:"),
        "SMARTTEXT_CELERY_URL": f"redis://127.0.0.1:{broker}/0",
        "SMARTTEXT_CUSTOMER_KEY": CUSTOMER_KEY,
        "DAGSTER_EVENT_BATCH_SIZE": str(launch_databases.EVENT_BATCH_SIZE),
    }
    redis = [str(REDIS), "--port", str(broker), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    started = stack.enter_context(_running(redis, folder / "redis.log", common, folder))
    _until(lambda: _answers(broker), started)
    workers = []
    for name in ("one", "two"):
        own = common | {"DAGSTER_HOME": _home(folder / name), "SMARTTEXT_DATA_DIR": str(folder / name)}
        celery = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--queues", "dagster"]
        celery += ["--concurrency", "1", "--hostname", f"{name}@%h", "--loglevel", "INFO"]
        workers.append(stack.enter_context(_running(celery, folder / f"{name}.log", own, EXAMPLE)))
    main = common | {"DAGSTER_HOME": _home(folder / "main"), "SMARTTEXT_DATA_DIR": str(folder / "main")}
    command = [sys.executable, "-m", "smarttext_pipelines.cli", "up", "--port", str(port), "--web-port", "0"]
    up = stack.enter_context(_running(command, folder / "up.log", main, folder))
    _until(lambda: "Ctrl-C stops everything" in up.said(), up)
    return workers, main


def _launch(environment: dict[str, str], folder: Path, days: DayRange) -> None:
    launch = ["job", "launch", "-w", str(folder / "main" / "workspace.yaml"), "-j", "rollup_job"]
    command = [sys.executable, "-m", "dagster", *launch, "--tags", json.dumps(range_tags(days))]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _require_accepted(module: str, folder: Path) -> None:
    """Read the configuration as Dagster does when it starts: unknown and missing keys raise."""
    told = yaml.safe_load((folder / "run_launcher.yaml").read_text())["run_launcher"]
    launcher = getattr(import_module(told["module"]), told["class"])
    assert told["module"] == module
    read = process_config(resolve_to_config_type(launcher.config_type()), told["config"])
    assert read.success, read.errors
