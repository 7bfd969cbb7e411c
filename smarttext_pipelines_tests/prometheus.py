"""Prometheus itself, scraping a dashboard with the shipped configuration; what the dashboards and rules ask it."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
import yaml

from smarttext_pipelines.digest.totals import read_totals
from smarttext_pipelines.web.live_today import LiveToday, keep_live_today
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.launch.test_up import ROOT, free_port

DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
PROMETHEUS = shutil.which("prometheus")
_STATE = """
INSERT INTO monitoring.incidents (rule, scope, state, severity, since, fired_at, evaluated_at)
VALUES ('x', 'platform', 'firing', 'critical', now(), now(), now());
INSERT INTO monitoring.heartbeats (kind, name, interval_seconds, last_success_at, watched_since)
VALUES ('sensor', 'rollup_sensor', 60, now() - interval '1 minute', now());
INSERT INTO monitoring.openai_refusals (day, business_key, reason, refused_count)
VALUES ('{day}', '00000000-0000-0000-0000-000000000000', 'limit_tokens', 3);
INSERT INTO monitoring.notifications (tag, incident_id, sequence, kind, severity, channel, recipient, message, status,
    attempts, may_have_arrived, due_at, deadline_at, created_at)
VALUES ('t', 0, 1, 'test', 'info', 'log', 'log', '{{}}', 'sent', 1, false, now(), now(), now());
SELECT public.reserve_openai_usage(NULL, 1200, 'request');
UPDATE public.daily_stats SET sms_delivered_count = sms_delivered_count + 90,
    sms_success_count = sms_success_count + 90, messages_sent = messages_sent + 90;
"""


def fill_state(database: Database, day: date) -> None:
    """Add what the rollup does not write, so that there is something to say for every metric of a day."""
    for statement in _STATE.format(day=day).split(";\n"):
        if statement.strip():
            database.run(statement)
    now = datetime.now(UTC)
    with database.engine.begin() as connection:
        totals = read_totals(connection, [day])[day]
        keep_live_today(connection, LiveToday(day, now, totals, newest={"sms_events": now - timedelta(minutes=2)}))


def dashboard(path: Path) -> dict[str, Any]:
    """Return a dashboard for Grafana."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _expressions(path: Path) -> dict[str, str]:
    """Return the queries of a dashboard, those of its variables too, by what shows them."""
    shown = dashboard(path)
    found = {
        f"{path.stem}, {panel['title']}, {target['refId']}": target["expr"]
        for panel in shown["panels"]
        for target in panel["targets"]
    }
    for variable in shown["templating"]["list"]:
        if variable["type"] == "query":
            metric = re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"]["query"])
            assert metric, variable["query"]["query"]
            found[f"{path.stem}, ${variable['name']}"] = metric[1]
    return found


def rules() -> dict[str, str]:
    """Return the expression of each alert."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


QUERIES = {name: expr for path in DASHBOARDS for name, expr in _expressions(path).items()}


@contextmanager
def prometheus(folder: Path, scraped: int) -> Iterator[str]:
    """Run a Prometheus that scrapes a port every second, and give its address."""
    shipped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = shipped["scrape_configs"]
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}
    shipped["global"] = {"evaluation_interval": "1s"}
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(shipped))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--web.listen-address={address}", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(PROMETHEUS), *options], cwd=folder, stdout=log, stderr=log)
        try:
            wait_for(lambda: _is_ready(f"http://{address}"), "Prometheus starts")
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def wait_for(until: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Ask until the answer is true."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def ask(address: str, expression: str) -> Any:
    """Return the series that answer a query now."""
    answer = requests.get(f"{address}/api/v1/query", {"query": expression}, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["result"]
