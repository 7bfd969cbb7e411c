"""A real Alertmanager has an incident within a minute, once, while it fires, and over a restart of either side."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.channels.alertmanager import AlertmanagerChannel
from smarttext_pipelines.alerting.channels.channel import Delivery, Sent
from smarttext_pipelines.alerting.evaluation_service import deliver_now
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests.alerts import NOON, World, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.messages import samples

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Alertmanager on this machine (2026-11-28)")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def alertmanager(folder: Path, port: int) -> Iterator[str]:
    (folder / "am.yml").write_text(CONFIG)
    options = ["--config.file=am.yml", f"--storage.path={folder}", f"--web.listen-address=127.0.0.1:{port}"]
    command = [PROGRAM or "", *options, "--cluster.listen-address="]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while not _is_ready(url):
                assert process.poll() is None
                time.sleep(0.05)
            yield url
        finally:
            process.kill()


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=1).ok
    except requests.ConnectionError:
        return False


def _alerts(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = requests.get(f"{url}/api/v2/alerts", timeout=5).json()
    return found


def test_an_incident_is_there_once_comes_back_after_a_restart_and_ends(database: Database, tmp_path: Path) -> None:
    port = _free_port()
    channels: Any = [AlertmanagerChannel(f"http://127.0.0.1:{port}/")]
    world = World(database, channels=channels, rules=only("account_errors", for_=1))
    world.businesses(1)
    world.begin()
    with alertmanager(tmp_path, port) as url:
        world.send(1, status="failed", error_code="30002")
        world.tick()
        for _ in range(2):
            deliver_now(database.engine, channels, budget_seconds=5)
        [alert] = _alerts(url)
        assert (alert["labels"]["alertname"], alert["labels"]["severity"]) == ("account_errors", "critical")
        assert alert["labels"]["incident"] == "INC-1"
        assert "smarttext alerts show 1" in alert["annotations"]["description"]
        (tmp_path / "nflog").unlink(missing_ok=True)
    with alertmanager(tmp_path, port) as url:
        assert _alerts(url) == []
        deliver_now(database.engine, channels, budget_seconds=5)
        [again] = _alerts(url)
        assert again["fingerprint"] == alert["fingerprint"]
        assert again["startsAt"] == alert["startsAt"]
        for _ in range(4):
            world.send(60, ago=timedelta(minutes=1))
            world.tick(40)
        deliver_now(database.engine, channels, budget_seconds=5)
        assert world.incidents("state") == [("resolved",)]
        assert _alerts(url) == []


def test_a_worse_severity_is_one_alert_not_two(tmp_path: Path) -> None:
    messages = samples()
    milder = {**messages["A business whose texts fail"].as_json(), "severity": "warning"}
    worse = messages["It becomes worse"]
    with alertmanager(tmp_path, _free_port()) as url:
        channel = AlertmanagerChannel(url)
        for message in (type(worse).from_json(milder), worse):
            assert isinstance(channel.send(Delivery("tag", "alertmanager", message, 1, NOON)), Sent)
        deadline = time.monotonic() + 10
        while len(found := _alerts(url)) > 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [each["labels"]["severity"] for each in found] == ["critical"]


def test_the_doctor_asks_for_its_status(tmp_path: Path) -> None:
    probe = CHANNELS["alertmanager"].probe
    assert probe is not None
    with alertmanager(tmp_path, _free_port()) as url:
        assert probe(Settings(_env_file=None, alertmanager_url=url)).is_well
    assert probe(Settings(_env_file=None, alertmanager_url=url)).is_well is False
    assert probe(Settings(_env_file=None)).is_well is None


def test_nobody_there_costs_a_later_attempt_and_no_notice(database: Database) -> None:
    channels: Any = [AlertmanagerChannel(f"http://127.0.0.1:{_free_port()}")]
    world = World(database, channels=channels, rules=only("account_errors", for_=1), now=NOON + timedelta(minutes=1))
    world.businesses(1)
    world.begin()
    world.send(1, status="failed", error_code="30002")
    world.tick()
    deliver_now(database.engine, channels, budget_seconds=2)
    assert [status for (status,) in world.outbox("status")] not in (["sent"], ["dead"])
