"""Rows that are odd: undated, repeated, with costs that are none; what becomes of them on both engines."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import ArchiveEngine, Parameters, add_repeated_keys
from smarttext_pipelines.explain import explain_call
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.rollup.concerned import repeated_keys
from smarttext_pipelines.rollup.quality import undated_rows, undated_rows_from
from smarttext_pipelines.storage.installation import EventSpan, event_span
from smarttext_pipelines_tests import reference
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all, write_parquet
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    Events,
    Row,
    api_call,
    business,
    call_event,
    events,
    owner_alert,
    sms_event,
)

ZONE = ZoneInfo("UTC")
DAY = date(2026, 3, 10)
DAYS = DayRange(DAY - timedelta(days=1), DAY + timedelta(days=1))
AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
CALLERS = ("+15550100001", "+15550100002")
ONE = {"business_id": BUSINESS_IDS[0]}
KEYED = ("sms_outcomes", "call_volume", "missed_call_replies")


def _told(name: str, found: Events, days: DayRange) -> dict[Any, Any]:
    """Return what the reference says of days, cell by cell."""
    told: dict[Any, Any] = {}
    for day in days:
        for key, value in getattr(reference, name)(found, day, zone=ZONE, as_of=AS_OF).items():
            told[(day, *(key if isinstance(key, tuple) else (key,)))] = tuple(value)
    return told


def _shaped(name: str, rows: list[Row]) -> dict[Any, Any]:
    measures = [c for parts in METRICS[name].totals.values() for c in parts]
    if name == "missed_call_replies":
        measures = [*measures, "wait_p50_ms", "wait_p95_ms", "reply_minutes"]
    elif name == "call_volume":
        measures = ["calls_total", "calls_missed", "messages_received"]
    names = METRICS[name].dimensions
    return {tuple(_plain(row[n]) for n in names): tuple(row[m] for m in measures) for row in rows}


def _plain(value: Any) -> Any:
    return str(value) if value is not None and not isinstance(value, date | str) else value


def _as_text(told: dict[Any, Any]) -> dict[Any, Any]:
    return {tuple(_plain(part) for part in key): value for key, value in told.items()}


def _require_agreement(database: Database, found: Events, folder: Path, days: DayRange = DAYS) -> None:
    """Require that a range, its days and DuckDB give what the reference gives."""
    facts = {name: METRICS[name] for name in KEYED}
    expected = {name: _as_text(_told(name, found, days)) for name in KEYED}
    ranges: list[list[DayRange]] = [[days], [DayRange(day, day) for day in days]]
    for parts in ranges:
        replace_events(database.engine, found)
        for part in parts:
            roll_up_all(database.engine, part, metrics=facts, as_of=AS_OF)
        for name in KEYED:
            assert _shaped(name, cells(database.engine, name)) == expected[name], (name, len(parts))
    files = write_parquet(found, folder)
    for part in [days, DayRange(DAY, DAY)]:
        window = Window(part, ZONE, 4, AS_OF)
        for name, metric in facts.items():
            with ArchiveEngine(None, Parameters(window), files) as engine:
                assert metric.repeated is not None
                add_repeated_keys(engine, [metric.repeated(engine.tables, window)])
                rows = engine.fetch(metric.rows(engine.tables, window))
            within = {key: value for key, value in expected[name].items() if key[0] in part}
            assert _shaped(name, rows) == within, name


# Replies


def _seconds(low: float, high: float) -> st.SearchStrategy[timedelta]:
    return st.floats(low, high).map(lambda s: timedelta(milliseconds=round(s * 1000)))


_NEAR = st.one_of(
    st.sampled_from(
        [timedelta(seconds=s) for s in (-5.001, -5, -4.999, -0.01, 0, 300, 300.001, 86400, 86400.001, -86400)]
    ),
    _seconds(-10, 10),
    _seconds(-100_000, 100_000),
)
_BEGIN = st.sampled_from(
    [AT, *(datetime(2026, 3, d, tzinfo=UTC) + timedelta(seconds=s) for d in (10, 11) for s in (-3, -0.01, 0, 2))]
)


@st.composite
def _calls_and_texts(draw: Any) -> Events:
    calls, texts = [], []
    for number in range(draw(st.integers(1, 8))):
        began, caller = draw(_BEGIN), draw(st.sampled_from(CALLERS))
        sid = draw(st.sampled_from([f"CA{number}", f"CA{number}", None, "undefined"]))
        owner = draw(st.sampled_from([BUSINESS_IDS[0], BUSINESS_IDS[0], BUSINESS_IDS[1], None]))
        common = {"call_sid": sid, "business_id": owner}
        spelled = draw(
            st.sampled_from([caller, caller, f"whatsapp:{caller}", f"{caller[:5]} {caller[5:8]}-{caller[8:]}"])
        )
        calls.append({**common, "ts": began, "event_type": "voice.missed", "from_number": spelled})
        if draw(st.booleans()):
            ringing = timedelta(seconds=draw(st.integers(-30, 5)))
            calls.append({**common, "ts": began + ringing, "event_type": "voice.inbound", "from_number": spelled})
        for _ in range(draw(st.integers(0, 3))):
            at = began + draw(_NEAR)
            message = {
                "message_sid": draw(st.sampled_from([f"SM{len(texts)}", f"SM{number}", ""])),
                "business_id": draw(st.sampled_from([owner, owner, BUSINESS_IDS[1], None])),
                "to_number": draw(st.sampled_from([caller, caller, spelled, CALLERS[0], ""])),
                "request_id": draw(st.sampled_from([sid, sid, None, "CA0", "CA1", "undefined"])),
                "status": draw(st.sampled_from(["delivered", "delivered", "queued", "failed", "undelivered"])),
            }
            texts.append({**message, "created_at": at})
            if draw(st.booleans()):
                later = {"created_at": at + timedelta(hours=draw(st.sampled_from([0, 1, 30, 70, 100])))}
                request = draw(st.sampled_from([message["request_id"], "twilio-report", "CA0"]))
                texts.append({**message, **later, "status": "delivered", "request_id": request})
    calls, texts = draw(st.permutations(calls)), draw(st.permutations(texts))
    return events(
        businesses=[business(1), business(2)],
        call_events=[call_event(n, **row) for n, row in enumerate(calls)],
        sms_events=[sms_event(n, **row) for n, row in enumerate(texts)],
    )


def test_replies_are_those_of_the_reference_in_any_order_of_rows_and_links(database: Database, tmp_path: Path) -> None:
    @settings(max_examples=1000 if SOAK else 25)
    @given(found=_calls_and_texts())
    def agrees(found: Events) -> None:
        _require_agreement(database, found, tmp_path)

    agrees()


def _state(database: Database, *texts: Row, **call: Any) -> str:
    columns = {"call_sid": "CA1", "from_number": CALLERS[0], "event_type": "voice.missed", **ONE, **call}
    given_texts = [
        sms_event(n, **{"message_sid": f"SM{n}", "status": "delivered", "to_number": CALLERS[0], **ONE, **row})
        for n, row in enumerate(texts)
    ]
    at = columns.pop("ts", AT)
    replace_events(
        database.engine,
        events(businesses=[business(1)], call_events=[call_event(1, at, **columns)], sms_events=given_texts),
    )
    roll_up_all(database.engine, DAYS, metrics={"missed_call_replies": METRICS["missed_call_replies"]}, as_of=AS_OF)
    (row,) = cells(database.engine, "missed_call_replies")
    states = ("replied_in_time_count", "replied_late_count", "unreplied_count", "reply_unknown_count")
    return next(state for state in states if row[state])


def test_a_text_that_was_written_just_before_its_call_answers_it(database: Database) -> None:
    ago = timedelta
    assert _state(database, {"created_at": AT - ago(milliseconds=10)}) == "replied_in_time_count"
    assert _state(database, {"created_at": AT - ago(seconds=5)}) == "replied_in_time_count"
    assert _state(database, {"created_at": AT - ago(seconds=6)}) == "unreplied_count"
    named = {"request_id": "CA1"}
    assert _state(database, {"created_at": AT - ago(hours=20), **named}) == "replied_in_time_count"
    assert _state(database, {"created_at": AT - ago(hours=25), **named}) == "unreplied_count"
    midnight = datetime(2026, 3, 10, tzinfo=UTC)
    assert _state(database, {"created_at": midnight - ago(seconds=1)}, ts=midnight) == "replied_in_time_count"
    spelled = {"created_at": AT + ago(minutes=1), "to_number": "whatsapp:+1 (555) 010-0001"}
    assert _state(database, spelled) == "replied_in_time_count"
    with database.engine.begin() as connection:
        told = explain_call(connection, "CA1", zone=ZONE, settle_days=4, now=AS_OF, reply_minutes=5)
    assert told.sentences[0].startswith("It counts as in time, 60 s after")


# Keys


def _many(count: int, days: int = 1, **columns: Any) -> list[Row]:
    """Return texts to as many recipients, each written twice."""
    rows = []
    for n in range(count):
        at = AT + timedelta(days=n % days, seconds=n)
        row = {"to_number": f"+1555{n:07}", "status": "sent", "request_id": f"req-{n}", **columns}
        rows += [sms_event(2 * n, at, **row), sms_event(2 * n + 1, at, **ONE, **row)]
    return rows


@pytest.mark.parametrize("sid", ["undefined", "null", "RATE_LIMITED", "SMmock", "SM" + "0" * 32])
def test_texts_under_a_constant_sid_are_counted_one_by_one(database: Database, tmp_path: Path, sid: str) -> None:
    found = events(businesses=[business(1)], sms_events=_many(40, message_sid=sid))
    _require_agreement(database, found, tmp_path)
    assert sum(row["message_count"] for row in cells(database.engine, "sms_outcomes")) == 40


@pytest.mark.parametrize("request_id", ["-owner", "undefined-owner", "null", "undefined"])
def test_failed_texts_under_a_constant_request_are_counted_one_by_one(database: Database, request_id: str) -> None:
    rows = [sms_event(n, AT, message_sid="", status="failed", request_id=request_id) for n in range(5)]
    replace_events(database.engine, events(sms_events=rows))
    roll_up_all(database.engine, DAYS, as_of=AS_OF)
    assert sum(row["message_count"] for row in cells(database.engine, "sms_outcomes")) == 5


def test_rows_beyond_what_a_message_or_call_can_have_are_counted_and_told(database: Database, tmp_path: Path) -> None:
    same = {"message_sid": "SMmock", "status": "sent", "request_id": "req"}
    other = {**same, "message_sid": "", "request_id": "other"}
    found = events(
        businesses=[business(1)],
        sms_events=[sms_event(n, AT + timedelta(seconds=n), **(same if n < 201 else other)) for n in range(402)],
        call_events=[
            *(call_event(n, AT, call_sid="CAmock", event_type="voice.missed") for n in range(201)),
            *(call_event(300 + n, AT, call_sid="CAfew", from_number=f"+1555010000{n}") for n in range(4)),
        ],
    )
    _require_agreement(database, found, tmp_path)
    results = roll_up_all(database.engine, DAYS, as_of=AS_OF)
    assert sum(row["message_count"] for row in cells(database.engine, "sms_outcomes")) == 402
    assert sum(row["calls_total"] for row in cells(database.engine, "call_volume")) == 205
    assert results["sms_outcomes"].repeated == Counter({DAY: 2})
    assert results["call_volume"].repeated == Counter({DAY: 2})
    values = [row["value"] for row in database.rows(repeated_keys("sms_events", [DAY], ZONE))]
    assert sorted(values) == ["SMmock", "other"]


def test_what_a_message_can_have_stays_one_message(database: Database, tmp_path: Path) -> None:
    rows = [sms_event(n, AT, message_sid="SM1", to_number=f"+1555010000{n % 3}", status="sent") for n in range(200)]
    _require_agreement(database, events(sms_events=rows), tmp_path)
    assert sum(row["message_count"] for row in cells(database.engine, "sms_outcomes")) == 1


def test_a_constant_sid_beside_ordinary_texts_agrees_with_the_reference(database: Database, tmp_path: Path) -> None:
    row = st.fixed_dictionaries(
        {
            "message_sid": st.sampled_from(["SMmock", "SMmock", "SMmock", "SM1", "", "undefined"]),
            "to_number": st.integers(0, 9).map(lambda n: f"+1555010000{n}"),
            "request_id": st.sampled_from(["req-1", "req-2", None, "twilio-report", "-owner", "CA1"]),
            "status": st.sampled_from(["queued", "delivered", "failed"]),
            "error_code": st.sampled_from([None, "30007", "unknown", "Error 30034", "abc"]),
            "created_at": st.integers(-6 * 24, 6 * 24).map(lambda hours: AT + timedelta(hours=hours)),
        }
    )
    call = st.fixed_dictionaries(
        {
            "call_sid": st.sampled_from(["CAmock", "CAmock", "CA1", None]),
            "from_number": st.integers(0, 9).map(lambda n: f"+1555010000{n}"),
            "event_type": st.sampled_from(["voice.missed", "voice.inbound"]),
            "ts": st.integers(-3 * 24, 3 * 24).map(lambda hours: AT + timedelta(hours=hours)),
        }
    )

    @settings(max_examples=300 if SOAK else 10)
    @given(rows=st.lists(row, min_size=20, max_size=60), calls=st.lists(call, max_size=25))
    def agrees(rows: list[Row], calls: list[Row]) -> None:
        found = events(
            businesses=[business(1)],
            sms_events=[sms_event(n, **{**r, **ONE}) for n, r in enumerate(rows)],
            call_events=[call_event(n, **{**c, **ONE}) for n, c in enumerate(calls)],
            owner_alerts=[owner_alert(1, AT, message_sid="SMmock")],
        )
        _require_agreement(database, found, tmp_path, DAYS.widen(4))

    agrees()


@pytest.mark.parametrize("metric", ["sms_outcomes", "missed_call_replies"])
def test_a_key_that_repeats_on_every_day_meets_no_row_of_its_own_twice(database: Database, metric: str) -> None:
    """What grows with the square of the rows shows as rows that a join removes or returns."""
    texts = [sms_event(n, AT + timedelta(minutes=n), message_sid="SMmock", status="sent") for n in range(6000)]
    calls = [
        call_event(n, AT + timedelta(minutes=n), event_type="voice.missed", from_number="+15550100001", **ONE)
        for n in range(3000)
    ]
    replace_events(database.engine, events(businesses=[business(1)], sms_events=texts, call_events=calls))
    days = DayRange(DAY, DAY + timedelta(days=5))
    with database.engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = '60s'"))
        connection.execute(text("SET LOCAL enable_nestloop = off"))
        from smarttext_pipelines.engines import PostgresEngine

        window = Window(days, ZONE, 4, AS_OF)
        engine = PostgresEngine(connection, Parameters(window))
        repeated = METRICS[metric].repeated
        assert repeated is not None
        add_repeated_keys(engine, [repeated(engine.tables, window)])
        statement = engine.sql(METRICS[metric].rows(engine.tables, window))
        plan = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", execution_options={"no_parameters": True}
        ).scalar()
    assert plan is not None
    assert max(_rows_met(plan[0]["Plan"])) < 40 * 9000


def _rows_met(node: Any) -> list[float]:
    names = ("Rows Removed by Join Filter", "Actual Rows")
    own = [node.get(name, 0) * node.get("Actual Loops", 1) for name in names]
    return [*own, *(met for child in node.get("Plans", []) for met in _rows_met(child))]


# Codes, costs, times


@pytest.mark.parametrize(
    ("codes", "counted"),
    [
        (["30007", "unknown"], "failed_filtered"),
        (["Error 30034", "null"], "failed_registration"),
        (["zzz", "30007"], "failed_filtered"),
        (["N/A", "none"], "failed_unmapped"),
        (["code=21610;retry", ""], "failed_opted_out"),
        (["+15550100001", "error"], "failed_unmapped"),
    ],
)
def test_a_number_in_a_code_goes_before_words(database: Database, codes: list[str], counted: str) -> None:
    rows = [sms_event(n, AT, message_sid="SM1", status="failed", error_code=code) for n, code in enumerate(codes)]
    found = events(sms_events=rows)
    replace_events(database.engine, found)
    roll_up_all(database.engine, DAYS, as_of=AS_OF)
    (row,) = cells(database.engine, "sms_failure_rates")
    assert row[counted] == row["failed"] == 1
    assert reference.sms_failure_rates(found, DAY, zone=ZONE)[None] == row
    view = database.rows("SELECT failure_class FROM monitoring.message_rows")
    assert counted.removeprefix("failed_") in {seen["failure_class"] for seen in view}


@pytest.mark.parametrize("cost", ["-Infinity", "Infinity", "NaN", "-1e40", "1e40"])
def test_an_impossible_cost_counts_as_nothing_and_stops_no_day(database: Database, cost: str) -> None:
    rows = [api_call(1, AT, cost_estimate=Decimal("0.25"), tokens_used=5), api_call(2, AT, cost_estimate=Decimal(cost))]
    credit = api_call(3, AT, cost_estimate=Decimal("-0.05"))
    replace_events(database.engine, events(api_usage=[*rows, credit]))
    roll_up_all(database.engine, DAYS, as_of=AS_OF)
    (row,) = cells(database.engine, "daily_stats")
    assert row["openai_cost_estimate"] == Decimal("0.20")
    used = database.rows("SELECT monitoring.usage_usd(%s::numeric) AS usd", cost)
    assert used == [{"usd": 0}]


@pytest.mark.parametrize(
    "at", ["0001-01-01", "1970-01-01", "1999-12-31 23:59:59", "2101-01-01", "9999-12-31", "infinity"]
)
def test_a_time_that_no_day_can_hold_is_undated_and_opens_no_partition(database: Database, at: str) -> None:
    replace_events(database.engine, events(businesses=[business(1)], sms_events=[sms_event(1, AT, message_sid="SM1")]))
    for table, column in (("sms_events", "created_at"), ("call_events", "ts"), ("owner_alerts", "created_at")):
        values = {
            "sms_events": "(from_number, to_number, status, created_at) VALUES ('', '', 'sent', ",
            "call_events": "(event_type, ts) VALUES ('voice.missed', ",
            "owner_alerts": "(business_id, owner_phone, customer_phone, alert_type, message_content, created_at) "
            f"VALUES ('{BUSINESS_IDS[0]}', '', '', 'x', '', ",
        }[table]
        database.run(
            f"INSERT INTO public.{table} {values} '{at}+00')"
            if at != "infinity"
            else f"INSERT INTO public.{table} {values} '{at}')"
        )
        assert column
    database.run(
        "INSERT INTO public.api_usage (service, endpoint, created_at, reset_date)"
        f" VALUES ('openai', 'chat', '{at}', NULL), ('openai', 'chat', now(), '{at}')"
    )
    with database.engine.connect() as connection:
        tables = ("sms_events", "call_events", "owner_alerts", "api_usage")
        assert [undated_rows(connection, table, ZONE) for table in tables] == [1, 1, 1, 2]
        span = event_span(connection, ZONE)
    assert span is not None
    assert span.first == DAY
    assert span.last in (DAY, datetime.now(UTC).date())
    assert isinstance(span, EventSpan)
    shown = database.rows(f"SELECT id {undated_rows_from('sms_events', ZONE)}")
    assert len(shown) == 1
