"""The dashboards for Grafana ask for what ``/metrics`` exposes, and a real Prometheus that scraped it answers them."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
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
from smarttext_pipelines_tests.launch.test_up import ROOT
from smarttext_pipelines_tests.prometheus import (
    DASHBOARDS,
    DEPLOY,
    PROMETHEUS,
    QUERIES,
    dashboard,
    fill_state,
    prometheus,
    rules,
    wait_for,
)
from smarttext_pipelines_tests.prometheus import ask as asked
from smarttext_pipelines_tests.web.conftest import DAY, NOW

PROMTOOL = shutil.which("promtool")
PROMTOOL_MISSING = "there is no promtool on this machine (2026-11-28)"


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[Database]:
    """Return a database in which there is something to say for every metric."""
    with fresh_database(server, template) as found:
        replace_events(found.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
        roll_up_all(found.engine, DayRange(DAY, DAY), as_of=NOW)
        fill_state(found, DAY)
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


@pytest.mark.parametrize("name", [*QUERIES, *rules()])
def test_a_query_names_only_metrics_that_are_exposed(name: str, exposed: set[str]) -> None:
    named = _metrics_of({**QUERIES, **rules()}[name])
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
    found = dashboard(path)
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
    for panel in dashboard(path)["panels"]:
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
    with serving_app(app) as port, prometheus(tmp_path_factory.mktemp("prometheus"), port) as address:

        def query(expression: str) -> Any:
            return asked(address, expression)

        wait_for(lambda: query("count_over_time(smarttext_database_up[1m]) >= 3"), "Prometheus scrapes")
        yield query


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
    for panel in dashboard(path)["panels"]:
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            for series in ask(target["expr"].replace("$business", ".*")):
                assert labels <= set(series["metric"]), panel["title"]


@pytest.mark.parametrize("alert", rules())
def test_prometheus_evaluates_every_rule(alert: str, ask: Callable[[str], Any]) -> None:
    ask(rules()[alert])


@pytest.mark.skipif(PROMTOOL is None, reason=PROMTOOL_MISSING)
def test_the_rules_arerules() -> None:
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", "rules.yml"], cwd=DEPLOY / "prometheus", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
