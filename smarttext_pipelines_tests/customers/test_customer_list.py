"""Customers for people: who was never answered, who burns tokens, what one customer did; numbers are shown nowhere."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from smarttext_pipelines.core.customer_keys import customer_key
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.customers.customer_totals import Kind, customers_of, find_customer
from smarttext_pipelines.settings.customer_secret import FILE
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, cells, replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, call_event, events, sms_event

DAY, NEXT = date(2026, 3, 10), date(2026, 3, 11)
DAYS = DayRange(DAY, NEXT)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LEFT, ANSWERED, HEAVY = "+15550100001", "+15550100002", "+15550100003"
KEYS = {number: str(customer_key(number, CUSTOMER_SECRET)) for number in (LEFT, ANSWERED, HEAVY)}
FIRST, SECOND = BUSINESS_IDS[:2]


@pytest.fixture
def loaded(database: Database) -> Database:
    later = NOON + timedelta(days=1)
    calls = [(LEFT, FIRST, NOON), (LEFT, FIRST, later), (LEFT, SECOND, NOON), (ANSWERED, FIRST, NOON)]
    found = events(
        businesses=[business(1), business(2)],
        call_events=[
            call_event(n, at, call_sid=f"CA{n}", from_number=number, business_id=whose, event_type="voice.missed")
            for n, (number, whose, at) in enumerate(calls)
        ],
        sms_events=[
            sms_event(n, NOON + timedelta(minutes=1), message_sid=f"SM{n}", to_number=number, business_id=FIRST,
                      status="delivered", request_id=f"req-{n}")
            for n, number in enumerate((ANSWERED, HEAVY))
        ],
        api_usage=[
            api_call(n, NOON, business_id=FIRST, tokens_used=tokens, request_id=f"req-{n}", reset_date=DAY)
            for n, tokens in enumerate((2_000, 18_000))
        ],
    )  # fmt: skip
    replace_events(database.engine, found)
    roll_up_all(database.engine, DAYS, as_of=datetime(2026, 3, 20, tzinfo=UTC))
    return database


def test_customers_are_listed_by_who_needs_a_human_with_the_sums_of_the_fact(loaded: Database) -> None:
    with loaded.engine.connect() as connection:
        found = customers_of(connection, FIRST, DAYS)
        listed = {kind: [each.customer_key for each in customers_of(connection, FIRST, DAYS, kind)] for kind in Kind}
    assert listed == {
        Kind.all: [KEYS[LEFT], KEYS[HEAVY], KEYS[ANSWERED]],
        Kind.unanswered: [KEYS[LEFT]],
        Kind.heavy: [KEYS[HEAVY]],
    }
    assert [each.next_step for each in found] == ["call back", "look at the prompts", ""]
    rows = [row for row in cells(loaded.engine, "customer_days") if row["business_id"] == FIRST and row["customer_key"]]
    for name, column in (("calls", "calls_total"), ("never", "unreplied_count"), ("tokens", "openai_tokens_used")):
        assert sum(getattr(each, name) for each in found) == sum(row[column] for row in rows)
    assert found[1].percent_of_tokens == Decimal("90.00")
    assert (found[0].first_day, found[0].last_day) == (DAY, NEXT)


def test_a_customer_is_found_by_the_beginning_of_the_key_and_shown_by_business(loaded: Database) -> None:
    with loaded.engine.connect() as connection:
        found = find_customer(connection, KEYS[LEFT][:12], DAYS)
        assert {each.business_id: each.never for each in found} == {FIRST: 2, SECOND: 1}
        assert find_customer(connection, KEYS[LEFT], DayRange(NEXT, NEXT))[0].never == 1
        assert find_customer(connection, "0" * 64, DAYS) == []


def test_the_commands_show_keys_and_take_a_number_in_any_spelling(
    loaded: Database, smarttext: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    span = ("--from", str(DAY), "--to", str(NEXT))
    code, out, err = smarttext("customers", "show", "(555) 010-0001", *span)
    assert (code, out) == (2, "")
    assert "SMARTTEXT_CUSTOMER_KEY" in err
    (tmp_path / FILE).write_bytes(CUSTOMER_SECRET)
    monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(tmp_path))
    code, out, err = smarttext("customers", "show", "(555) 010-0001", *span)
    assert (code, err) == (0, "")
    assert KEYS[LEFT][:12] in out
    assert "0001" not in out.replace(KEYS[LEFT][:12], "")
    code, out, _ = smarttext("customers", "list", "--business", str(FIRST), "--unanswered", *span, "--json")
    (told,) = json.loads(out)
    assert (code, told["customer_key"], told["never"], told["next_step"]) == (0, KEYS[LEFT], 2, "call back")
    code, _, err = smarttext("customers", "list", "--business", str(FIRST), "--from", "2026-03-09", "--to", str(DAY))
    assert code == 3
    assert "not rolled up: 2026-03-09" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list",), "name a business"),
        (("list", "--business", str(FIRST), "--unanswered", "--heavy"), "at most one"),
        (("show", "nobody"), "write a number"),
        (("show", "abc"), "write a number"),
    ],
)
def test_mistakes_are_one_line(
    loaded: Database, smarttext: Callable[..., tuple[int, str, str]], words: tuple[str, ...], said: str
) -> None:
    code, out, err = smarttext("customers", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
