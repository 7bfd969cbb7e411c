"""From a number to its rows: as many as were counted, with masked numbers and what to do."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from smarttext_pipelines.cli.main import app
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.explain import (
    Reading,
    explain_call,
    explain_column,
    explain_message,
)
from smarttext_pipelines.explain.column import window_of
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, call_event, events, sms_event

DAY = date(2026, 3, 16)
AT = datetime(2026, 3, 16, 12, tzinfo=UTC)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
FIRST = BUSINESS_IDS[0]
UTC_ZONE = ZoneInfo("UTC")
READING = Reading(UTC_ZONE, 4, NOW, 5)


def _text(number: int, minutes: float, caller: str, status: str, **columns: Any) -> dict[str, Any]:
    given = {"message_sid": f"SM{number}", "business_id": FIRST, "to_number": caller, **columns}
    return sms_event(number, AT + timedelta(minutes=minutes), status=status, **given)


@pytest.fixture(scope="module")
def told(server: Server, template: str) -> Iterator[Database]:
    """Calls, texts and usage of a day; its tests only read."""
    with fresh_database(server, template) as database:
        tell(database)
        yield database


def tell(database: Database) -> None:
    callers = [f"+155501000{n:02}" for n in range(4)]
    calls = [
        call_event(n, AT, call_sid=f"CA{n}", business_id=FIRST, event_type="voice.missed", from_number=caller)
        for n, caller in enumerate(callers)
    ]
    texts = [
        _text(1, 1, callers[0], "queued"),
        _text(11, 9, callers[0], "delivered", message_sid="SM1", request_id="twilio-report"),
        _text(2, 60, callers[1], "sent"),
        _text(3, 1, callers[2], "undelivered", error_code="30007"),
        _text(4, 1, callers[3], "sending"),
    ]
    usage = [api_call(1, AT, business_id=FIRST, tokens_used=5)]
    replace_events(
        database.engine,
        events(businesses=[business(1)], call_events=calls, sms_events=texts, api_usage=usage),
    )
    roll_up_all(database.engine, DayRange(DAY, DAY), as_of=NOW)


COLUMNS = (
    "calls_missed",
    "missed_calls_replied",
    "missed_calls_unreplied",
    "missed_calls_reply_unknown",
    "messages_sent",
    "sms_success_count",
    "sms_failure_count",
    "sms_in_flight_count",
    "sms_suppressed_count",
    "sms_delivered_count",
    "openai_requests",
    "openai_unpriced_requests",
)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_has_as_many_rows_as_it_says_and_shows_no_number(told: Database, column: str) -> None:
    (stats,) = cells(told.engine, "daily_stats", DAY)
    with told.engine.begin() as connection:
        rows = explain_column(connection, column, FIRST, window_of(DAY, UTC_ZONE, 4, NOW, 5))
    assert len(rows) == stats[column]
    assert "+1555" not in str(rows)


USAGE = ("openai_tokens_used", "openai_cost_estimate", "openai_requests", "openai_unpriced_requests")


def _explained_usage(database: Database) -> dict[str, list[dict[str, Any]]]:
    explained = {}
    for column in USAGE:
        with database.engine.begin() as connection:
            explained[column] = explain_column(connection, column, FIRST, window_of(DAY, UTC_ZONE, 4, NOW, 5))
    return explained


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-Infinity", "0.0000001", "1e13", "0", None])
def test_a_cost_that_is_none_explains_an_unpriced_request(database: Database, cost: str | None) -> None:
    database.run("ALTER TABLE public.api_usage ALTER COLUMN cost_estimate TYPE numeric")
    odd, priced = None if cost is None else Decimal(cost), Decimal("0.25")
    marker = api_call(3, AT, business_id=FIRST, endpoint="daily_reset", tokens_used=3)
    rows = [
        api_call(1, AT, business_id=FIRST, tokens_used=5, cost_estimate=odd),
        api_call(2, AT + timedelta(hours=1), business_id=FIRST, tokens_used=7, cost_estimate=priced),
    ]
    replace_events(database.engine, events(businesses=[business(1)], api_usage=[*rows, marker]))
    roll_up_all(database.engine, DayRange(DAY, DAY), as_of=NOW)
    (stats,) = cells(database.engine, "daily_stats", DAY)
    explained = _explained_usage(database)
    assert [row["tokens_used"] for row in explained["openai_unpriced_requests"]] == [5]
    assert len(explained["openai_cost_estimate"]) == 3
    assert len(explained["openai_unpriced_requests"]) == stats["openai_unpriced_requests"]
    assert len(explained["openai_requests"]) == stats["openai_requests"] == 2
    assert sum(row["tokens_used"] for row in explained["openai_tokens_used"]) == stats["openai_tokens_used"] == 15
    assert stats["openai_cost_estimate"] == priced


def test_usage_is_explained_by_its_time_where_reset_dates_are_of_another_zone(database: Database) -> None:
    rows = [api_call(1, AT, business_id=FIRST, tokens_used=5, reset_date=DAY + timedelta(days=1))]
    replace_events(database.engine, events(businesses=[business(1)], api_usage=rows))
    assert not _explained_usage(database)["openai_requests"]
    database.run("UPDATE monitoring.installation SET reset_date_zone = 'America/New_York'")
    assert len(_explained_usage(database)["openai_requests"]) == 1


def test_an_unknown_column_names_those_that_can_be_explained(told: Database) -> None:
    with told.engine.begin() as connection, pytest.raises(InputError, match="sms_failure_count"):
        explain_column(connection, "nonsense", FIRST, window_of(DAY, UTC_ZONE, 4, NOW, 5))


@pytest.mark.parametrize(
    ("sid", "says"),
    [
        ("CA0", "in time, 60 s after it was missed"),
        ("CA1", "late, 3600 s after"),
        ("CA2", "never: no text of the business reached the caller"),
        ("CA3", "unknown: a text went out, but its outcome"),
    ],
)
def test_a_call_says_why_it_counts_as_it_does(told: Database, sid: str, says: str) -> None:
    with told.engine.begin() as connection:
        found = explain_call(connection, sid, READING)
    assert says in found.sentences[0]
    assert "+1555" not in str(found)


def test_a_message_shows_every_row_in_order_and_what_to_do(told: Database) -> None:
    with told.engine.begin() as connection:
        found = explain_message(connection, "SM1", READING)
        failed = explain_message(connection, "SM3", READING)
        with pytest.raises(InputError, match="no row names"):
            explain_message(connection, "SM99", READING)
    assert [row["status"] for row in found.rows] == ["queued", "delivered"]
    assert "It counts as delivered" in found.sentences[0]
    assert "carrier filtered the content (30007, filtered). Who acts: you." in failed.sentences[2]
    assert "It counts for Business 1 on 2026-03-16, among the texts to callers." in failed.sentences
    assert failed.sentences[3].startswith("Next step: ")


def test_the_views_mask_numbers_and_nobody_else_may_read_them(told: Database) -> None:
    rows = told.rows("SELECT * FROM monitoring.message_rows") + told.rows("SELECT * FROM monitoring.call_rows")
    assert len(rows) == 9
    assert "+1555" not in str(rows)
    assert told.rows(
        "SELECT 1 FROM information_schema.role_table_grants WHERE table_schema = 'monitoring'"
        " AND table_name IN ('message_rows', 'call_rows', 'failure_classes') AND grantee <> grantor"
    ) == []  # fmt: skip


def test_the_command_prints_rows_and_reason(told: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", told.url)
    done = CliRunner().invoke(
        app, ["explain", "missed_calls_unreplied", "--business", "Business 1", "--date", str(DAY)]
    )
    assert done.exit_code == 0, done.output
    assert "1 row of missed_calls_unreplied on 2026-03-16" in done.output
    done = CliRunner().invoke(app, ["explain", "message", "SM3"])
    assert "Next step" in done.output


def test_the_views_neither_hold_a_column_of_the_application_nor_hide_its_index(database: Database) -> None:
    tell(database)
    database.run("ALTER TABLE public.sms_events ALTER COLUMN status TYPE varchar(40)")
    database.run("ALTER TABLE public.call_events ALTER COLUMN call_status TYPE varchar(40)")
    for view, table, key in (("message_rows", "sms_events", "message_sid"), ("call_rows", "call_events", "call_sid")):
        plan = database.rows(f"EXPLAIN SELECT * FROM monitoring.{view} WHERE {key} = 'x'")
        told_of = "\n".join(next(iter(row.values())) for row in plan)
        assert table in told_of
        assert f"{key} = 'x'" in told_of.replace("::text", "").replace("(", "").replace(")", "")
        assert database.rows(f"SELECT * FROM monitoring.{view}")
