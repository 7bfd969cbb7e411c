"""The few rows that an answer reads are all that it needs: it says what the daily numbers say, of any events."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from sqlalchemy import text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.explain import Reading, Scope, explain_call, explain_scope, tell_story
from smarttext_pipelines.explain.behind_calls import STATES_OF_COLUMN, VOLUME
from smarttext_pipelines.explain.column import READERS, window_of
from smarttext_pipelines.explain.near import Kind, NearEngine, Wanted
from smarttext_pipelines.schema.near_rows import compared
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    business,
    call_event,
    event_sets,
    events,
    every_peculiarity,
    owner_alert,
    sms_event,
)

DAY = date(2026, 3, 16)
AT = datetime(2026, 3, 16, 12, tzinfo=UTC)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
ZONE = ZoneInfo("America/New_York")
READING = Reading(ZONE, 4, NOW, 5)
FIRST = BUSINESS_IDS[0]
COUNTS = [
    "calls_total", "calls_missed", "calls_answered", "messages_received", "messages_sent", "sms_success_count",
    "sms_failure_count", "sms_in_flight_count", "sms_suppressed_count", "sms_unknown_count", "sms_delivered_count",
    "owner_alerts_sent", "owner_alerts_failed", "openai_requests", "openai_unpriced_requests", "missed_calls_replied",
    "missed_calls_unreplied", "missed_calls_reply_unknown",
]  # fmt: skip
SUMS = {"openai_tokens_used": "tokens_used", "openai_cost_estimate": "cost_estimate"}


FEW = ["calls_total", "messages_sent", "sms_failure_count", "missed_calls_unreplied", "owner_alerts_sent"]


def _agrees(database: Database, given: Any, columns: list[str], *, reveals: bool = False) -> None:
    replace_events(database.engine, given)
    roll_up_all(database.engine, DayRange(DAY, DAY), zone=str(ZONE), as_of=NOW)
    window = window_of(DAY, ZONE, 4, NOW, 5)
    # What has no business, and some that have one: each is a statement of its own.
    found = sorted(cells(database.engine, "daily_stats", DAY), key=lambda row: str(row["business_id"] or ""))
    for stats in found if SOAK else found[:2]:
        scope = Scope(stats["business_id"], reveals=reveals)
        for column in columns:
            if stats[column] is None:
                continue
            with database.engine.begin() as connection:
                rows = explain_scope(connection, column, scope, window)
            assert len(rows) == stats[column], (column, stats["business_id"])


def test_peculiar_events_are_explained_to_the_row(database: Database) -> None:
    _agrees(database, every_peculiarity(ZONE, DAY), COUNTS)


def test_with_numbers_in_full_the_rows_are_the_same(database: Database) -> None:
    _agrees(database, every_peculiarity(ZONE, DAY), FEW, reveals=True)


@settings(max_examples=40 if SOAK else 3)
@given(given=event_sets(ZONE, DAY, only_postgres_holds=True))
def test_any_events_are_explained_to_the_row(database: Database, given: Any) -> None:
    _agrees(database, given, FEW)


def test_every_column_of_stats_replies_and_costs_can_be_explained() -> None:
    from smarttext_pipelines.schema.tables.lookup import table_named
    from smarttext_pipelines.schema.tables.statistics import daily_stats

    keys = {"id", "business_id", "date", "day", "service", "model", "endpoint", "reply_minutes"}
    for table in (daily_stats, table_named("missed_call_replies"), table_named("spend")):
        assert {c.name for c in table.columns} - keys <= {*READERS}, table.name
    assert {*VOLUME, *STATES_OF_COLUMN} <= {*READERS}


def test_all_businesses_at_once_are_as_many_rows_as_one_by_one(database: Database) -> None:
    replace_events(database.engine, every_peculiarity(ZONE, DAY))
    roll_up_all(database.engine, DayRange(DAY, DAY), zone=str(ZONE), as_of=NOW)
    window = window_of(DAY, ZONE, 4, NOW, 5)
    stats = cells(database.engine, "daily_stats", DAY)
    for column in ("messages_sent", "calls_total", "calls_missed", "openai_requests", "owner_alerts_failed"):
        with database.engine.begin() as connection:
            rows = explain_scope(connection, column, Scope(is_all=True), window)
        assert len(rows) == sum(row[column] for row in stats), column
        assert all("business" in row for row in rows)


def _call(number: int, minutes: float, caller: str, **columns: Any) -> dict[str, Any]:
    given = {"call_sid": f"CA{number}", "business_id": FIRST, "event_type": "voice.missed", "from_number": caller}
    return call_event(number, AT + timedelta(minutes=minutes), **{**given, **columns})


def _text(number: int, minutes: float, caller: str, status: str, **columns: Any) -> dict[str, Any]:
    given = {"message_sid": f"SM{number}", "business_id": FIRST, "to_number": caller, **columns}
    return sms_event(number, AT + timedelta(minutes=minutes), status=status, **given)


CALLER = "+15550100001"


@pytest.fixture
def told(database: Database) -> Database:
    calls = [
        _call(1, 0, "+1 (555) 010-0001"),
        _call(2, 60, CALLER, event_type="sms.inbound", call_sid="SMin"),
        _call(3, 0, "+15550199999"),
    ]
    texts = [
        _text(1, 1, CALLER, "failed", error_code="30007"),
        _text(2, 2, CALLER, "delivered", business_id=BUSINESS_IDS[1]),
        _text(3, 3, "whatsapp:" + CALLER, "delivered"),
        _text(4, 4, CALLER, "delivered"),
        _text(5, 5, CALLER, "sent", request_id="x-owner"),
        _text(6, -60, CALLER, "delivered"),
        _text(7, 1500, CALLER, "delivered"),
        _text(8, 6, "+15550199999", "sending"),
    ]
    replace_events(
        database.engine,
        events(businesses=[business(1), business(2)], call_events=calls, sms_events=texts,
               owner_alerts=[owner_alert(1, AT, business_id=FIRST, message_sid="SM5")]),
    )  # fmt: skip
    roll_up_all(database.engine, DayRange(DAY, DAY), zone=str(ZONE), as_of=NOW)
    return database


def test_a_call_lists_each_text_that_was_tried_and_why_it_counts_or_not(told: Database) -> None:
    with told.engine.begin() as connection:
        found = explain_call(connection, "CA1", READING)
    assert {row["text"]: row["does it count"] for row in found.texts} == {
        "SM6": "no: it went out before the call",
        "SM1": "no: it failed",
        "SM2": "no: it is of another business",
        "SM3": "yes: the first that reached the caller, in time",
        "SM4": "no: another text had reached the caller before",
        "SM5": "no: it went to an owner",
        "SM7": "no: it went out more than 24 hours later",
    }
    assert "It counts as in time, 180 s after" in found.sentences[0]
    assert "555" not in str(found)


def test_the_story_of_a_caller_is_every_call_and_text_of_that_number_in_order(told: Database) -> None:
    with told.engine.begin() as connection:
        rows = tell_story(connection, "555-010-0001", READING)
    assert [row["sid"] for row in rows] == ["SM6", "CA1", "SM1", "SM2", "SM3", "SM4", "SM5", "SMin", "SM7"]
    became = {row["sid"]: row["what became of it"] for row in rows}
    assert became["CA1"] == "a text was promised within 5 min: in time after 180 s"
    assert became["SM3"] == "delivered: the answer to CA1"
    assert became["SM1"].startswith("failed: carrier filtered the content")
    assert {row["sid"]: row["what"] for row in rows}["SMin"] == "text from the caller"
    assert "555" not in str(rows)
    with told.engine.begin() as connection:
        rows = tell_story(connection, CALLER, READING, DAY + timedelta(days=1))
    assert [row["sid"] for row in rows] == ["SM7"]


def test_texts_to_callers_and_to_owners_are_told_apart(told: Database) -> None:
    window = window_of(DAY, ZONE, 4, NOW, 5)
    found = {}
    for audience in ("customer", "owner", None):
        with told.engine.begin() as connection:
            rows = explain_scope(connection, "messages_sent", Scope(FIRST, audience=audience), window)
        found[audience] = [row["message"] for row in rows]
    assert found["owner"] == ["SM5"]
    assert sorted(found["customer"] + found["owner"]) == sorted(found[None])


_NUMBERS = "SELECT message_sid, to_number FROM near_sms_events"


def test_what_stands_for_a_number_compares_as_the_number_does(told: Database) -> None:
    wanted = Wanted(Kind.all, window_of(DAY, ZONE, 4, NOW, 5))
    with told.engine.begin() as connection:
        NearEngine(connection, wanted)
        masked = {sid: number for sid, number in connection.execute(text(_NUMBERS))}
        NearEngine(connection, Wanted(Kind.all, wanted.window, reveals=True))
        shown = {sid: number for sid, number in connection.execute(text(_NUMBERS))}
    assert "555" not in str(masked)
    assert sorted(masked, key=lambda sid: (masked[sid], sid)) == sorted(shown, key=lambda sid: (shown[sid], sid))


def test_the_answers_start_from_an_index(told: Database) -> None:
    with told.server.connect(told.name) as connection:
        # A sequential scan of a few rows is cheaper, whatever indexes there are.
        connection.execute("SET enable_seqscan = off")
        found = connection.execute("SELECT pg_get_functiondef('monitoring.near_rows'::regproc)").fetchone() or ("",)
        for column, table in (("to_number", "sms_events"), ("from_number", "call_events")):
            searched = compared(f"e.{column}")
            assert f"{searched} = ANY" in found[0]
            query = f"EXPLAIN SELECT * FROM monitoring.{table} AS e WHERE {searched} = 'x'"
            plan = str(connection.execute(query).fetchall())
            assert f"{table}_{column}_idx" in plan
            assert "Index Cond" in plan


def test_costs_are_explained_to_the_cent(database: Database) -> None:
    replace_events(database.engine, every_peculiarity(ZONE, DAY))
    roll_up_all(database.engine, DayRange(DAY, DAY), zone=str(ZONE), as_of=NOW)
    window = window_of(DAY, ZONE, 4, NOW, 5)
    for stats in cells(database.engine, "daily_stats", DAY):
        for column, shown in SUMS.items():
            with database.engine.begin() as connection:
                rows = explain_scope(connection, column, Scope(stats["business_id"]), window)
            told = sum((row[shown] or 0 for row in rows if Decimal(row[shown] or 0).is_finite()), start=Decimal(0))
            assert round(told, 6) == round(stats[column], 6)
