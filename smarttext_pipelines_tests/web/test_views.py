"""What a page says is what the command line says, and each number leads to its rows."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import Connection

from smarttext_pipelines.budgets.month import read_month
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.digest.enqueue import build_digest
from smarttext_pipelines.digest.totals import Totals, read_totals, summed
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.dashboard import by_address
from smarttext_pipelines.web.live_today import LiveToday, keep_live_today
from smarttext_pipelines.web.pages import (
    PAGES,
    business_page,
    businesses_page,
    delivery_page,
    digest_page,
    request_tokens_page,
    spend_page,
    today_page,
)
from smarttext_pipelines.web.view import Ask, View
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.strategies import BUSINESS_IDS
from smarttext_pipelines_tests.web.conftest import DAY, NOW

COUNTED = ("calls_missed", "in_time", "late", "never", "unknown", "texts", "failed")


@pytest.fixture
def connection(world: Database) -> Any:
    with world.engine.connect() as found:
        yield found


def _ask(settings: Settings, path: dict[str, str] | None = None, now: datetime = NOW, **query: Any) -> Ask:
    return Ask(settings, now, path or {}, {name: str(value) for name, value in query.items()})


def _figures(view: View) -> dict[str, Any]:
    return {figure.name: figure.value for figure in view.figures}


def _follow(connection: Connection, settings: Settings, link: str) -> View:
    """Return the view of an address, as the application finds it."""
    from starlette.routing import Match, Route

    parts = urlsplit(link)
    scope = {"type": "http", "method": "GET", "path": parts.path, "root_path": ""}
    for page in by_address():
        match, found = Route(page.route, lambda _request: None).matches(scope)  # type: ignore[arg-type,return-value]
        if match is Match.FULL:
            return page.view(connection, _ask(settings, found["path_params"], **dict(parse_qsl(parts.query))))
    raise AssertionError(link)


def test_todays_numbers_are_those_of_stats_and_each_leads_to_as_many_rows(
    connection: Connection, settings: Settings
) -> None:
    view = today_page.view(connection, _ask(settings))
    figures, totals = _figures(view), read_totals(connection, [DAY])[DAY]
    assert totals.missed
    assert totals.failed
    names = {"calls_missed": "missed", "openai_usd": "openai_usd", "tokens": "tokens"}
    for figure in view.figures:
        expected = getattr(totals, names.get(figure.name, figure.name), figures[figure.name])
        assert figure.value == expected, figure.name
        if figure.name in COUNTED:
            rows = _follow(connection, settings, figure.link).tables[0].rows
            assert len(rows) == figure.value, figure.name


def test_a_business_and_all_of_them_sum_to_the_same(connection: Connection, settings: Settings) -> None:
    days = DayRange(DAY - timedelta(days=2), DAY)
    view = businesses_page.view(connection, _ask(settings, **{"from": days.first, "to": days.last}))
    whole = summed(list(read_totals(connection, days).values()))
    for column, name in (("missed", "missed"), ("texts", "texts"), ("failed", "failed"), ("tokens", "tokens")):
        assert sum(int(row[column] or 0) for row in view.tables[0].rows) == getattr(whole, name), column
    for row in view.tables[0].rows:
        one = _follow(connection, settings, f"{row['link']}?from={days.first}&to={days.last}")
        table = next(table for table in one.tables if table.name == "days")
        assert sum(int(each["texts"] or 0) for each in table.rows) == row["texts"]


def test_delivery_and_spend_say_what_stats_and_budgets_say(connection: Connection, settings: Settings) -> None:
    days = DayRange(DAY - timedelta(days=2), DAY)
    view = delivery_page.view(connection, _ask(settings, **{"from": days.first, "to": days.last}))
    whole = summed(list(read_totals(connection, days).values()))
    assert _figures(view) == {name: getattr(whole, name) for name in _figures(view)}
    tables = {table.name: table.rows for table in view.tables}
    assert sum(int(row["texts"] or 0) for row in tables["failures"]) == whole.failed
    assert sum(int(row["texts"] or 0) for row in tables["statuses"]) == whole.texts
    spend = spend_page.view(connection, _ask(settings))
    month = read_month(connection, DAY, is_over=False)
    assert _figures(spend)["month_usd"] == month.month_usd
    assert sum(row["usd"] for row in spend.tables[1].rows) == month.month_usd  # type: ignore[misc]
    assert _figures(spend)["expected_usd"] is None, "a month that lacks a day is not extrapolated"


def test_tokens_a_request_are_those_of_the_command_line_to_the_cell(
    world: Database,
    connection: Connection,
    settings: Settings,
    smarttext: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", world.url)
    days = {"from": DAY - timedelta(days=2), "to": DAY}
    for chosen in ({}, {"business": str(BUSINESS_IDS[0])}):
        view = request_tokens_page.view(connection, _ask(settings, **days, **chosen))
        options = [part for name, value in {**days, **chosen}.items() for part in (f"--{name}", str(value))]
        code, out, _ = smarttext("budgets", "tokens", *options, "--json")
        told, tables = json.loads(out), {table.name: table.rows for table in view.tables}
        assert (code, len(told["rows"])) == (0, len(tables["tokens"]))
        assert len(told["rows"]) > 1
        assert [
            {name: _json(row[name]) for name in of} for row, of in zip(tables["tokens"], told["rows"], strict=True)
        ] == told["rows"]
        assert [
            (str(row["week"]), _json(row["business_id"]), row["requests"], row["without_customer"])
            for row in tables["without_customer"]
        ] == [(of["week"], of["business_id"], of["requests"], of["without_customer"]) for of in told["attributed"]]
    assert {line.link for line in spend_page.view(connection, _ask(settings)).links} == {"/spend/tokens"}
    usual = request_tokens_page.view(connection, _ask(settings))
    assert usual.headline == "2026-01-19 to 2026-03-09"


def _json(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, str)) else str(value)


def test_the_digest_page_has_the_lines_of_the_digest(connection: Connection, settings: Settings) -> None:
    view = digest_page.view(connection, _ask(settings, date=DAY))
    digest = build_digest(connection, settings, DAY, now=NOW)
    assert view.headline == digest.headline
    assert [(line.text, line.command) for line in view.lines] == [(line.text, line.command) for line in digest.lines]


def test_what_was_not_computed_is_unknown_and_never_zero(connection: Connection, settings: Settings) -> None:
    view = today_page.view(connection, _ask(settings, now=NOW + timedelta(days=1)))
    assert not {"texts", "calls_missed"} & {*_figures(view)}
    assert "not computed" in view.note
    assert [line[-1] for series in view.series for line in series.lines.values()] == [None] * 6
    never = {"from": DAY - timedelta(days=300), "to": DAY - timedelta(days=299)}
    for page in (delivery_page, spend_page):
        empty = page.view(connection, _ask(settings, date=DAY - timedelta(days=300), **never))
        assert "was computed" in empty.headline
        assert not {0} & {value for name, value in _figures(empty).items() if name != "unpriced"}
    days = next(table for table in delivery_page.view(connection, _ask(settings)).tables if table.name == "days")
    assert [row["texts"] for row in days.rows][3:] == [None] * 4


def test_a_sampler_that_stands_still_does_not_hide_what_was_rolled_up(world: Database, settings: Settings) -> None:
    with world.engine.connect() as connection, connection.begin() as transaction:
        for ago, missed in ((timedelta(minutes=1), 4321), (timedelta(hours=2), None)):
            connection.exec_driver_sql("DELETE FROM monitoring.live_today")
            keep_live_today(connection, LiveToday(DAY, NOW - ago, Totals(missed=4321)))
            seen = _figures(today_page.view(connection, _ask(settings)))["calls_missed"]
            assert seen == (missed or read_totals(connection, [DAY])[DAY].missed)
        transaction.rollback()


def test_a_page_of_businesses_beyond_the_last_is_none(connection: Connection, settings: Settings) -> None:
    with pytest.raises(InputError, match="no page 9"):
        businesses_page.view(connection, _ask(settings, page=9))


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ({}, {"date": "tomorrow"}, "no date"),
        ({}, {"date": "2999-01-01"}, "future"),
        ({}, {"from": "2020-01-01"}, "range"),
        ({"business": "me"}, {}, "no id"),
        ({"business": "00000000-0000-0000-0000-0000000000ff"}, {}, "no business"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(
    connection: Connection, settings: Settings, path: dict[str, str], query: dict[str, str], said: str
) -> None:
    view = business_page.view if path else digest_page.view if "date" in query else delivery_page.view
    with pytest.raises(InputError, match=said):
        view(connection, _ask(settings, path, **query))


def test_every_page_has_a_name_and_an_address_of_its_own() -> None:
    assert len({page.name for page in PAGES}) == len(PAGES)
    assert len({page.route for page in PAGES}) == len(PAGES)
