"""OpenAI's costs are read whole, exact, in few calls, or not at all; no error has the key in it."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from smarttext_pipelines.billing.costs_answer import Chain, CostKey, DayCosts, read_page
from smarttext_pipelines.billing.costs_client import CostsClient
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines_tests.fakes.openai import KEY, FakeOpenAI, cost
from smarttext_pipelines_tests.fakes.server import Reply, serving

DAY = date(2026, 3, 12)
WEEK = DayRange(DAY - timedelta(days=6), DAY)
INPUT = CostKey("proj_a", "gpt-4o-mini, input", "USD")


@pytest.fixture
def openai() -> Iterator[FakeOpenAI]:
    with serving(FakeOpenAI()) as server:
        yield server


def _ask(
    openai: FakeOpenAI, days: DayRange = WEEK, *, key: str = KEY, slept: list[float] | None = None
) -> dict[date, DayCosts]:
    waits = [] if slept is None else slept
    return CostsClient(key, base_url=f"{openai.url}/v1", timeout_seconds=0.5, sleep=waits.append).costs(days)


def test_a_range_is_asked_for_in_one_question_by_project_and_line_item(openai: FakeOpenAI) -> None:
    openai.costs[DAY] = [cost(1)]
    assert _ask(openai) == {day: {INPUT: Decimal(1)} if day == DAY else {} for day in WEEK}
    assert openai.asked == [
        {
            "start_time": "1772755200",
            "end_time": "1773360000",
            "bucket_width": "1d",
            "group_by": "project_id,line_item",
            "limit": "7",
        }
    ]


def test_a_chain_of_pages_is_followed_to_its_end_and_no_page_is_asked_for_twice(openai: FakeOpenAI) -> None:
    openai.costs = {day: [cost(day.day)] for day in WEEK}
    openai.page_days = 2
    assert _ask(openai) == {day: {INPUT: Decimal(day.day)} for day in WEEK}
    assert [query.get("page") for query in openai.asked] == [None, "page_2", "page_4", "page_6"]


def test_amounts_are_exact_whether_they_are_numbers_or_texts_and_adjustments_are_below_zero(openai: FakeOpenAI) -> None:
    openai.costs[DAY] = [
        cost(Decimal("0.1")),
        cost(Decimal("0.2")),
        cost(Decimal("9999999999999.999999999999999999999999999999"), "large"),
        cost(Decimal("1e-7"), "small"),
        cost(Decimal("-4.56"), "credit", project=None),
        cost(3, None),
    ]
    assert _ask(openai)[DAY] == {
        INPUT: Decimal("0.3"),
        CostKey("proj_a", "large", "USD"): Decimal("9999999999999.999999999999999999999999999999"),
        CostKey("proj_a", "small", "USD"): Decimal("0.0000001"),
        CostKey(None, "credit", "USD"): Decimal("-4.56"),
        CostKey("proj_a", None, "USD"): Decimal(3),
    }


def test_amounts_of_two_currencies_are_never_added(openai: FakeOpenAI) -> None:
    openai.costs[DAY] = [cost("1.00"), cost("2.00", currency="eur"), cost("3.00", currency="EUR")]
    assert _ask(openai)[DAY] == {
        INPUT: Decimal("1.00"),
        CostKey("proj_a", "gpt-4o-mini, input", "EUR"): Decimal("5.00"),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        cost(None),
        cost(""),
        cost("NaN"),
        cost("1e13"),
        cost("1e-31"),
        cost(True),
        cost("1", currency=None),
        cost("1", currency="dollars"),
        {"object": "organization.costs.result", "amount": None},
    ],
)
def test_a_day_with_an_amount_that_cannot_be_read_is_unknown_and_the_others_are_not(
    openai: FakeOpenAI, wrong: dict[str, Any]
) -> None:
    openai.costs = {DAY: [cost(1), wrong], DAY - timedelta(days=1): [cost(2)]}
    told = _ask(openai)
    assert DAY not in told
    assert told[DAY - timedelta(days=1)] == {INPUT: Decimal(2)}


def test_a_day_without_a_bucket_is_not_told(openai: FakeOpenAI) -> None:
    openai.late = {DAY}
    assert set(_ask(openai)) == set(WEEK) - {DAY}


def test_429_is_waited_for_as_long_as_it_asks_and_5xx_with_growing_pauses(openai: FakeOpenAI) -> None:
    slept: list[float] = []
    openai.costs[DAY] = [cost(1)]
    openai.replies = [Reply(429, "{}", {"Retry-After": "7"}), Reply(500, "{}"), Reply(503, "", {}), Reply(429, "{}")]
    assert _ask(openai, slept=slept)[DAY] == {INPUT: Decimal(1)}
    assert slept == [7, 2, 4, 8]


def test_a_connection_that_ends_in_the_middle_of_an_answer_is_tried_again(openai: FakeOpenAI) -> None:
    openai.look_up_faults = ["half_answer"]
    openai.costs[DAY] = [cost(1)]
    assert _ask(openai)[DAY] == {INPUT: Decimal(1)}


@pytest.mark.parametrize(
    ("replies", "said", "calls"),
    [
        ([Reply(503, "")] * 9, "5 times in a row", 5),
        ([Reply(200, "[]")] * 9, "5 times in a row", 5),
        ([Reply(200, '{"data": [], "has_more": true, "next_page": null}')] * 9, "5 times in a row", 5),
        ([Reply(429, "", {"Retry-After": "3600"})] * 9, "asks to wait 3,600 s", 1),
        ([Reply(200, '{"data": [], "has_more": true, "next_page": "p"}')] * 9, "back to itself", 2),
        ([Reply(403, "")], "403; give the admin key the right to read usage", 1),
        ([Reply(400, "")], "400; see SMARTTEXT_OPENAI_BASE_URL", 1),
        ([Reply(302, "", {"Location": "http://127.0.0.1:1/"})], "302; see SMARTTEXT_OPENAI_BASE_URL", 1),
    ],
)
def test_what_cannot_be_read_is_one_line_after_a_bounded_number_of_calls(
    openai: FakeOpenAI, replies: list[Reply], said: str, calls: int
) -> None:
    openai.replies = replies
    with pytest.raises(SmartTextError, match=said) as refused:
        _ask(openai)
    assert "\n" not in str(refused.value)
    assert len(openai.requests) == calls


def test_the_calls_of_a_run_are_bounded_however_many_pages_there_are(openai: FakeOpenAI) -> None:
    openai.page_days = 1
    with pytest.raises(SmartTextError, match="used up"):
        _ask(openai, DayRange(DAY - timedelta(days=59), DAY))
    assert len(openai.requests) == 20


def test_a_wrong_key_is_one_line_without_the_key(openai: FakeOpenAI) -> None:
    with pytest.raises(SmartTextError) as refused:
        _ask(openai, key="of-another-organisation")
    assert str(refused.value) == (
        "OpenAI refused to tell its costs: 401; "
        "set OPENAI_ADMIN_KEY to an admin key of the organisation; a project's key is none"
    )
    assert refused.value.__context__ is None
    assert len(openai.requests) == 1


def test_the_key_is_that_of_the_settings_whatever_a_netrc_says(
    openai: FakeOpenAI, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    openai.costs[DAY] = [cost(1)]
    assert _ask(openai)[DAY]


def _bucket(day: date, **result: Any) -> str:
    begins = (day - date(1970, 1, 1)).days * 86_400
    amount = f'{{"amount": {{"value": 1, "currency": "usd"}}, "line_item": "{result["line_item"]}"}}'
    return f'{{"start_time": {begins}, "end_time": {begins + 86_400}, "results": [{amount}]}}'


def test_a_day_that_two_pages_share_is_put_together_and_one_that_they_repeat_is_refused() -> None:
    pages = [f'{{"data": [{_bucket(DAY, line_item=name)}], "has_more": false, "next_page": null}}' for name in "ab"]
    chain = Chain(WEEK)
    for page in pages:
        chain.add(read_page(page))
    assert sum(chain.days[DAY].values()) == 2
    with pytest.raises(SmartTextError, match="twice"):
        chain.add(read_page(pages[0]))


def test_a_bucket_that_is_no_day_in_utc_is_not_taken_for_one() -> None:
    page = _bucket(DAY, line_item="a").replace("1773273600", "1773277200")
    with pytest.raises(ValueError, match="no day in UTC"):
        read_page(f'{{"data": [{page}], "has_more": false, "next_page": null}}')
