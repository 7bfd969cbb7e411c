"""``smarttext explain``: no word before a sid, times of the reporting zone, masked numbers, a log of who saw them."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.schema.migrate import make_roles, migrate
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events, roll_up_all
from smarttext_pipelines_tests.schema.test_roles import logged_in
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, business, call_event, events, sms_event

DAY = date(2026, 3, 16)
AT = datetime(2026, 3, 16, 14, 59, tzinfo=UTC)
CALLER, OTHER = "+15550100001", "+15550100002"
CALL, MESSAGE = "CA" + "1" * 32, "SM" + "2" * 32
FIRST = BUSINESS_IDS[0]


@pytest.fixture
def told(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("SMARTTEXT_REPORTING_TIMEZONE", "America/New_York")
    missed = {"event_type": "voice.missed", "business_id": FIRST}
    calls = [
        call_event(1, AT, call_sid=CALL, from_number=CALLER, **missed),
        call_event(2, AT, call_sid="CAother", from_number=OTHER, **missed),
    ]
    texts = [
        sms_event(
            1, AT + timedelta(minutes=1), message_sid=MESSAGE, business_id=FIRST, to_number=CALLER, status="sent"
        ),
        sms_event(2, AT, message_sid="SMother", business_id=FIRST, to_number=OTHER, status="failed"),
    ]
    given = events(businesses=[business(1)], call_events=calls, sms_events=texts)
    replace_events(database.engine, given)
    roll_up_all(database.engine, DayRange(DAY, DAY), zone="America/New_York")
    return database


def test_a_sid_or_a_number_needs_no_word_before_it(smarttext, told: Database) -> None:
    for word, says in ((CALL, "It counts as in time"), (MESSAGE, "It counts as sent"), (CALLER, "2 calls and texts")):
        code, out, errors = smarttext("explain", word)
        assert (code, errors) == (0, ""), word
        assert says in out
    assert smarttext("explain", "--phone", CALLER)[1] == smarttext("explain", CALLER)[1]
    assert "It counts as in time" in smarttext("explain", "call", CALL)[1]


def test_times_are_those_of_the_reporting_zone_which_is_named_once(smarttext, told: Database) -> None:
    _, out, _ = smarttext("explain", CALLER)
    assert "10:59:00" in out
    assert "14:59" not in out
    assert out.count("America/New_York") == 1


@pytest.mark.parametrize("width", ["60", "200"])
def test_what_was_typed_is_shown_and_other_numbers_are_not(smarttext, told: Database, width: str) -> None:
    _, out, _ = smarttext("explain", CALLER)
    assert CALLER in out
    for arguments in (("explain", CALL), ("explain", "calls_missed", "--all", "--date", str(DAY)), ("explain", OTHER)):
        _, out, _ = smarttext(*arguments)
        assert CALLER not in out
        assert CALLER.removeprefix("+1") not in out


def test_revealing_numbers_is_recorded_before_they_are_shown(smarttext, told: Database) -> None:
    _, out, _ = smarttext("explain", "calls_missed", "--all", "--date", str(DAY), "--reveal", "--by", "Ada")
    assert CALLER in out
    assert OTHER in out
    assert told.rows("SELECT author, what FROM monitoring.number_reveals") == [
        {"author": "Ada", "what": "calls_missed"}
    ]
    smarttext("explain", CALLER, "--reveal", "--by", "Ada")
    assert "+1555" not in str(told.rows("SELECT * FROM monitoring.number_reveals"))


def test_rows_as_json_are_as_many_and_name_their_offset(smarttext, told: Database) -> None:
    _, out, _ = smarttext("explain", "calls_missed", "--all", "--date", str(DAY), "--json")
    rows = json.loads(out)["rows"]
    assert len(rows) == 2
    assert datetime.fromisoformat(rows[0]["missed"]) == AT


def test_mistakes_say_what_to_do(smarttext, told: Database) -> None:
    for arguments, says in (
        (("explain",), "say what to explain"),
        (("explain", "calls_missed"), "--business B, --all, or --unattributed"),
        (("explain", "nonsense", "--all"), "one of messages_sent"),
        (("explain", "+15559999999"), "nothing was recorded of •••99"),
        (("explain", "calls_missed", "--all", "--audience", "owner"), "counts none"),
        (("explain", "--phone", "nobody"), "that is no telephone number"),
    ):
        code, _, errors = smarttext(*arguments)
        assert code == 2, arguments
        assert says in errors, arguments


def test_a_reader_without_rights_on_events_explains_and_reveals_nothing(
    smarttext, told: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.run(
        "INSERT INTO monitoring.incidents (rule, scope, state, severity, since, fired_at, evaluated_at, counted_at,"
        " window_minutes, window_start, window_end)"
        " VALUES ('sms_failure_rate', 'sender:abc', 'firing', 'warning', now(), now(), now(), now(), 60,"
        " now() - interval '1 h', now())"
    )
    make_roles(told.engine)
    migrate(told.engine, ZoneInfo("America/New_York"))
    with logged_in(told, "smarttext_reader") as engine:
        monkeypatch.setenv("SMARTTEXT_DATABASE_URL", engine.url.render_as_string(hide_password=False))
        wanted: list[tuple[Any, ...]] = [
            (CALLER,), (CALL,), (MESSAGE,), ("calls_missed", "--all", "--date", str(DAY)),
            ("messages_sent", "--business", "Business 1", "--date", str(DAY)),
            ("openai_requests", "--all", "--date", str(DAY)),
        ]  # fmt: skip
        for arguments in wanted:
            code, out, errors = smarttext("explain", *arguments)
            assert (code, errors) == (0, ""), (arguments, errors)
            assert OTHER not in out
        for arguments in (("digest", "--date", str(DAY)), ("stats", "--date", str(DAY)), ("budgets", "show")):
            code, _, errors = smarttext(*arguments)
            assert (code, errors) == (0, ""), (arguments, errors)
        for arguments in (("alerts", "list", "--all"), ("alerts", "show", "1"), ("alerts", "why", "1")):
            code, out, errors = smarttext(*arguments)
            assert (code, errors) == (0, ""), (arguments, errors)
        assert "a sender" in smarttext("alerts", "list")[1]
        assert "smarttext_reader may not" in smarttext("alerts", "ack", "1", "--by", "ann")[2]
        code, out, errors = smarttext("explain", "calls_missed", "--all", "--date", str(DAY), "--reveal")
        assert code == 2
        assert "use the owner of the database or smarttext_pipeline" in errors
        assert OTHER not in out
        code, _, errors = smarttext("retention", "status")
        assert code == 2
        assert "smarttext_reader may not" in errors
        assert "smarttext_retention" in errors
