"""Prometheus scrapes a dashboard under load that is stopped and killed meanwhile: no scrape of a running one fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import requests

from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import replace_events, roll_up_all
from smarttext_pipelines_tests.launch.test_up import ROOT, free_port
from smarttext_pipelines_tests.prometheus import PROMETHEUS, QUERIES, ask, fill_state, prometheus, rules, wait_for

PROMTOOL = shutil.which("promtool")
PAGES = ("/", "/incidents", "/delivery", "/spend", "/healthz")
_LOAD = """
INSERT INTO public.sms_events (from_number, to_number, status, message_sid, business_id)
SELECT '+15550000001', '+1555' || lpad((n % 1000)::text, 7, '0'), 'sent', 'SM' || gen_random_uuid(), NULL
FROM generate_series(1, 50) AS n;
INSERT INTO public.api_usage (service, endpoint, tokens_used, cost_estimate, model)
VALUES ('openai', 'chat', 100, 0.001, 'gpt-4o-mini')
"""


def zone_of_noon() -> ZoneInfo:
    """Return a zone in which it is noon or an hour later, so that no day ends while something is scraped."""
    hours = datetime.now(UTC).hour - 12
    return ZoneInfo(f"Etc/GMT{hours:+d}")


@dataclass
class Down:
    """When the dashboard was not there, in seconds since 1970: stopped, answering again."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def is_at(self, instant: float) -> bool:
        # A scrape that begins just before takes a second at most.
        return any(begin - 1.1 <= instant <= end + 1.1 for begin, end in self.spans)


@dataclass
class Load:
    """Inserts and page views, until it is stopped."""

    database: Database
    port: int
    stopped: threading.Event = field(default_factory=threading.Event)
    inserted: int = 0
    viewed: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)

    def insert(self) -> None:
        with self.database.server.connect(self.database.name) as connection:
            while not self.stopped.wait(0.1):
                connection.execute(_LOAD)
                self.inserted += 51

    def view(self) -> None:
        with requests.Session() as session:
            while not self.stopped.wait(0.05):
                page = PAGES[self.viewed % len(PAGES)]
                try:
                    answer = session.get(f"http://127.0.0.1:{self.port}{page}", timeout=30)
                except requests.ConnectionError:
                    self.refused += 1
                    continue
                self.viewed += 1
                # Its health is that of a pipeline which does not run here.
                if answer.status_code != 200 and page != "/healthz":
                    self.faults.append(f"{page} {answer.status_code}")

    @contextmanager
    def going_on(self) -> Iterator["Load"]:
        threads = [threading.Thread(target=each) for each in (self.insert, self.view)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def today(server: Server, template: str) -> Iterator[Database]:
    """Return a database whose day that is going on has something to say for every metric."""
    zone = zone_of_noon()
    with fresh_database(server, template) as found:
        now = datetime.now(UTC)
        day = day_of(now, zone)
        replace_events(found.engine, strategies.every_peculiarity(zone, day))
        roll_up_all(found.engine, DayRange(day, day), zone=zone.key, as_of=now)
        fill_state(found, day)
        yield found


@contextmanager
def dashboard(database: Database, port: int) -> Iterator[subprocess.Popen[bytes]]:
    # Where it is noon changes while the test runs.
    (zone,) = (row["reporting_timezone"] for row in database.rows("SELECT * FROM monitoring.installation"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SMARTTEXT_DATABASE_URL": database.url,
        "SMARTTEXT_REPORTING_TIMEZONE": zone,
        "SMARTTEXT_METRICS_BUSINESSES": "3",
    }
    command = [sys.executable, "-m", "smarttext_pipelines.cli", "web", "--port", str(port)]
    process = subprocess.Popen(command, env=environment)
    try:
        wait_for(lambda: _answers(port) or process.poll() is not None, "the dashboard starts", 300)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).ok
    except requests.ConnectionError:
        return False


def _samples(address: str, metric: str) -> list[tuple[float, float]]:
    """Return the instants and values of a metric's one series, from the beginning; none before the first scrape."""
    found = ask(address, f"{metric}[1h]")
    assert len(found) <= 1
    return [(at, float(value)) for series in found for at, value in series["values"]]


def _counters(address: str) -> list[str]:
    """Return the names of the counters; asked for together, those of equal labels are one series, which is refused."""
    names = requests.get(f"{address}/api/v1/label/__name__/values", timeout=10).json()["data"]
    found = [name for name in names if name.startswith("smarttext_") and name.endswith("_total")]
    assert found
    return found


def _has_all(address: str) -> None:
    """Every query of every dashboard and every rule is answered, with data."""
    for name, query in QUERIES.items():
        found = ask(address, query.replace("$business", ".*"))
        assert found, name
        assert not [series for series in found if series["value"][1] == "NaN"], name
    for name, rule in rules().items():
        ask(address, rule)
        for metric in re.findall(r"\b(?:smarttext_\w+|up)\b", rule):
            assert ask(address, metric), f"{name}: {metric}"
    groups = requests.get(f"{address}/api/v1/rules", timeout=10).json()["data"]["groups"]
    evaluated = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert evaluated == dict.fromkeys(rules(), "ok")


def _is_clean(port: int) -> None:
    body = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).content
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")


@pytest.mark.skipif(None in (PROMETHEUS, PROMTOOL), reason="there is no Prometheus on this machine (2026-11-28)")
@pytest.mark.parametrize(
    ("seconds", "restarts"),
    [pytest.param(6, 2, id="short"), pytest.param(120, 4, id="ten minutes", marks=pytest.mark.soak)],
)
def test_prometheus_scrapes_through_load_and_restarts_without_an_error(
    today: Database, tmp_path: Path, record_property: Callable[[str, object], None], seconds: float, restarts: int
) -> None:
    port, down = free_port(), Down()
    with ExitStack() as stack:
        process = stack.enter_context(dashboard(today, port))
        address = stack.enter_context(prometheus(tmp_path, port))
        load = stack.enter_context(Load(today, port).going_on())
        for part in range(restarts + 1):
            if part:
                stopped = time.time()
                process.send_signal((signal.SIGTERM, signal.SIGKILL)[part % 2])
                process.wait(60)
                process = stack.enter_context(dashboard(today, port))
                down.spans.append((stopped, time.time()))
            until = time.time() + seconds
            wait_for(lambda until=until: _samples(address, "up")[-1:] >= [(until, 1.0)], "scraped", seconds * 2 + 60)
            _has_all(address)
            _is_clean(port)
        up, took = _samples(address, "up"), _samples(address, "scrape_duration_seconds")
        fallen = [
            name for name in _counters(address) for s in ask(address, f"resets({name}[1h])") if s["value"][1] != "0"
        ]
        # Before Prometheus is stopped, which it warns of.
        log = (tmp_path / "log").read_text().splitlines()
    elapsed = up[-1][0] - up[0][0]
    for name, value in {
        "elapsed": elapsed, "scrapes": len(up), "refused": sum(not ok for _, ok in up), "down": down.spans,
        "slowest": max(s for _, s in took), "inserted": load.inserted, "viewed": load.viewed,
    }.items():  # fmt: skip
        record_property(name, value)
    assert [at for at, is_up in up if not is_up and not down.is_at(at)] == []
    assert len(up) >= 0.95 * elapsed
    assert fallen == [], "a counter fell"
    assert load.faults == []
    assert min(load.inserted, load.viewed) > 0
    assert [line for line in log if re.search("level=(warn|error)", line)] == []
