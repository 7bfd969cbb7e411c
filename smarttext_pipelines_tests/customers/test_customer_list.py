"""Customers for people: who was never answered, who burns tokens, what one customer did; numbers are shown nowhere."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from smarttext_pipelines.core.customer_keys import customer_key, fingerprint, padded_blocks
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.phones import mask_phone
from smarttext_pipelines.customers.contacts import Contacts, Span, may_read_events
from smarttext_pipelines.customers.customer_totals import Kind, customers_of, find_customer
from smarttext_pipelines.health.doctor import examine
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.settings import load_settings
from smarttext_pipelines.settings.customer_secret import FILE
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, cells, replace_events, roll_up_all
from smarttext_pipelines_tests.legacy import acting_as
from smarttext_pipelines_tests.reference import UTC_ZONE
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, call_event, events, sms_event

DAY, NEXT = date(2026, 3, 10), date(2026, 3, 11)
DAYS = DayRange(DAY, NEXT)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SENDER = "+15550001000"
LEFT, ANSWERED, HEAVY = "+15550100001", "+15550100002", "+15550100003"
KEYS = {number: str(customer_key(number, CUSTOMER_SECRET)) for number in (LEFT, ANSWERED, HEAVY)}
FIRST, SECOND = BUSINESS_IDS[:2]


@pytest.fixture
def loaded(database: Database) -> Database:
    later = NOON + timedelta(days=1)
    calls = [(LEFT, FIRST, NOON), (LEFT, FIRST, later), (LEFT, SECOND, NOON), (ANSWERED, FIRST, NOON)]
    stop = {"event_type": "sms.inbound", "call_sid": "SM9", "payload": {"Body": "STOP"}, "business_id": FIRST}
    found = events(
        businesses=[business(1, twilio_phone=SENDER), business(2)],
        call_events=[
            *(
                call_event(n, at, call_sid=f"CA{n}", from_number=number, business_id=whose, event_type="voice.missed",
                           payload={})
                for n, (number, whose, at) in enumerate(calls)
            ),
            call_event(9, later, from_number=f"whatsapp:00{ANSWERED[1:]}", to_number=f"whatsapp:{SENDER}", **stop),
            call_event(8, later, from_number=f"00{ANSWERED[1:]}", to_number=SENDER, **stop),
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


SPAN = ("--from", str(DAY), "--to", str(NEXT))


@pytest.fixture
def with_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(CUSTOMER_SECRET)
    monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(tmp_path))


def test_the_commands_show_keys_and_take_a_number_in_any_spelling(
    loaded: Database, with_secret: None, smarttext: Callable[..., tuple[int, str, str]]
) -> None:
    for number in ("(555) 010-0001", "001 555 010 0001", KEYS[LEFT], KEYS[LEFT][:12]):
        code, out, err = smarttext("customers", "show", number, *SPAN)
        assert (code, err) == (0, "")
        assert KEYS[LEFT][:12] in out
        assert mask_phone(LEFT) in out
        assert "0001" not in out.replace(KEYS[LEFT][:12], "")
    code, _, err = smarttext("customers", "list", "--business", str(FIRST), "--from", "2026-03-09", "--to", str(DAY))
    assert code == 3
    assert "not rolled up: 2026-03-09" in err


def _listed(smarttext: Callable[..., tuple[int, str, str]], *options: str) -> list[dict[str, Any]]:
    code, out, err = smarttext("customers", *options, "--business", str(FIRST), *SPAN, "--json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_opt_outs_and_masked_numbers_are_beside_what_customers_did_with_the_word_list_and_without(
    loaded: Database, with_secret: None, smarttext: Callable[..., tuple[int, str, str]]
) -> None:
    told = _listed(smarttext)
    assert told == _listed(smarttext, "list")
    assert [(each["customer_key"], each["number"], each["verdict"], each["next_step"]) for each in told] == [
        (KEYS[LEFT], mask_phone(LEFT), "allowed", "call back"),
        (KEYS[HEAVY], mask_phone(HEAVY), "allowed", "look at the prompts"),
        (KEYS[ANSWERED], mask_phone(ANSWERED), "opted_out", "do not text"),
    ]
    assert [each["customer_key"] for each in _listed(smarttext, "--opted-out")] == [KEYS[ANSWERED]]
    assert [each["customer_key"] for each in _listed(smarttext, "--unanswered")] == [KEYS[LEFT]]
    loaded.run("UPDATE public.sms_events SET to_number = %s WHERE to_number = %s", LEFT, HEAVY)
    loaded.run("UPDATE public.sms_events SET status = 'failed', error_code = '21610' WHERE to_number = %s", LEFT)
    (told,) = _listed(smarttext, "--unanswered")
    assert (told["verdict"], told["next_step"]) == ("opted_out", "call back, do not text")


def test_the_story_of_a_customer_has_days_and_what_to_do_and_the_number_for_who_typed_it(
    loaded: Database, with_secret: None, smarttext: Callable[..., tuple[int, str, str]]
) -> None:
    loaded.run("UPDATE public.call_events SET ts = now() - interval '1 day'")
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    roll_up_all(loaded.engine, DayRange(day, day))
    _, by_number, _ = smarttext("explain", "customer", f"011 {ANSWERED[1:]}", "--date", str(day))
    _, by_key, _ = smarttext("explain", "customer", KEYS[ANSWERED][:12], "--date", str(day))
    for shown, said in ((by_number, ANSWERED), (by_key, f"customer {KEYS[ANSWERED][:12]} ({mask_phone(ANSWERED)})")):
        assert said in shown
        assert "do not text" in shown
        assert "opted out" in shown
        assert "replied STOP" in shown
    assert ANSWERED[2:] not in by_key
    code, out, err = smarttext("explain", "customer", LEFT, "--business", str(SECOND), "--date", str(day), "--json")
    told = json.loads(out)
    assert (code, err, told["number"]) == (0, "", LEFT)
    assert [(each["day"], each["missed"]) for each in told["days"]] == [(str(day), 1)]
    assert [each["next_step"] for each in told["businesses"]] == ["call back"]
    assert smarttext("explain", "customer", LEFT, "--date", "2026-03-09")[0] == 3


def test_without_the_secret_or_a_right_to_events_opt_outs_are_unknown_and_said_to_be(
    loaded: Database, smarttext: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(tmp_path))
    code, out, err = smarttext("customers", "show", "(555) 010-0001", *SPAN)
    assert (code, out) == (2, "")
    assert "SMARTTEXT_CUSTOMER_KEY" in err
    code, out, _ = smarttext("customers", "--business", str(FIRST), *SPAN)
    assert code == 0
    assert "opt-outs and numbers are unknown here: set SMARTTEXT_CUSTOMER_KEY" in out
    assert {(each["number"], each["verdict"]) for each in _listed(smarttext)} == {(None, None)}
    assert smarttext("customers", "--business", str(FIRST), "--opted-out", *SPAN)[0] == 2
    migrate(loaded.engine, UTC_ZONE, with_roles=True)
    with acting_as(loaded, "smarttext_reader") as engine, engine.connect() as connection:
        assert not may_read_events(connection)


def test_the_blocks_of_the_secret_are_in_no_statement_plan_or_log(
    loaded: Database, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, values: Any, *_others: Any) -> None:
        if "blocks_of_customers AS k" in statement:
            rows = cursor.connection.execute(f"EXPLAIN (ANALYZE, VERBOSE) {statement}", values).fetchall()
            said.append("plan: " + "\n".join(row[0] for row in rows))

    event.listen(loaded.engine, "before_cursor_execute", lambda *a: said.append(f"{a[2]} {a[3]}"))
    event.listen(loaded.engine, "before_cursor_execute", explain)
    with caplog.at_level(logging.DEBUG), loaded.engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        driver.add_notice_handler(lambda notice: said.append(f"{notice.message_primary} {notice.message_detail}"))
        for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "client_min_messages = log"):
            connection.exec_driver_sql(f"SET LOCAL {setting}")
        contacts = Contacts(connection, CUSTOMER_SECRET)
        span = Span(NOON - timedelta(days=1), NOON + timedelta(days=2))
        found = contacts.of(customers_of(connection, FIRST, DAYS), contacts.suppressed(FIRST), span)
    assert {each.number for each in found} == {mask_phone(number) for number in KEYS}
    for kind in ("plan: ", "statement: ", "COPY pg_temp.blocks_of_customers"):
        assert any(kind in each for each in said), kind
    planted = [CUSTOMER_SECRET.decode(), CUSTOMER_SECRET.hex(), *padded_blocks(CUSTOMER_SECRET)]
    assert not [part for part in planted if part in "".join(said) + caplog.text]


def test_another_secret_is_refused_in_one_line_and_the_doctor_says_so(
    loaded: Database, smarttext: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTTEXT_CUSTOMER_KEY", "planted-other-secret")
    code, out, err = smarttext("customers", "show", LEFT, *SPAN)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "smarttext customers new-key" in err
    assert {each["verdict"] for each in _listed(smarttext)} == {None}

    def line() -> dict[str, str]:
        (found,) = (each for each in examine(load_settings(), services=False, dagster=False).lines
                    if each.name == "customer keys")  # fmt: skip
        return {"state": found.state, "said": found.said}

    assert line()["state"] == "warn"
    assert line()["said"].startswith("another population")
    assert smarttext("customers", "new-key")[0] == 2
    assert loaded.rows("SELECT fingerprint FROM monitoring.customer_secrets") == [
        {"fingerprint": fingerprint(CUSTOMER_SECRET)}
    ]
    code, out, _ = smarttext("customers", "new-key", "--yes")
    assert (code, line()) == (0, {"state": "ok", "said": "under SMARTTEXT_CUSTOMER_KEY"})
    assert "nothing was changed" in smarttext("customers", "new-key")[1]
    assert "planted-other-secret" not in out + err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list",), "name a business"),
        (("list", "--business", str(FIRST), "--unanswered", "--heavy"), "at most one"),
        (("--heavy",), "name a business"),
        (("--business", str(FIRST), "suppressions"), "behind the word suppressions"),
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
