"""The commands of anomalies, and their page in the dashboard."""

from typing import Any

import pytest
from typer.testing import CliRunner, Result

from smarttext_pipelines.anomalies.anomaly_store import search_days
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.web.acting import act
from smarttext_pipelines.web.pages import anomalies_page
from smarttext_pipelines.web.view import Ask
from smarttext_pipelines_tests.alerts import NOON, World, business_id
from smarttext_pipelines_tests.anomalies.past import LAST, calm, write
from smarttext_pipelines_tests.anomalies.test_search import ONE_DAY, UTC
from smarttext_pipelines_tests.conftest import Database


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch) -> World:
    """Give a world in which texts of one business failed yesterday; its name is hostile."""
    world = World(database)
    world.businesses(8)
    cells = calm(8)
    cells["sms_failure_count"][-1, 0], cells["sms_success_count"][-1, 0], cells["messages_sent"][-1, 0] = 9, 21, 30
    write(database, cells)
    world.run(f"UPDATE public.businesses SET name = '<b>Dover' || chr(27) || '[2J' WHERE id = '{business_id(1)}'")
    with database.engine.begin() as connection:
        search_days(connection, ONE_DAY, UTC)
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
    monkeypatch.setenv("COLUMNS", "200")
    return world


def _run(*words: str) -> Result:
    return CliRunner().invoke(app, ["anomalies", *words])


def test_what_was_unusual_on_a_day_is_listed_explained_and_judged(world: World) -> None:
    listed = _run("list", "--date", str(LAST))
    assert listed.exit_code == 0
    assert "9 of 30 texts failed (30 %)" in listed.output
    assert "\x1b[2J" not in listed.output
    explained = _run("explain", "1")
    assert "unusual" in explained.output
    assert f"smarttext stats --business {business_id(1)}" in explained.output
    assert _run("verdict", "1", "expected", "--by", "ana").output == "anomaly 1 is called expected by ana\n"
    assert "expected (ana)" in _run("list", "--date", str(LAST)).output


def test_a_day_that_was_not_searched_ends_with_three(world: World) -> None:
    found = _run("list", "--date", "2026-01-02")
    assert found.exit_code == 3
    assert "2026-01-02 was not searched; run `smarttext rollup --date 2026-01-02`" in found.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explain", "x"], "'x' is no anomaly"),
        (["explain", "77"], "there is no anomaly 77"),
        (["verdict", "1", "maybe", "--by", "ana"], "'maybe' is no verdict"),
        (["mark", "--from", "2026-03-15", "--to", "2026-03-15", "--reason", "x", "--by", "a"], "say either --business"),
        (["mark", "--everybody", "--from", "2026-03-15", "--to", "2026-03-01", "--reason", "x"], "swap the two dates"),
    ],
)
def test_a_mistake_is_one_line(world: World, words: list[str], said: str) -> None:
    found = _run(*words)
    assert isinstance(found.exception, InputError)
    assert said in str(found.exception)


def test_a_marked_day_is_searched_again_at_once(world: World) -> None:
    words = ("--everybody", "--from", str(LAST), "--to", str(LAST), "--reason", "a holiday", "--by", "ana")
    assert _run("mark", *words).output == "mark 1: 1 day explained\n"
    assert world.database.rows("SELECT FROM monitoring.anomalies") == []
    assert "a holiday" in _run("marks").output


def test_a_backtest_prints_what_it_finds_and_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarttext_pipelines.cli.anomaly_commands.today", lambda _settings: NOON.date())
    before = world.database.rows("SELECT * FROM monitoring.anomalies")
    found = _run("backtest", "--days", "84")
    assert found.exit_code == 0, found.output
    assert "failure wave" in found.output
    assert "together" in found.output
    assert world.database.rows("SELECT * FROM monitoring.anomalies") == before


def test_the_page_lists_them_with_the_words_of_the_command_and_takes_a_verdict(world: World) -> None:
    ask = Ask(world.database.settings(), NOON)
    with world.database.engine.begin() as connection:
        listed = anomalies_page.view(connection, ask)
        one = anomalies_page.one(connection, Ask(ask.settings, NOON, {"number": "1"}))
    [row] = listed.tables[0].rows
    assert str(row["what"]).startswith("9 of 30 texts failed (30 %)")
    assert row["what"] in one.headline
    assert [day["found"] for day in one.tables[0].rows if day["day"] == LAST] == [9]
    place: Any = {"number": "1"}
    assert (
        act("/anomalies/{number}/verdict", world.database.engine, place, {"verdict": "wrong"}, "ana") == "/anomalies/1"
    )
    assert world.database.rows("SELECT verdict, said_by FROM monitoring.anomaly_verdicts") == [
        {"verdict": "wrong", "said_by": "ana"}
    ]
