"""Customers are told apart without their numbers, and counted to the digit."""

import hashlib
import hmac
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.customer_key import CustomerKey
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.customers.secret_file import customer_key
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.settings import Settings, load_settings
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, roll_up_all

SECRET = "a secret of at least thirty-two characters"  # noqa: S105 - of the tests
KEY = CustomerKey.of_secret(SECRET)
DAY = datetime.now(UTC).date() - timedelta(days=3)
AT = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
PERSON, OTHER = "+15550100001", "+15550100002"
SPELLINGS = (PERSON, "+1 (555) 010-0001", "whatsapp:+15550100001", "sms:+1.555.010.0001", "+1 555\u00a0010\u20110001")
FIRST, SECOND = (UUID(hashlib.md5(name, usedforsecurity=False).hexdigest()) for name in (b"a", b"b"))


@pytest.fixture
def world(database: Database) -> Database:
    """A person who wrote in five spellings to one business and called another; somebody who was never answered."""
    for id_, name in ((FIRST, "Bakery"), (SECOND, "Garage")):
        database.run("INSERT INTO public.businesses (id, name) VALUES (%s, %s)", id_, name)
    call = (
        "INSERT INTO public.call_events (from_number, event_type, call_sid, business_id, ts)"
        " VALUES (%s, %s, %s, %s, %s)"
    )
    for n, number in enumerate(SPELLINGS):
        database.run(call, number, "sms.inbound", f"SM{n}", FIRST, AT)
    database.run(call, PERSON, "voice.inbound", "CA1", SECOND, AT)
    database.run(call, OTHER, "voice.missed", "CA2", FIRST, AT)
    database.run(call, "Anonymous", "voice.missed", "CA3", FIRST, AT)
    text = (
        "INSERT INTO public.sms_events (from_number, to_number, status, message_sid, request_id, error_code,"
        " business_id, created_at) VALUES ('+15550109999', %s, %s, %s, %s, %s, %s, %s)"
    )
    database.run(text, SPELLINGS[1], "delivered", "SM10", "r1", None, FIRST, AT)
    database.run(text, PERSON, "failed", "SM11", "r2", "21610", FIRST, AT)
    usage = (
        "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, cost_estimate, request_id,"
        " created_at, reset_date) VALUES ('openai', 'chat', %s, %s, %s, %s, %s, %s)"
    )
    database.run(usage, FIRST, 700, Decimal("0.01"), "r1", AT, DAY)
    database.run(usage, FIRST, 50, Decimal("0.002"), "of nobody", AT, DAY)
    return database


def _rolled_up(database: Database) -> tuple[str, dict[tuple[UUID | None, UUID | None], dict[str, object]]]:
    done = roll_up_all(database.engine, DayRange(DAY, DAY), customer_key=KEY)
    rows = cells(database.engine, "customer_days")
    return done["customer_days"].sql, {(row["business_id"], row["customer_key"]): row for row in rows}


def test_one_number_in_five_spellings_is_one_customer_and_at_two_businesses_two_rows(world: Database) -> None:
    _, rows = _rolled_up(world)
    person = UUID(bytes=hmac.new(SECRET.encode(), PERSON.encode(), hashlib.sha256).digest()[:16])
    assert {key for key in rows if key[1] == person} == {(FIRST, person), (SECOND, person)}
    found = rows[FIRST, person]
    assert (found["messages_received"], found["texts_sent"], found["failed_opted_out"]) == (5, 2, 1)
    assert (found["openai_requests"], found["openai_tokens_used"], found["openai_cost_usd"]) == (
        1,
        700,
        Decimal("0.01"),
    )
    nobody = rows[FIRST, None]
    assert (nobody["calls_missed"], nobody["reply_unknown_count"], nobody["openai_tokens_used"]) == (1, 1, 50)


def test_sums_over_customers_are_those_of_the_other_facts(world: Database) -> None:
    _rolled_up(world)
    (sums,) = world.rows(
        "SELECT sum(calls_total) AS calls, sum(messages_received) AS received, sum(texts_sent) AS texts,"
        " sum(unreplied_count) AS never, sum(openai_tokens_used) AS tokens, sum(openai_cost_usd) AS usd"
        " FROM monitoring.customer_days"
    )
    (others,) = world.rows(
        "SELECT (SELECT sum(calls_total) FROM monitoring.call_volume) AS calls,"
        " (SELECT sum(messages_received) FROM monitoring.call_volume) AS received,"
        " (SELECT sum(message_count) FROM monitoring.sms_outcomes WHERE audience = 'customer') AS texts,"
        " (SELECT sum(unreplied_count) FROM monitoring.missed_call_replies) AS never,"
        " (SELECT sum(tokens_used) FROM monitoring.spend WHERE service = 'openai') AS tokens,"
        " (SELECT sum(cost_usd) FROM monitoring.spend WHERE service = 'openai') AS usd"
    )
    assert sums == others


def test_neither_number_nor_secret_stands_in_the_statement_or_the_table(world: Database) -> None:
    sql, _ = _rolled_up(world)
    table = str(world.rows("SELECT * FROM monitoring.customer_days"))
    for text in (sql, table, repr(KEY)):
        assert not any(planted in text for planted in (PERSON, PERSON[1:], SECRET, KEY.inner[:32], KEY.outer[:32]))


def test_without_a_secret_customers_are_not_told_apart(world: Database) -> None:
    roll_up_all(world.engine, DayRange(DAY, DAY))
    assert {row["customer_key"] for row in cells(world.engine, "customer_days")} == {None}


def test_erasing_takes_the_key_off_and_keeps_the_sums(world: Database, tmp_path: Path) -> None:
    _rolled_up(world)
    sums = "SELECT sum(messages_received) AS n, sum(openai_tokens_used) AS t FROM monitoring.customer_days"
    before = world.rows(sums)
    erase(world.engine, ArchiveTarget(str(tmp_path)), PERSON, zone=ZoneInfo("UTC"), customer_key=KEY)
    kept = "SELECT count(*) AS n FROM monitoring.customer_days WHERE customer_key = %s"
    assert world.rows(kept, KEY.of_number(PERSON)) == [{"n": 0}]
    assert world.rows(kept, KEY.of_number(OTHER)) == [{"n": 1}]
    assert before == world.rows(sums)


@given(st.text(min_size=32, max_size=100), st.text(max_size=20))
def test_the_key_is_hmac_whatever_the_secret(secret: str, digits: str) -> None:
    try:
        secret.encode(), digits.encode()
    except UnicodeEncodeError:
        return
    number = f"+1{digits.encode().hex()}"
    expected = hmac.new(secret.encode(), number.encode(), hashlib.sha256).digest()[:16]
    assert CustomerKey.of_secret(secret).of_number(number) == UUID(bytes=expected)


def test_a_random_secret_is_made_once_and_said_and_a_setting_goes_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made = customer_key(Settings(data_dir=tmp_path / "new"))
    assert "every customer is a new one" in caplog.text
    file = tmp_path / "new" / "customer.key"
    assert (file.stat().st_mode & 0o777, list(file.parent.iterdir())) == (0o600, [file])
    assert file.read_text() not in caplog.text
    assert customer_key(Settings(data_dir=tmp_path / "new")) == made
    assert customer_key(Settings(data_dir=tmp_path / "new", customer_key=SECRET)) == KEY != made  # type: ignore[arg-type]


def test_a_short_secret_is_refused_without_being_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTTEXT_CUSTOMER_KEY", "swordfish")
    with pytest.raises(SettingsError, match="SMARTTEXT_CUSTOMER_KEY: too short") as raised:
        load_settings()
    assert "swordfish" not in str(raised.value)


@pytest.fixture
def command(world: Database, smarttext, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run a command against the world."""
    _rolled_up(world)
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", world.url)
    monkeypatch.setenv("SMARTTEXT_CUSTOMER_KEY", SECRET)
    return smarttext


def test_the_commands_say_who_was_never_answered_and_what_to_do(command) -> None:  # type: ignore[no-untyped-def]
    person, other = str(KEY.of_number(PERSON)), str(KEY.of_number(OTHER))
    code, out, _ = command("customers", "--business", "Bakery")
    assert code == 0
    assert "2 customers" in out
    code, out, _ = command("customers", "--business", "Bakery", "--unanswered")
    assert (other in out, person in out, "call back: never answered" in out) == (True, False, True)
    code, out, _ = command("customers", "--business", "Bakery", "--opted-out")
    assert (person in out, "do not text; call" in out) == (True, True)
    code, out, _ = command("customers", "--business", "Bakery", "--heavy")
    assert (person in out, "100.0" in out) == (True, True)
    for who in (person, PERSON, SPELLINGS[1]):
        code, out, _ = command("explain", "customer", who)
        assert (code, f"customer {person}: 2 days" in out, "5550100001" in out) == (0, True, False)
    assert command("explain", "customer", "anonymous")[0] == 2
    assert command("explain", "customer")[0] == 2
    assert command("customers", "--business", "Bakery", "--heavy", "--unanswered")[0] == 2
