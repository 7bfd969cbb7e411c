"""What the application must do to be measured well: each line is red until that is done, and says where it is told."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.statuses import FINAL_STATUSES
from smarttext_pipelines.health.application_counts import (
    BUSINESSES,
    CALLS,
    OUTCOMES,
    PRICES,
    REQUESTS,
    SIDS,
    WINDOW,
    Written,
)
from smarttext_pipelines.health.application_lines import LINES
from smarttext_pipelines.health.doctor import examine_application
from smarttext_pipelines.health.verdicts import Line, State
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.schema.rights.roles import PIPELINE, READER
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.docs import DOCS
from smarttext_pipelines_tests.events import insert_events, roll_up_all
from smarttext_pipelines_tests.health.application_worlds import (
    AT,
    COUNT,
    GREEN,
    RED,
    alerts,
    calls,
    put,
    reports,
    texts,
)
from smarttext_pipelines_tests.schema.test_roles import logged_in
from smarttext_pipelines_tests.strategies import Row, api_call, call_event, sms_event
from smarttext_pipelines_tests.worlds import some_events


def lines(database: Database) -> dict[str, Line]:
    return {line.name: line for line in examine_application(database.settings()).lines}


def test_an_empty_database_says_unknown_and_nothing_to_do(database: Database) -> None:
    report = examine_application(database.settings())
    assert [line.name for line in report.lines] == list(LINES)
    assert {line.state for line in report.lines} == {State.unknown}
    assert not any(line.todo for line in report.lines)
    assert report.exit_code == 0


def test_every_line_is_green_when_the_application_does_it(database: Database) -> None:
    put(database, **GREEN)
    found = lines(database)
    assert {name: line.state for name, line in found.items()} == dict.fromkeys(LINES, State.ok), found
    assert not any(line.todo for line in found.values())
    assert "38 of 40 texts (95 %)" in found["status callbacks"].said


@pytest.mark.parametrize("world", RED)
def test_a_line_is_red_until_the_application_does_it(database: Database, world: str) -> None:
    name, state, tables = RED[world]
    put(database, **tables)
    line = lines(database)[name]
    assert line.state is state, line
    assert line.todo
    put(database, **GREEN)
    assert lines(database)[name].state is State.ok


def test_what_is_not_green_names_a_chapter_that_exists(database: Database) -> None:
    chapters = re.findall(r"^#+ (.*)$", (DOCS / "integrate.md").read_text(), re.MULTILINE)
    told = set()
    for name, _, tables in RED.values():
        put(database, **tables)
        line = lines(database)[name]
        (chapter,) = re.findall(r'; see docs/integrate\.md, "(.*)"$', line.todo)
        assert chapter in chapters
        told.add(line.name)
    assert told == set(LINES)


@pytest.mark.parametrize(
    "row",
    [
        sms_event(1, AT, status="failed"),
        sms_event(1, AT, status="rate_limited", message_sid="RATE_LIMITED"),
        sms_event(1, AT, status="received"),
        sms_event(1, datetime.now(UTC) - WINDOW - timedelta(hours=1)),
        sms_event(1, datetime.now(UTC) + timedelta(hours=1)),
    ],
    ids=["failed at creation", "suppressed", "inbound", "eight days old", "of tomorrow"],
)
def test_what_was_not_sent_now_needs_neither_sid_nor_outcome(database: Database, row: Row) -> None:
    put(database, sms_events=[row])
    found = lines(database)
    assert found["status callbacks"].state is found["message sids"].state is State.unknown, found


def test_a_text_of_this_hour_may_wait_for_its_outcome(database: Database) -> None:
    put(database, sms_events=[sms_event(1, datetime.now(UTC) - timedelta(minutes=5), message_sid="SM1")])
    found = lines(database)
    assert (found["status callbacks"].state, found["message sids"].state) == (State.unknown, State.ok)


def test_one_row_of_a_text_or_call_names_its_business_for_all(database: Database) -> None:
    ends = [call_event(700 + n, AT, call_sid=f"CA{n}", event_type="voice.status") for n in range(COUNT)]
    put(database, sms_events=[*texts(), *reports(COUNT)], call_events=[*calls(), *ends])
    found = lines(database)
    assert (found["business"].state, found["calls"].state) == (State.ok, State.ok), found


def test_markers_and_test_calls_are_left_out(database: Database) -> None:
    put(database, api_usage=[api_call(1, AT, endpoint="daily_reset")], call_events=calls(event_type="voice.test"))
    assert {line.state for line in lines(database).values()} == {State.unknown}


def test_no_number_of_a_person_appears(database: Database) -> None:
    number = "+15557654321"
    put(
        database,
        sms_events=texts(300, message_sid=number, to_number=number, from_number=number),
        call_events=calls(from_number=number, to_number=number, call_sid=None),
        owner_alerts=[row | {"owner_phone": number, "customer_phone": number} for row in alerts()],
    )
    said = json.dumps(examine_application(database.settings()).as_json())
    assert "1 value is no sid of one text" in said
    assert number[1:] not in said


def test_definitions_are_those_of_the_metrics(database: Database) -> None:
    """What is counted here agrees with what the rollup makes of the same events."""
    told = some_events(7)
    told["sms_events"] = [
        row for row in told["sms_events"] if row["status"] != "failed" or row["message_sid"].startswith("SM")
    ]
    with database.engine.begin() as connection:
        insert_events(connection, told)
    days = DayRange(datetime(2026, 3, 14).date(), datetime(2026, 3, 20).date())  # noqa: DTZ001
    roll_up_all(database.engine, days, settle_days=10)
    facts = database.rows(
        "SELECT sum(message_count) FILTER (WHERE status_class <> 'suppressed') AS texts,"
        " sum(message_count) FILTER (WHERE status = ANY (%s)) AS final, sum(message_count) AS attempts,"
        " (SELECT sum(calls_total + messages_received) FROM monitoring.call_volume) AS calls,"
        " (SELECT sum(unpriced_requests) FROM monitoring.spend WHERE service = 'openai') AS unpriced,"
        " (SELECT sum(request_count) FROM monitoring.spend) AS requests FROM monitoring.sms_outcomes",
        list(FINAL_STATUSES),
    )[0]
    with database.engine.connect() as connection:
        written = Written(connection, datetime(2026, 3, 20, 12, tzinfo=UTC), database.settings().zone)
        (texts_found,), (calls_found,) = written.read(OUTCOMES), written.read(CALLS)
        (prices,), named = written.read(PRICES), {row.source: row.whole for row in written.read(BUSINESSES)}
    assert (texts_found.whole, texts_found.whole - texts_found.missing) == (facts["texts"], facts["final"])
    assert (calls_found.whole, prices.missing) == (facts["calls"], facts["unpriced"])
    assert named == {"sms_events": facts["attempts"], "call_events": facts["calls"], "api_usage": facts["requests"]}


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (OUTCOMES, "sms_events_created_at_idx"),
        (SIDS, "sms_events_created_at_idx"),
        (BUSINESSES, "call_events_ts_idx"),
        (REQUESTS, "owner_alerts_created_at_idx"),
        (CALLS, "call_events_ts_idx"),
        (PRICES, "api_usage_created_at_idx"),
    ],
)
def test_each_statement_finds_its_rows_by_the_index_on_the_time(database: Database, statement: Any, index: str) -> None:
    with database.engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        written = Written(connection, datetime.now(UTC), database.settings().zone)
        plan = "\n".join(str(row[0]) for row in written.read(text(f"EXPLAIN {statement.text}")))
    assert index in plan
    assert "Seq Scan on" not in plan


def test_the_command_prints_only_these_lines_and_ends_as_the_doctor_does(
    database: Database, smarttext: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, _ = smarttext("doctor", "--application", "--json")
    assert code == 0
    assert [line["name"] for line in json.loads(out)["lines"]] == list(LINES)
    for tables, wanted in ((GREEN, 0), ({"sms_events": [*texts(), *reports(14)]}, 1), ({"sms_events": texts()}, 2)):
        put(database, **tables)
        code, out, _ = smarttext("doctor", "--application")
        assert code == wanted, out
        assert all(name in out for name in LINES)
        assert "disk" not in out
        assert ('docs/integrate.md, "Twilio' in out) == (wanted > 0)


def _report_as(engine: Engine, database: Database) -> list[Line]:
    url = engine.url.render_as_string(hide_password=False)
    return examine_application(database.settings().model_copy(update={"database_url": SecretStr(url)})).lines


def test_a_role_that_may_not_read_events_is_told_in_one_line_which_one_may(database: Database) -> None:
    migrate(database.engine, database.settings().zone, with_roles=True)
    put(database, **GREEN)
    with logged_in(database, READER) as engine:
        (line,) = _report_as(engine, database)
    assert line.state is State.fail
    assert PIPELINE in line.todo
    with logged_in(database, PIPELINE) as engine:
        assert {line.name: line.state for line in _report_as(engine, database)} == dict.fromkeys(LINES, State.ok)


def test_a_database_that_cannot_be_reached_is_one_line(database: Database) -> None:
    away = database.settings().model_copy(update={"database_url": SecretStr("postgresql://u@127.0.0.1:1/x")})
    report = examine_application(away)
    assert ([line.name for line in report.lines], report.exit_code) == (["database"], 2)
