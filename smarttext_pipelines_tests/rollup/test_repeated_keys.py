"""Values that stand where a key belongs and identify nothing."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import Parameters, PostgresEngine, add_repeated_keys
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.rollup.concerned import repeated_keys
from smarttext_pipelines_tests.agreement import AS_OF, AT, DAY, DAYS, ZONE, require_agreement
from smarttext_pipelines_tests.conftest import SOAK, Database, soak_cases
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    Row,
    business,
    call_event,
    events,
    owner_alert,
    sms_event,
)

ONE = {"business_id": BUSINESS_IDS[0]}


def _many(count: int, days: int = 1, first: int = 0, **columns: Any) -> list[Row]:
    """Return texts to as many recipients, each written twice."""
    rows = []
    for n in range(first, first + count):
        at = AT + timedelta(days=n % days, seconds=n)
        row = {"to_number": f"+1555{n:07}", "status": "sent", "request_id": f"req-{n}", **columns}
        rows += [sms_event(2 * n, at, **row), sms_event(2 * n + 1, at, **ONE, **row)]
    return rows


SIDS = ["undefined", "null", "RATE_LIMITED", "SMmock", "SM" + "0" * 32]


@pytest.mark.parametrize("sids", soak_cases([SIDS[n : n + 1] for n in range(5)] + [SIDS], short=[SIDS]), ids=" ".join)
def test_texts_under_a_constant_sid_are_counted_one_by_one(database: Database, tmp_path: Path, sids: list[str]) -> None:
    rows = [row for n, sid in enumerate(sids) for row in _many(40, first=40 * n, message_sid=sid)]
    require_agreement(database, events(businesses=[business(1)], sms_events=rows), tmp_path)
    assert sum(row["message_count"] for row in cells(database.engine, "sms_outcomes")) == 40 * len(sids)


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
    require_agreement(database, found, tmp_path)
    results = roll_up_all(database.engine, DAYS, as_of=AS_OF)
    assert sum(row["message_count"] for row in cells(database.engine, "sms_outcomes")) == 402
    assert sum(row["calls_total"] for row in cells(database.engine, "call_volume")) == 205
    assert results["sms_outcomes"].repeated == Counter({DAY: 2})
    assert results["call_volume"].repeated == Counter({DAY: 2})
    values = [row["value"] for row in database.rows(repeated_keys("sms_events", [DAY], ZONE))]
    assert sorted(values) == ["SMmock", "other"]


def test_what_a_message_can_have_stays_one_message(database: Database, tmp_path: Path) -> None:
    rows = [sms_event(n, AT, message_sid="SM1", to_number=f"+1555010000{n % 3}", status="sent") for n in range(200)]
    require_agreement(database, events(sms_events=rows), tmp_path)
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

    @settings(max_examples=300 if SOAK else 4)
    @given(rows=st.lists(row, min_size=20, max_size=60), calls=st.lists(call, max_size=25))
    def agrees(rows: list[Row], calls: list[Row]) -> None:
        found = events(
            businesses=[business(1)],
            sms_events=[sms_event(n, **{**r, **ONE}) for n, r in enumerate(rows)],
            call_events=[call_event(n, **{**c, **ONE}) for n, c in enumerate(calls)],
            owner_alerts=[owner_alert(1, AT, message_sid="SMmock")],
        )
        require_agreement(database, found, tmp_path, DAYS.widen(1))

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
        window = Window(days, ZONE, 4, AS_OF)
        engine = PostgresEngine(connection, Parameters(window))
        repeated = METRICS[metric].repeated
        assert repeated is not None
        add_repeated_keys(engine, [repeated(engine.tables, window)])
        statement = engine.sql(METRICS[metric].rows(engine.tables, window))
        explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        plan = connection.exec_driver_sql(explained, execution_options={"no_parameters": True}).scalar()
    assert plan is not None
    assert max(_rows_met(plan[0]["Plan"])) < 40 * 9000


def _rows_met(node: Any) -> list[float]:
    names = ("Rows Removed by Join Filter", "Actual Rows")
    own = [node.get(name, 0) * node.get("Actual Loops", 1) for name in names]
    return [*own, *(met for child in node.get("Plans", []) for met in _rows_met(child))]
