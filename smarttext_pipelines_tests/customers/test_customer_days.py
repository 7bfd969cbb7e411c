"""What customers did by day: the reference on both engines, sums, spellings, and a secret that is nowhere."""

import hashlib
import hmac
import logging
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import pytest
from sqlalchemy import event

from smarttext_pipelines.core.customer_keys import customer_key, e164, padded_blocks
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import AgreementError, SettingsError
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.defs.metadata import day_metadata
from smarttext_pipelines.engines import ArchiveEngine, Parameters, add_repeated_keys
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.rollup import roll_up
from smarttext_pipelines.rollup.customer_sums import differing_sums, rows_of_differing_sums
from smarttext_pipelines.rollup.preview import read_preview
from smarttext_pipelines.schema.same_secret import use_secret
from smarttext_pipelines_tests import reference, strategies
from smarttext_pipelines_tests.agreement import cells_of, expected_cells, require_same
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, cells, replace_events, roll_up_all, write_parquet
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    Events,
    api_call,
    business,
    call_event,
    events,
    owner_alert,
    sms_event,
)

DAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
DAYS = DayRange(DAY, DAY).widen(1)
METRIC = METRICS["customer_days"]
CALLER = "+15557654321"
FIVE_SPELLINGS = (CALLER, "\u00a0whatsapp:+15557654321", "(555) 765-4321", "0015557654321", "1.555.765.4321")
NOBODY = (None, "", "Anonymous", "+266696687", "00266696687", "07700900123", "12345", "support")


def _expected(found: Events, days: DayRange = DAYS) -> Any:
    return expected_cells("customer_days", found, days, zone=reference.UTC_ZONE, as_of=AS_OF, secret=CUSTOMER_SECRET)


def _rolled_up(database: Database, found: Events, days: DayRange = DAYS) -> list[dict[str, Any]]:
    replace_events(database.engine, found)
    roll_up_all(database.engine, days, metrics={"customer_days": METRIC}, as_of=AS_OF)
    return cells(database.engine, "customer_days")


def _require_on_both_engines(database: Database, found: Events, folder: Path) -> None:
    for parts in ([DAYS], [DayRange(day, day) for day in DAYS]):
        replace_events(database.engine, found)
        for part in parts:
            roll_up_all(database.engine, part, metrics={"customer_days": METRIC}, as_of=AS_OF)
        rows = cells(database.engine, "customer_days")
        require_same("customer_days", cells_of("customer_days", rows), _expected(found), f"{len(parts)} parts")
    files = write_parquet(found, folder)
    for part in (DAYS, DayRange(DAY, DAY)):
        parameters = Parameters(Window(part, reference.UTC_ZONE, 4, AS_OF), customer_secret=CUSTOMER_SECRET)
        with ArchiveEngine(None, parameters, files) as engine:
            assert METRIC.repeated is not None
            add_repeated_keys(engine, [METRIC.repeated(engine.tables, parameters.window)])
            rows = engine.fetch(METRIC.rows(engine.tables, parameters.window))
        require_same("customer_days", cells_of("customer_days", rows), _expected(found, part), f"DuckDB, {part}")


@pytest.mark.parametrize("number", [*FIVE_SPELLINGS, *NOBODY, *strategies.SPELLINGS, *strategies.NUMBERS])
def test_a_number_is_read_as_the_reference_reads_it(number: str | None) -> None:
    assert e164(number) == reference.e164(number)


def test_five_spellings_are_one_customer_and_no_spelling_of_nobody_is_one() -> None:
    assert {e164(number) for number in FIVE_SPELLINGS} == {CALLER}
    assert {e164(number) for number in NOBODY} == {None}
    assert e164("004512345678") == e164("+4512345678"), "ten digits behind 00 have their country"


@pytest.mark.parametrize("secret", [b"k", b"s" * 64, b"longer than a block " * 8])
def test_the_blocks_give_the_key_that_the_standard_library_gives(secret: bytes) -> None:
    inner, outer = map(bytes.fromhex, padded_blocks(secret))
    hashed = hashlib.sha256(outer + hashlib.sha256(inner + CALLER.encode()).digest()).hexdigest()
    assert hashed == hmac.new(secret, CALLER.encode(), hashlib.sha256).hexdigest() == customer_key(CALLER, secret)


def test_five_spellings_are_one_customer_of_each_business(database: Database, tmp_path: Path) -> None:
    first, second = BUSINESS_IDS[:2]
    found = events(
        businesses=[business(1), business(2)],
        call_events=[
            call_event(n, NOON, call_sid=f"CA{n}", from_number=spelled, business_id=(first, second)[n % 2])
            for n, spelled in enumerate(FIVE_SPELLINGS)
        ],
        sms_events=[
            sms_event(n, NOON, message_sid=f"SM{n}", to_number=spelled, business_id=first, status="sent")
            for n, spelled in enumerate(FIVE_SPELLINGS)
        ],
    )
    _require_on_both_engines(database, found, tmp_path)
    rows = {row["business_id"]: row for row in cells(database.engine, "customer_days")}
    assert {row["customer_key"] for row in rows.values()} == {customer_key(CALLER, CUSTOMER_SECRET)}
    assert (rows[first]["calls_total"], rows[second]["calls_total"]) == (3, 2)
    assert rows[first]["messages_sent"] == rows[first]["sms_success_count"] == 5


def test_what_has_no_number_is_in_the_row_without_a_key(database: Database, tmp_path: Path) -> None:
    calls = [call_event(n, NOON, from_number=number, event_type="voice.missed") for n, number in enumerate(NOBODY)]
    texts = [sms_event(n, NOON, to_number=number or "", status="failed") for n, number in enumerate(NOBODY)]
    _require_on_both_engines(database, events(call_events=calls, sms_events=texts), tmp_path)
    (row,) = cells(database.engine, "customer_days")
    assert (row["customer_key"], row["calls_missed"], row["messages_sent"]) == (None, len(NOBODY), len(NOBODY))


def test_a_request_is_of_the_customer_whose_texts_name_it_and_else_of_nobody(
    database: Database, tmp_path: Path
) -> None:
    hour = timedelta(hours=1)
    texts = {
        "req-one": [{"to_number": CALLER}, {"to_number": FIVE_SPELLINGS[2]}],
        "req-two": [{"to_number": CALLER}, {"to_number": "+15550100002"}],
        "req-alert": [{"to_number": "+15550100009", "message_sid": "SM-alert"}],
        "req-inbound": [{"status": "Received", "from_number": CALLER, "to_number": "+15550001000"}],
        "req-late": [{"to_number": CALLER, "at": NOON + timedelta(days=5)}],
        "undefined": [{"to_number": CALLER}],
        "twilio-report": [{"to_number": CALLER}],
        "x-owner": [{"to_number": CALLER}],
    }
    rows = [(request, row) for request, several in texts.items() for row in several]
    found = events(
        businesses=[business(1)],
        sms_events=[
            sms_event(n, row.pop("at", NOON + hour), request_id=request, **row) for n, (request, row) in enumerate(rows)
        ],
        api_usage=[
            api_call(
                n, NOON, request_id=request, tokens_used=10**n, cost_estimate=Decimal(n), business_id=BUSINESS_IDS[0]
            )
            for n, request in enumerate((*texts, None))
        ],
        owner_alerts=[owner_alert(1, NOON, message_sid="SM-alert")],
    )
    _require_on_both_engines(database, found, tmp_path)
    tokens = {
        row["customer_key"]: row["openai_tokens_used"]
        for row in cells(database.engine, "customer_days")
        if row["openai_requests"]
    }
    assert tokens == {customer_key(CALLER, CUSTOMER_SECRET): 1001, None: 111_110_110}


def _world() -> Events:
    found, first = strategies.every_peculiarity(reference.UTC_ZONE, DAY), BUSINESS_IDS[0]
    missed = [
        call_event(100 + n, NOON, call_sid=f"CA-m{n}", event_type="voice.missed", business_id=first,
                   from_number=number) for n, number in enumerate((*FIVE_SPELLINGS, "+15550100003", None))
    ]  # fmt: skip
    answers = [sms_event(100, NOON, message_sid="SM-answer", status="sent", to_number=CALLER, business_id=first)]
    for table, rows in (("call_events", missed), ("sms_events", answers)):
        others = found[table][0]
        found[table] += [{**{name: others[name] for name in others if name not in row}, **row} for row in rows]
    return found


def test_sums_over_customers_are_those_of_the_other_facts(database: Database) -> None:
    replace_events(database.engine, _world())
    roll_up_all(database.engine, DAYS, as_of=AS_OF)
    with database.engine.connect() as connection:
        found = differing_sums(connection, DAYS)
    assert {part for part, _ in found.values()} == {0}
    assert found[DAY][1] >= 4, "businesses with anything on the day"
    database.run(
        "UPDATE monitoring.customer_days SET messages_sent = messages_sent + 1 WHERE business_id = %s", BUSINESS_IDS[0]
    )
    with database.engine.connect() as connection:
        assert differing_sums(connection, DAYS)[DAY][0] == 1
    assert {row["counted"] for row in database.rows(rows_of_differing_sums([DAY], reference.UTC_ZONE))} == {
        "over customers",
        "by the facts",
    }


def test_a_day_of_texts_alone_is_computed_again_and_one_that_lost_any_source_keeps_its_numbers(
    database: Database,
) -> None:
    text = sms_event(1, NOON, message_sid="SM1", to_number=CALLER, status="sent")
    assert _rolled_up(database, events(sms_events=[text]))[0]["messages_sent"] == 1
    database.run("UPDATE public.sms_events SET status = 'failed'")
    roll_up_all(database.engine, DAYS, as_of=AS_OF)
    (row,) = cells(database.engine, "customer_days")
    assert row["sms_failure_count"] == 1
    database.run("DELETE FROM public.sms_events")
    result = roll_up_all(database.engine, DAYS, as_of=AS_OF)["customer_days"]
    assert DAY in result.kept
    assert cells(database.engine, "customer_days") == [row]


def test_the_secret_is_in_no_statement_log_metadata_or_error(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    secret = b"planted-secret-of-this-test"
    planted = [secret.decode(), secret.hex(), *padded_blocks(secret)]
    said: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, values: Any, *_others: Any) -> None:
        if "customer_key_blocks" in statement and "SELECT" in statement and statement.startswith("CREATE"):
            rows = cursor.connection.execute(f"EXPLAIN (VERBOSE) {statement}", values).fetchall()
            said.append("plan: " + "\n".join(row[0] for row in rows))

    event.listen(database.engine, "before_cursor_execute", lambda *a: said.append(f"{a[2]} {a[3]}"))
    event.listen(database.engine, "before_cursor_execute", explain)
    replace_events(database.engine, _world())
    with caplog.at_level(logging.DEBUG):
        options: dict[str, Any] = {"zone": reference.UTC_ZONE, "settle_days": 4, "customer_secret": secret}
        result = roll_up(database.engine, METRIC, DAYS, **options)
        with database.engine.connect() as connection:
            said += [str(day_metadata(result, DAY, read_preview(connection, METRIC, DAYS)))]
        for broken in (
            lambda t, w: METRIC.rows(t, w).usual.mutate(
                calls_total=ibis.literal(1) // (METRIC.rows(t, w).usual.calls_total * 0)
            ),
            lambda t, w: METRIC.rows(t, w).usual.mutate(calls_total=METRIC.rows(t, w).usual.calls_total + 1),
        ):
            with pytest.raises(Exception) as failed:  # noqa: PT011 - whatever it is, its text is looked at
                roll_up(database.engine, replace(METRIC, rows=broken), DAYS, **options)
            said += [str(failed.value), repr(failed.value), str(failed.value.__cause__)]
        assert isinstance(failed.value, AgreementError)
    said += [
        repr(result),
        result.sql,
        caplog.text,
        repr(Parameters(Window(DAYS, reference.UTC_ZONE, 4, AS_OF), (), {}, secret)),
    ]
    assert len(said) > 20
    assert any(each.startswith("plan: ") and "customer_key_blocks" in each for each in said)
    assert not [part for part in planted if any(part in each for each in said)]


def test_without_a_secret_nothing_is_computed(database: Database) -> None:
    with pytest.raises(SettingsError, match="SMARTTEXT_CUSTOMER_KEY"):
        roll_up(database.engine, METRIC, DAYS, zone=reference.UTC_ZONE, settle_days=4)


def test_another_secret_is_refused_until_somebody_begins_another_population(database: Database) -> None:
    found = events(call_events=[call_event(1, NOON, from_number=CALLER)])
    (before,) = _rolled_up(database, found)
    options: dict[str, Any] = {"zone": reference.UTC_ZONE, "settle_days": 4, "customer_secret": b"another one"}
    with pytest.raises(SettingsError, match=r"SMARTTEXT_CUSTOMER_KEY.*customers new-key") as refused:
        roll_up(database.engine, METRIC, DAYS, **options)
    assert "another one" not in str(refused.value)
    assert cells(database.engine, "customer_days") == [before]
    with database.engine.begin() as connection:
        use_secret(connection, b"another one", anew=True)
    roll_up(database.engine, METRIC, DAYS, **options)
    (after,) = cells(database.engine, "customer_days")
    assert before["customer_key"] != after["customer_key"]
    assert {**before, "customer_key": None} == {**after, "customer_key": None}


def test_a_day_whose_events_had_gone_before_its_customers_were_counted_is_not_known(database: Database) -> None:
    looked_at = "INSERT INTO monitoring.rollup_days (table_name, row_day, rows, rolled_up_at, checked_at)"
    database.run(f"{looked_at} VALUES ('customer_days', '{DAY}', 0, NULL, '2026-12-01')")
    with database.engine.connect() as connection:
        assert complete_days(connection, DAYS, reference.UTC_ZONE, ("customer_days",)) == set()
    database.run("UPDATE monitoring.rollup_days SET rolled_up_at = checked_at")
    with database.engine.connect() as connection:
        assert complete_days(connection, DAYS, reference.UTC_ZONE, ("customer_days",)) == {DAY}
