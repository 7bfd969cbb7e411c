"""An event whose call returned is a row, once, however its process ends and whatever the database does meanwhile."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from smarttext_pipelines import tracking
from smarttext_pipelines.database.connect import parse_url
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.proxy import Proxy, proxied

KILLS, EVENTS = (108, 2000) if SOAK else (6, 900)
PATIENCE_S = 60 if SOAK else 15
"""How long a process has to end; it is killed then."""
KINDS, STATES, SIGNALS = ("main", "fork", "spawn"), ("up", "slow", "down"), (signal.SIGKILL, signal.SIGTERM)
TOLD = (
    "SELECT request_id AS told FROM public.sms_events UNION ALL "
    "SELECT call_sid FROM public.call_events WHERE event_type <> 'voice.test'"
)


@pytest.fixture(autouse=True)
def _own_process(tmp_path: Path) -> Iterator[None]:
    yield
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path / "unused")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def start(url: str, folder: Path, log: Path, kind: str, events: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-m", "smarttext_pipelines_tests.tellers"]
    with (log.parent / "stderr").open("ab") as errors:
        return subprocess.Popen(
            [*command, url, str(folder), str(log), kind, str(events)], start_new_session=True, stderr=errors
        )


def told(log: Path) -> list[str]:
    """Return what was noted whole; a last line that was cut off was told, too, but who can know its name."""
    return [line for path in log.iterdir() for line in path.read_text().split("\n")[:-1]]


def wait_until(condition: Callable[[], Any], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def set_state(proxy: Proxy, state: str) -> None:
    proxy.delay_s = 0.3 if state == "slow" else 0.0
    if state == "down":
        proxy.cut()
    else:
        proxy.restore()


def end_group(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    os.killpg(process.pid, how)
    # A pool may wait for its workers for ever.
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_S)
    # Workers that ignore the end of their parent.
    while True:
        process.poll()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def write_the_rest(database: Database, folder: Path) -> Counter[str]:
    tracking.configure(database_url=database.url, spill_folder=folder)
    assert tracking.flush(120)
    wait_until(lambda: not [path for path in folder.glob("*.journal") if path.stat().st_size])
    return Counter(row["told"] for row in database.rows(TOLD))


def test_every_event_whose_call_returned_is_a_row_once_after_any_kill(
    database: Database, tmp_path: Path, log: Path
) -> None:
    chance = random.Random(None if SOAK else 7)
    folder = tmp_path / "spill"
    with proxied(parse_url(database.url).port or 5432) as proxy:
        url = parse_url(database.url).set(port=proxy.port).render_as_string(hide_password=False)
        for n in range(KILLS):
            set_state(proxy, STATES[n // 3 % 3] if SOAK else STATES[n % 3])
            before = len(told(log))
            process = start(url, folder, log, KINDS[n % 3], EVENTS)
            wait_until(lambda before=before: len(told(log)) > before)
            time.sleep(chance.uniform(0, 0.3))
            end_group(process, SIGNALS[n // 9 % 2] if SOAK else SIGNALS[n // 3])
        set_state(proxy, "up")
        rows = write_the_rest(database, folder)
    expected = told(log)
    print(f"{KILLS} kills, {len(expected)} events noted, {sum(rows.values())} rows")  # noqa: T201
    assert len(expected) > 10 * KILLS
    assert [each for each in expected if each not in rows] == []
    assert [each for each, count in rows.items() if count > 1] == []


@pytest.mark.parametrize("kind", ["fork", "spawn"])
def test_what_workers_told_is_written_when_their_pool_is_terminated(
    database: Database, tmp_path: Path, log: Path, kind: str
) -> None:
    """Leaving the ``with`` of a pool ends its workers by SIGTERM."""
    process = start(database.url, tmp_path / "spill", log, kind, 900)
    wait_until(lambda: len(told(log)) == 900)
    try:
        assert process.wait(PATIENCE_S) == 0
    except subprocess.TimeoutExpired:
        # The pool of Python 3.11 sometimes waits for a worker that waits for its queue; no event may be lost for that.
        end_group(process, signal.SIGKILL)
    assert Counter(told(log)) == write_the_rest(database, tmp_path / "spill")


def test_what_a_child_without_an_exit_told_is_written_by_its_parent(database: Database, tmp_path: Path) -> None:
    code = """
import os, sys
from smarttext_pipelines import tracking
tracking.configure(database_url=sys.argv[1], spill_folder=sys.argv[2], synchronous=sys.argv[3] == "True")
tracking.track_call_event(event_type="voice.missed", call_sid="parent")
for child in range(3):
    pid = os.fork()
    if not pid:
        for n in range(1000 if sys.argv[3] == "False" else 20):
            tracking.track_call_event(event_type="voice.missed", call_sid=f"{child}-{n}")
        os._exit(0)
    os.waitpid(pid, 0)
assert tracking.flush(30)
os._exit(0)
"""
    for synchronous, rows in ((False, 3001), (True, 61)):
        arguments = [database.url, str(tmp_path), str(synchronous)]
        subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], check=True, timeout=180)
        assert len(database.rows(TOLD)) == rows
        database.run("TRUNCATE public.call_events")


def test_synchronous_use_takes_up_what_another_process_left(database: Database, tmp_path: Path, log: Path) -> None:
    process = start("postgresql://x@127.0.0.1:9/x", tmp_path / "spill", log, "main", 300)
    wait_until(lambda: len(told(log)) == 300)
    end_group(process, signal.SIGKILL)
    tracking.configure(database_url=database.url, spill_folder=tmp_path / "spill", synchronous=True)
    tracking.track_call_event(event_type="voice.missed", call_sid="one more")
    wait_until(lambda: len(database.rows(TOLD)) == 301)


def test_a_child_that_lives_on_keeps_no_file_of_its_killed_parent(database: Database, tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
from smarttext_pipelines import tracking
tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=sys.argv[1])
for n in range(10): tracking.track_call_event(event_type="voice.missed", call_sid=str(n))
child = os.fork()
if not child:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "spill")]
    # The child keeps the pipe open: the first line is all there is.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.wait(30)
            os.kill(child, 0)
            assert len(write_the_rest(database, tmp_path / "spill")) == 10
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_worker_of_a_pool_that_ends_in_order_reports_what_it_rejected(database: Database, tmp_path: Path) -> None:
    code = """
import multiprocessing, sys
from smarttext_pipelines import tracking
tracking.configure(database_url=sys.argv[1], spill_folder=sys.argv[2])
def work():
    for n in range(5): tracking.track_call_event(event_type="voice.missed", business_id="none")
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
"""
    command = [sys.executable, "-W", "ignore", "-c", code, database.url, str(tmp_path / "spill")]
    subprocess.run(command, check=True, timeout=180)
    assert database.rows("SELECT rejected FROM monitoring.tracking_writers") == [{"rejected": 5}]
