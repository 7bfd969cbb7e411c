"""The wheel works in an empty folder, without a checkout: the same graph, runbooks and pages, and `smarttext up`."""

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.settings import load_settings
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.launch.test_up import ROOT, free_port, up

GRAPH = """
import smarttext_pipelines
from smarttext_pipelines.definitions import build_definitions
graph = build_definitions()
print(smarttext_pipelines.__file__)
graph = graph.resolve_asset_graph()
for key in sorted(str(key) for key in graph.get_all_asset_keys() | graph.asset_check_keys):
    print(key)
"""
RUNBOOKS = """
from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.alerting.rules.runbook_text import read_runbook
for name, rule in load_rules(None).items():
    print(name, len(read_runbook(rule, name)) > 200)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Build and install the wheel; give an environment in which only it is found."""
    folder = tmp_path_factory.mktemp("wheel")
    for command in (
        ["flit_core.wheel", "--outdir", str(folder)],
        ["pip", "--quiet", "install", "--no-index", "--no-deps", "--target", str(folder / "site")],
    ):
        wheels = [str(each) for each in folder.glob("*.whl")]
        subprocess.run([sys.executable, "-m", *command, *wheels], cwd=ROOT, check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site")}


def _run(environment: dict[str, str], folder: Path, code: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, check=True, capture_output=True, text=True
    )
    return ran.stdout.splitlines()


def test_its_assets_and_checks_are_those_of_the_checkout(environment: dict[str, str], tmp_path: Path) -> None:
    place, *keys = _run(environment, tmp_path, GRAPH)
    assert place.startswith(environment["PYTHONPATH"])
    graph = build_definitions(load_settings()).resolve_asset_graph()
    assert keys == sorted(str(key) for key in graph.get_all_asset_keys() | graph.asset_check_keys)


def test_every_runbook_comes_with_it(environment: dict[str, str], tmp_path: Path) -> None:
    assert _run(environment, tmp_path, RUNBOOKS) == [f"{name} True" for name in load_rules(None)]


def test_up_serves_graph_and_dashboard_in_an_empty_folder(
    environment: dict[str, str], database: Database, empty_database: Database, tmp_path: Path
) -> None:
    ports = [free_port(), free_port()]
    settings = {
        "SMARTTEXT_DATABASE_URL": database.url,
        "SMARTTEXT_DAGSTER_DATABASE_URL": empty_database.url,
        "SMARTTEXT_DATA_DIR": str(tmp_path / "data"),
    }
    with up({**environment, **settings}, "--port", str(ports[0]), "--web-port", str(ports[1])) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        for port, address in zip(ports, ("/server_info", "/anomalies"), strict=True):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", address)
            assert connection.getresponse().status == 200, said
            connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=180) == 0
