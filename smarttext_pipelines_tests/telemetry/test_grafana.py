"""The dashboards for Grafana ask for what ``/metrics`` exposes, and a real Prometheus that scraped it answers them."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.telemetry.collector import DatabaseCollector, exposition
from smarttext_pipelines.web import dashboard as web_dashboard
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.asgi import serving_app
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import replace_events, roll_up_all
from smarttext_pipelines_tests.launch.test_up import ROOT, free_port
from smarttext_pipelines_tests.web.conftest import DAY, NOW

DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
PROMTOOL_MISSING = "there is no promtool on this machine (2026-11-28)"
_STATE = f"""
INSERT INTO monitoring.incidents (rule, scope, state, severity, since, fired_at, evaluated_at)
VALUES ('x', 'platform', 'firing', 'critical', now(), now(), now());
INSERT INTO monitoring.heartbeats (kind, name, interval_seconds, last_success_at, watched_since)
VALUES ('sensor', 'rollup_sensor', 60, now() - interval '1 minute', now());
INSERT INTO monitoring.live_today (day, as_of, numbers)
VALUES ('{DAY}', now(), jsonb_build_object('newest', jsonb_build_object('sms_events', now() - interval '2 minutes')));
INSERT INTO monitoring.openai_refusals (day, business_key, reason, refused_count)
VALUES ('{DAY}', '00000000-0000-0000-0000-000000000000', 'limit_tokens', 3);
INSERT INTO monitoring.notifications (tag, incident_id, sequence, kind, severity, channel, recipient, message, status,
    attempts, may_have_arrived, due_at, deadline_at, created_at)
VALUES ('t', 0, 1, 'test', 'info', 'log', 'log', '{{}}', 'sent', 1, false, now(), now(), now());
SELECT public.reserve_openai_usage(NULL, 1200, 'request');
UPDATE public.daily_stats SET sms_delivered_count = sms_delivered_count + 90,
    sms_success_count = sms_success_count + 90, messages_sent = messages_sent + 90;
"""


def _dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _expressions(path: Path) -> dict[str, str]:
    """Return the queries of a dashboard, those of its variables too, by what shows them."""
    dashboard = _dashboard(path)
    found = {
        f"{path.stem}, {panel['title']}, {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric = re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"]["query"])
            assert metric, variable["query"]["query"]
            found[f"{path.stem}, ${variable['name']}"] = metric[1]
    return found


def _rules() -> dict[str, str]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


QUERIES = {name: expr for path in DASHBOARDS for name, expr in _expressions(path).items()}


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[Database]:
    """Return a database in which there is something to say for every metric."""
    with fresh_database(server, template) as found:
        replace_events(found.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
        roll_up_all(found.engine, DayRange(DAY, DAY), as_of=NOW)
        for statement in _STATE.split(";\n"):
            if statement.strip():
                found.run(statement)
        yield found


@pytest.fixture(scope="module")
def exposed(world: Database) -> set[str]:
    """Return the names that are scraped."""
    body, _ = exposition(_at_the_day(world.engine, _settings(world)), "text/plain")
    families = text_string_to_metric_families(body.decode())
    return {sample.name for family in families for sample in family.samples}


def _settings(world: Database) -> Settings:
    return world.settings(metrics_businesses=3)


def _at_the_day(engine: Engine, settings: Settings) -> DatabaseCollector:
    return DatabaseCollector(engine, settings, lambda: NOW)


def _metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"smarttext_\w+", expression))


@pytest.mark.parametrize("name", [*QUERIES, *_rules()])
def test_a_query_names_only_metrics_that_are_exposed(name: str, exposed: set[str]) -> None:
    named = _metrics_of({**QUERIES, **_rules()}[name])
    assert named
    assert named <= exposed


def test_the_guide_names_only_metrics_that_are_exposed(exposed: set[str]) -> None:
    named = _metrics_of((ROOT / "docs" / "metrics.md").read_text())
    # Datadog names counters without their ending.
    assert named <= exposed | {name.removesuffix("_total") for name in exposed}
    assert exposed <= named


def test_every_metric_that_is_exposed_is_shown_somewhere(exposed: set[str]) -> None:
    assert {name for expr in QUERIES.values() for name in _metrics_of(expr)} == exposed


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_imported_next_to_the_others(path: Path) -> None:
    found = _dashboard(path)
    assert found["uid"] == f"smarttext-{path.stem}"
    assert "id" not in found, "Grafana would replace the dashboard that has it"
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    names = {variable["name"] for variable in found["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(found["panels"]))) <= names | {"__all"}
    for panel in found["panels"]:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
            assert source == {"type": "prometheus", "uid": "${datasource}"}, "the source of data is chosen on import"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_no_panel_lies_on_another(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in _dashboard(path)["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


@pytest.fixture(scope="module")
def ask(world: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Return what asks a Prometheus that has scraped a dashboard twice, with the shipped configuration."""
    if PROMETHEUS is None:
        pytest.skip("there is no Prometheus on this machine (2026-11-28)")
    settings = _settings(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web_dashboard, "DatabaseCollector", _at_the_day)
        app = build_app(world.engine, settings, access_of(settings, "127.0.0.1"))
    with serving_app(app) as port, _prometheus(tmp_path_factory.mktemp("prometheus"), port) as address:

        def query(expression: str) -> Any:
            answer = requests.get(f"{address}/api/v1/query", {"query": expression}, timeout=10)
            assert answer.status_code == 200, answer.text
            return answer.json()["data"]["result"]

        _wait(lambda: query("count_over_time(smarttext_database_up[1m]) >= 3"), "Prometheus scrapes")
        yield query


@contextmanager
def _prometheus(folder: Path, scraped: int) -> Iterator[str]:
    shipped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = shipped["scrape_configs"]
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(shipped))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--web.listen-address={address}", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(PROMETHEUS), *options], cwd=folder, stdout=log, stderr=log)
        try:
            _wait(lambda: _is_ready(f"http://{address}"), "Prometheus starts")
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def _wait(until: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.2)


@pytest.mark.parametrize("name", QUERIES)
def test_prometheus_answers_a_query_with_data(name: str, ask: Callable[[str], Any]) -> None:
    found = ask(QUERIES[name].replace("$business", ".*"))
    assert found, QUERIES[name]
    values = [float(series["value"][1]) for series in found]
    assert all(value == value for value in values), "not a number"
    legends = [series["metric"] for series in found]
    assert len({json.dumps(each, sort_keys=True) for each in legends}) == len(legends)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_label_of_a_legend_is_one_that_the_answer_has(path: Path, ask: Callable[[str], Any]) -> None:
    for panel in _dashboard(path)["panels"]:
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            for series in ask(target["expr"].replace("$business", ".*")):
                assert labels <= set(series["metric"]), panel["title"]


@pytest.mark.parametrize("alert", _rules())
def test_prometheus_evaluates_every_rule(alert: str, ask: Callable[[str], Any]) -> None:
    ask(_rules()[alert])


@pytest.mark.skipif(PROMTOOL is None, reason=PROMTOOL_MISSING)
def test_the_rules_are_rules() -> None:
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", "rules.yml"], cwd=DEPLOY / "prometheus", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
