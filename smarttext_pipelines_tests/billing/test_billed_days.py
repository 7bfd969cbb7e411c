"""OpenAI's bill stands beside ours on its days, exact to the cent; no day is asked for without need."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from smarttext_pipelines.billing import (
    BilledDay,
    ask_costs,
    compared_days,
    complete_finding,
    cost_finding,
    read_billed,
    total,
)
from smarttext_pipelines.billing.ask_days import days_in_reach, is_settled
from smarttext_pipelines.billing.costs_client import CostsClient
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.fakes.openai import KEY, FakeOpenAI, cost
from smarttext_pipelines_tests.fakes.server import Reply, serving

NOW = datetime(2026, 3, 14, 3, 50, tzinfo=UTC)
DAY = date(2026, 3, 12)
"""The newest day that is final at NOW."""


@pytest.fixture
def openai() -> Iterator[FakeOpenAI]:
    with serving(FakeOpenAI()) as server:
        yield server


def _ask(database: Database, openai: FakeOpenAI, now: datetime = NOW, *, key: str = KEY) -> list[date]:
    client = CostsClient(key, base_url=f"{openai.url}/v1", sleep=lambda _: None)
    return ask_costs(database.engine, client, now, retention_days=90)


def _record(database: Database, at: datetime, usd: str | None, *, service: str = "openai", tokens: int = 10) -> None:
    database.run(
        "INSERT INTO public.api_usage (service, endpoint, tokens_used, cost_estimate, created_at, reset_date)"
        " VALUES (%s, 'chat', %s, CAST(%s AS numeric), %s, %s)",
        service,
        tokens,
        usd,
        at,
        at.date(),
    )


def _at(day: date, hour: int = 12) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def _read(database: Database, days: DayRange | None = None) -> dict[date, BilledDay]:
    with database.engine.connect() as connection:
        return {each.day: each for each in read_billed(connection, days or compared_days(NOW))}


def test_the_remainder_is_exact_to_the_cent_with_adjustments_and_projects(
    database: Database, openai: FakeOpenAI
) -> None:
    _record(database, _at(DAY - timedelta(days=40)), "1")
    _record(database, _at(DAY), "10.070001")
    _record(database, _at(DAY), "0.02")
    _record(database, _at(DAY), "99", service="twilio")
    openai.costs[DAY] = [
        cost(Decimal("9.10")),
        cost(Decimal("1.15"), "gpt-4o-mini, output"),
        cost(Decimal("-0.12"), "credit"),
        cost("0.05", project="proj_b"),
    ]
    _ask(database, openai)
    found = _read(database)[DAY]
    assert (found.billed_usd, found.recorded_usd) == (Decimal("10.18"), Decimal("10.090001"))
    assert found.unexplained_usd == Decimal("0.089999")
    assert len(database.rows("SELECT FROM monitoring.openai_costs")) == 4


def test_a_row_belongs_to_the_utc_day_of_its_time(database: Database, openai: FakeOpenAI) -> None:
    midnight = _at(DAY, 0)
    _record(database, midnight - timedelta(days=9), "1")
    _record(database, midnight - timedelta(microseconds=1), "2")
    _record(database, midnight, "3")
    _ask(database, openai)
    found = _read(database)
    assert [found[day].recorded_usd for day in (DAY - timedelta(days=1), DAY)] == [2, 3]


def test_other_currencies_stand_apart_and_the_remainder_of_them_alone_is_unknown(
    database: Database, openai: FakeOpenAI
) -> None:
    before = DAY - timedelta(days=1)
    _record(database, _at(DAY - timedelta(days=9)), "1")
    openai.costs = {DAY: [cost("2.00"), cost("7.50", currency="eur")], before: [cost("7.50", currency="eur")]}
    _ask(database, openai)
    found = _read(database)
    assert (found[DAY].unexplained_usd, found[DAY].other_currencies) == (Decimal("2.00"), "7.50 EUR")
    assert (found[before].billed_usd, found[before].unexplained_usd) == (None, None)
    assert found[before].is_complete
    assert found[before].is_explained


def test_days_before_our_first_row_have_no_remainder(database: Database, openai: FakeOpenAI) -> None:
    _record(database, _at(DAY - timedelta(days=1)), "1")
    openai.costs = {day: [cost(1)] for day in DayRange(DAY - timedelta(days=7), DAY)}
    _ask(database, openai)
    known = {day for day, each in _read(database).items() if each.unexplained_usd is not None}
    assert known == {DAY}, "the day of the first row was recorded in part"


def test_requests_without_a_price_are_counted_and_not_taken_for_free(database: Database, openai: FakeOpenAI) -> None:
    _record(database, _at(DAY - timedelta(days=9)), "1")
    for usd, tokens in ((None, 10), ("0", 10), ("0", 0), ("NaN", 10)):
        _record(database, _at(DAY), usd, tokens=tokens)
    _ask(database, openai)
    found = _read(database)[DAY]
    assert (found.recorded_usd, found.unpriced_requests) == (0, 3)
    assert not found.is_complete, "OpenAI told no cost of a day with requests"


def test_a_day_is_asked_for_once_a_day_for_a_week_and_never_again(database: Database, openai: FakeOpenAI) -> None:
    asked = [day for n in range(12) for day in _ask(database, openai, NOW + timedelta(days=n))]
    assert asked.count(DAY) == 8, "when it is final, and on seven days after that"
    assert asked.count(DAY - timedelta(days=20)) == 1, "what is older is asked for once"
    assert len(openai.requests) == 12, "each run is one question"
    assert _ask(database, openai, NOW + timedelta(days=11, hours=1)) == []
    assert len(openai.requests) == 12, "a run that follows at once asks nothing"


def test_a_day_that_was_not_over_for_a_day_is_not_asked_for(database: Database, openai: FakeOpenAI) -> None:
    midnight = datetime(2026, 3, 14, tzinfo=UTC)
    assert days_in_reach(midnight, 90).last == DAY
    assert days_in_reach(midnight - timedelta(microseconds=1), 90).last == DAY - timedelta(days=1)


def test_days_whose_rows_may_have_left_are_not_asked_for_and_the_compared_week_is() -> None:
    short = days_in_reach(NOW, 11)
    assert (len(short), len(days_in_reach(NOW, 90))) == (9, 31)
    assert set(compared_days(NOW)) <= set(short)
    assert not any(is_settled(day, NOW - timedelta(days=1)) for day in compared_days(NOW))


def test_an_outage_of_days_is_made_up_for_in_one_question(database: Database, openai: FakeOpenAI) -> None:
    _ask(database, openai)
    asked = _ask(database, openai, NOW + timedelta(days=5))
    assert asked == [*DayRange(DAY - timedelta(days=6), DAY + timedelta(days=5))], "the day before was settled"
    assert len(openai.requests) == 2


def test_a_late_day_is_unknown_until_it_is_told_and_what_was_told_is_replaced(
    database: Database, openai: FakeOpenAI
) -> None:
    _record(database, _at(DAY - timedelta(days=9)), "1")
    _record(database, _at(DAY), "5")
    openai.late = {DAY}
    _ask(database, openai)
    assert _read(database)[DAY].unexplained_usd is None
    openai.late, openai.costs = set(), {DAY: []}
    _ask(database, openai, NOW + timedelta(days=1))
    assert _read(database)[DAY].unexplained_usd is None, "no cost is not believed where 5 USD were recorded"
    for n, (usd, left) in enumerate((("4.50", "-0.50"), ("5.25", "0.25")), start=2):
        openai.costs = {DAY: [cost(usd, f"item {n}")]}
        _ask(database, openai, NOW + timedelta(days=n))
        assert _read(database)[DAY].unexplained_usd == Decimal(left)
    openai.costs = {}
    _ask(database, openai, NOW + timedelta(days=4))
    assert _read(database)[DAY].unexplained_usd == Decimal("0.25"), "an answer without costs takes none away"


def test_rows_that_are_written_late_count_until_the_day_is_settled(database: Database, openai: FakeOpenAI) -> None:
    _record(database, _at(DAY - timedelta(days=40)), "1")
    openai.costs = {DAY: [cost(3)]}
    _ask(database, openai)
    _record(database, _at(DAY), "3")
    _ask(database, openai, NOW + timedelta(hours=1))
    assert _read(database)[DAY].unexplained_usd == 0
    assert len(openai.requests) == 1, "our own rows are read anew without a question"
    database.run("DELETE FROM public.api_usage")
    _ask(database, openai, NOW + timedelta(days=9))
    assert _read(database)[DAY].recorded_usd is None
    database.run("UPDATE monitoring.openai_cost_days SET recorded_usd = 3 WHERE day = %s", DAY)
    _ask(database, openai, NOW + timedelta(days=10))
    assert _read(database)[DAY].recorded_usd == 3, "a settled day keeps its numbers"


@pytest.mark.parametrize("reply", [Reply(503, ""), Reply(401, ""), Reply(429, "", {"Retry-After": "7200"})])
def test_where_openai_does_not_answer_everything_stays_and_the_next_run_asks_again(
    database: Database, openai: FakeOpenAI, reply: Reply
) -> None:
    openai.costs = {DAY: [cost(3)]}
    _ask(database, openai)
    before = _state(database)
    tomorrow = NOW + timedelta(days=1)
    openai.page_days, openai.replies = 4, []
    good = openai._page({"start_time": "1772841600", "end_time": "1773532800", "limit": "180"})
    openai.replies = [Reply(200, good), *[reply] * 5]
    with pytest.raises(SmartTextError):
        _ask(database, openai, tomorrow)
    assert _state(database) == before, "half a chain is not kept"
    openai.replies = []
    assert DAY in _ask(database, openai, tomorrow)


def _state(database: Database) -> list[Any]:
    return [
        database.rows(f"SELECT * FROM monitoring.{name} ORDER BY day") for name in ("openai_costs", "openai_cost_days")
    ]


def _day(billed: str, recorded: str, *, day: date = DAY, told: bool = True, unpriced: int = 0) -> BilledDay:
    return BilledDay(day, NOW, told, {"USD": Decimal(billed)} if billed else {}, Decimal(recorded), unpriced)


@pytest.mark.parametrize(
    ("billed", "recorded", "is_small"),
    [("1", "0", True), ("1.01", "0", False), ("0", "1.01", False), ("100", "95", True), ("100", "94.99", False)],
)
def test_what_may_stay_unexplained_is_a_share_or_a_dollar(billed: str, recorded: str, is_small: bool) -> None:
    assert _day(billed, recorded).is_explained is is_small


def test_findings_say_the_worst_day_and_leave_the_newest_time_to_be_told() -> None:
    days = [_day("10", "10", day=DAY - timedelta(days=2)), _day("12.345", "2", day=DAY - timedelta(days=1), unpriced=4)]
    found = cost_finding([*days, _day("", "5")])
    assert found is not None
    assert found.said == (
        "OpenAI charges 12.34 USD for 2026-03-11 (UTC), and 2.00 USD were recorded: +10.34 USD are unexplained; "
        "4 requests have no price; 1 of 3 days differ"
    )
    assert complete_finding([*days, _day("", "5")]) is cost_finding(days[:1]) is None
    assert cost_finding([days[0], _day("1", "5")]) is None, "it may still add to the newest day"
    assert cost_finding([_day("1", "5"), days[0]]) is not None
    late = complete_finding([_day("", "5"), _day("", "0", told=False), days[0]])
    assert late is not None
    assert late.said == "OpenAI has not told its costs of 2 of 2 days, the last 2026-03-12 (UTC): its answers lack them"


def test_sums_and_differences_are_not_rounded() -> None:
    tiny, large = Decimal("1e-30"), Decimal("9999999999999")
    assert str(total([large, tiny])) == "9999999999999.000000000000000000000000000001"
    day = BilledDay(DAY, NOW, True, {"USD": total([large, tiny])}, large, 0)
    assert day.unexplained_usd == tiny
