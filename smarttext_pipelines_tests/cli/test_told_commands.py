"""Every command that people are told to run can be run as it is written."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from smarttext_pipelines.alerting.evaluation_service import incident_link
from smarttext_pipelines.anomalies.anomaly_store import search_days
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.settings.customer_secret import FILE
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests import told_commands
from smarttext_pipelines_tests.alerts import World, business_id, only
from smarttext_pipelines_tests.anomalies.past import LAST, calm, write
from smarttext_pipelines_tests.anomalies.test_search import ONE_DAY, UTC
from smarttext_pipelines_tests.conftest import Server, fresh_database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET
from smarttext_pipelines_tests.told_commands import PACKAGE, SERVERS, commands, filled, mistake, refusals
from smarttext_pipelines_tests.web.conftest import ADDRESS

NUMBER = "1"
"""Of the incident, the anomaly and the silence that are there."""

_TEXT = "SM" + "0" * 31 + "1"
THERE = {
    "BUSINESS": str(business_id(1)),
    "CHANNEL": "log",
    "DATE": str(LAST),
    "FILE": "rules.yaml",
    "ID": NUMBER,
    "INCIDENT": NUMBER,
    "KEY": "abababababab",
    "N": "1000",
    "NAME": "Business 2",
    "SID": _TEXT,
    "SM…": _TEXT,
    "TEXT": "known",
    "{'CA…' if asked.what == 'call' else 'SM…'}": _TEXT,
    "{BUSINESS_IDS[1]}": str(business_id(1)),
    "{DAY}": str(LAST),
    "{begin}": str(LAST),
    "{due}": str(LAST),
    "{first}": str(LAST),
    "{last}": str(LAST),
    "{members[0].stored.id or 0}": NUMBER,
    "{message.incident}": NUMBER,
    "{number}": NUMBER,
    "{wanted or 'DAY'}": str(LAST),
    "{zone.key}": "UTC",
}
"""What stands for a placeholder in the world of these tests."""

_PATTERN = "[a-z]["
"""Begins the expression that finds commands, which is none itself."""

_INSTEAD = re.compile(
    r"[`]smarttext |\b(write|give|say|see|use|set|name|run|check)\b|there (is|are) |at most|longer than|today is|--yes"
    r"|\{(error|advice)\}"
)
"""A command, how to say it right, or what is so."""

KINDS = ("of_notices", "of_digests", "of_goldens", "of_refusals", "of_runbooks")


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[World]:
    """A world with an incident, an anomaly, a silence and a text, each number 1."""
    with fresh_database(server, template) as database:
        world = World(database)
        world.businesses(8)
        cells = calm(8)
        cells["sms_failure_count"][-1, 0], cells["sms_success_count"][-1, 0], cells["messages_sent"][-1, 0] = 9, 21, 30
        write(database, cells)
        with database.engine.begin() as connection:
            search_days(connection, ONE_DAY, UTC)
        world.rules = only("sms_failure_rate", for_=1)
        world.begin()
        world.failing()
        world.tick()
        world.run(
            "INSERT INTO monitoring.silences (rule, author, reason, starts_at, ends_at)"
            " VALUES ('sms_in_flight', 'Ann', 'known', '2026-03-16', '2126-03-17')"
        )
        assert world.incidents("id") == [(1,)]
        yield world


def _told() -> Mapping[tuple[str, ...], str]:
    """Return every command that is told, as it is here, and where it is told first."""
    found: dict[tuple[str, ...], str] = {}
    for kind in KINDS:
        for name, told in getattr(told_commands, kind)().items():
            for command in told:
                if not command.startswith(_PATTERN):
                    found.setdefault(tuple(filled(command, THERE)), f"{kind}: {name}: {command}")
    return found


TOLD = _told()
LONG = {command for command in TOLD if command[0] == "rollup" and command[1:] != ("--date", str(LAST))}
"""Other spellings of a rollup, which takes seconds; what is typed is looked at in `make test`, too."""


@pytest.mark.parametrize("command", sorted(LONG), ids=" ".join)
def test_a_rollup_that_is_told_is_no_mistake(command: tuple[str, ...]) -> None:
    assert not mistake(list(command)), TOLD[command]


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=pytest.mark.soak if each in LONG else ()) for each in TOLD], ids=" ".join
)
def test_a_command_that_is_told_runs_as_it_is_written(
    command: tuple[str, ...], world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = list(command)
    assert not mistake(words), TOLD[command]
    if words[0] in SERVERS:
        return
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", world.database.url)
    monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(tmp_path))
    (tmp_path / FILE).write_bytes(CUSTOMER_SECRET)
    (tmp_path / "rules.yaml").write_text(PACKAGE.joinpath("alerting", "alert_rules.yaml").read_text())
    monkeypatch.setenv("SMARTTEXT_ARCHIVE_URL", str(tmp_path / "archive"))
    if words[0] == "lake":
        monkeypatch.setenv("SMARTTEXT_LAKE_URL", str(tmp_path / "lake"))
    done = CliRunner().invoke(app, words)
    if words[:2] == ["alerts", "resolve"]:
        # The incident that is there is none of the pipeline: the refusal names the command for it.
        assert commands(str(done.exception)) == ["alerts silence 1 --for 2h"]
        return
    fault = None if isinstance(done.exception, SystemExit) else done.exception
    assert fault is None, f"{TOLD[command]}: {fault!r}"
    if words[0] == "alerts" and words[1] in ("show", "why", "runbook", "ack"):
        assert f"INC-{NUMBER}" in done.output or "sms_failure_rate" in done.output, (
            f"it tells of another: {done.output}"
        )
    # No daemon runs here, which the doctor finds, and ends with two.
    assert done.exit_code in ((0, 1, 2) if words == ["doctor"] else (0, 1, 3)), f"{TOLD[command]}: {done.output}"


@pytest.mark.parametrize(("place", "said"), refusals().items(), ids=list(refusals()))
def test_a_refusal_says_what_to_do_instead(place: str, said: str) -> None:
    assert _INSTEAD.search(said), f"{place} leaves people alone: {said}"


def test_the_link_of_a_notice_leads_to_its_incident(world: World, tmp_path: Path) -> None:
    asset = incident_link(Settings(_env_file=None, data_dir=tmp_path)).rsplit("/", 1)[1]
    graph = build_definitions(Settings(_env_file=None, data_dir=tmp_path)).resolve_asset_graph()
    assert asset in {key.to_user_string() for key in graph.get_all_asset_keys()}
    settings = world.database.settings(data_dir=tmp_path, web_url=ADDRESS)
    link = incident_link(settings).replace("{incident}", NUMBER)
    pages = build_app(world.database.engine, settings, access_of(settings, "127.0.0.1"))
    with TestClient(pages, base_url=ADDRESS) as client:
        page = client.get(link)
    assert page.status_code == 200
    assert f"INC-{NUMBER}" in page.text


@pytest.mark.parametrize("kind", KINDS)
def test_commands_are_found_in_texts_of_every_kind(kind: str) -> None:
    assert sum(map(len, getattr(told_commands, kind)().values())) >= 10


def test_a_command_without_what_it_needs_is_a_mistake() -> None:
    for words in (["alerts", "show"], ["budgets", "grant"], ["alerts", "shown", "1"], ["stats", "--dated", "x"]):
        assert mistake(words), words


def test_a_command_is_found_whatever_line_it_breaks_over() -> None:
    assert commands("see `smarttext alerts\nshow 214`, or `ls`") == ["alerts show 214"]


def test_a_refusal_counts_as_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", world.database.url)
    assert isinstance(CliRunner().invoke(app, ["alerts", "show", "999"]).exception, SmartTextError)
