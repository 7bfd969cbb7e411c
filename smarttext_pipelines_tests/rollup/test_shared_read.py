"""Facts that are read together are those that are read one by one, whatever happens between two of them."""

import signal
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import AgreementError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.metrics import METRICS, Metric
from smarttext_pipelines.rollup import RolledUp, SharedRead, roll_up
from smarttext_pipelines.rollup.drift import changed_days
from smarttext_pipelines.rollup.shared_read import FACTS
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import SOAK, Database, Server, fresh_database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, cells, insert_events, replace_events, roll_up_all

UTC_ZONE = ZoneInfo("UTC")
DAY = date(2026, 3, 8)
"""23 hours long in New York."""

ONE, RANGE = DayRange(DAY, DAY), DayRange(DAY, DAY).widen(2)
NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)
AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)
_EVENTS = st.one_of(
    *(st.tuples(st.just(zone), strategies.event_sets(ZoneInfo(zone), DAY)) for zone in ("UTC", "America/New_York"))
)


def _keys_of_nothing() -> strategies.Events:
    """Sids that texts and calls of two days share, each with more numbers than one message or call can have."""
    texts, calls = [], []
    for number in range(10):
        at, to = NOON - timedelta(days=number // 5), f"+1555010{number:04}"
        texts.append(strategies.sms_event(number, at, message_sid="SM", to_number=to, status="sent"))
        calls.append(strategies.call_event(number, at, call_sid="CA", from_number=to, event_type="voice.missed"))
    return strategies.events(businesses=[strategies.business(1)], sms_events=texts, call_events=calls)


@pytest.fixture(scope="module")
def compared(server: Server, template: str) -> Iterator[Database]:
    with fresh_database(server, template) as database:
        yield database


@pytest.fixture
def loaded(database: Database) -> Database:
    replace_events(database.engine, strategies.every_peculiarity(UTC_ZONE, DAY))
    return database


def _roll_up(database: Database, metric: str | Metric, shared: SharedRead | None, days: DayRange = ONE) -> RolledUp:
    found = METRICS[metric] if isinstance(metric, str) else metric
    options: dict[str, Any] = {"zone": UTC_ZONE, "settle_days": 4, "customer_secret": CUSTOMER_SECRET}
    return roll_up(database.engine, found, days, shared_senders=strategies.SHARED_SENDERS, shared=shared, **options)


def _all(database: Database) -> dict[str, list[dict[str, Any]]]:
    return {name: cells(database.engine, name) for name in METRICS}


def _alone(database: Database, days: DayRange = ONE) -> dict[str, list[dict[str, Any]]]:
    for name in METRICS:
        _roll_up(database, name, None, days)
    return _without_reading_times(_all(database))


def _without_reading_times(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [{k: v for k, v in row.items() if k != "data_through"} for row in rows] for name, rows in found.items()
    }


def test_facts_that_are_read_together_are_those_that_are_read_one_by_one(compared: Database) -> None:
    @settings(max_examples=200 if SOAK else 4)
    @given(drawn=_EVENTS)
    @example(drawn=("UTC", strategies.every_peculiarity(UTC_ZONE, DAY)))
    @example(drawn=("America/New_York", strategies.every_peculiarity(ZoneInfo("America/New_York"), DAY)))
    @example(drawn=("UTC", _keys_of_nothing()))
    def agrees(drawn: Any) -> None:
        zone, found = drawn
        for days in (ONE, RANGE):
            options = {"zone": zone, "as_of": AS_OF, "shared_senders": strategies.SHARED_SENDERS}
            told = []
            for shared in (None, SharedRead()):
                replace_events(compared.engine, found)
                results = roll_up_all(compared.engine, days, shared=shared, **options)
                counted = {n: (r.repeated, {d: x.events_read for d, x in r.days.items()}) for n, r in results.items()}
                told.append((_all(compared), counted))
            assert told[0] == told[1], (zone, days)

    agrees()


def test_the_facts_of_a_run_are_those_of_one_moment_and_a_later_row_asks_for_the_day_again(loaded: Database) -> None:
    expected = _alone(loaded)
    with SharedRead() as shared:
        for name in METRICS:
            _roll_up(loaded, name, shared)
            with loaded.engine.begin() as connection:
                number = 700 + list(METRICS).index(name)
                late: Any = {
                    "sms_events": [strategies.sms_event(number, NOON, message_sid=f"SM{number}")],
                    "call_events": [strategies.call_event(number, NOON, call_sid=f"CA{number}")],
                    "api_usage": [strategies.api_call(number, NOON)],
                }
                insert_events(connection, late)
            assert len(loaded.rows(SESSIONS)) == (name in FACTS and name != FACTS[-1]), "ended after the last fact"
    assert _without_reading_times(_all(loaded)) == expected
    with connected(loaded.engine) as connection:
        asked = {(each.day, each.source) for each in changed_days(connection, ONE, UTC_ZONE)}
    assert asked == {(DAY, name) for name in ("sms_events", "call_events", "api_usage")}


def test_no_number_is_older_than_what_another_rollup_has_written_meanwhile(
    loaded: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with SharedRead() as shared, caplog.at_level("INFO", "smarttext_pipelines.rollup"):
        _roll_up(loaded, "sms_outcomes", shared)
        with loaded.engine.begin() as connection:
            insert_events(connection, {"call_events": [strategies.call_event(700, NOON, call_sid="CA700")]})
        newer = _roll_up(loaded, "call_volume", None)
        result = _roll_up(loaded, "call_volume", shared)
        assert result.as_of > newer.as_of, "computed alone, in a snapshot of its own"
        assert result.days[DAY].rows_changed == 0
        assert loaded.rows(SESSIONS) == []
        assert "was written by another rollup" in caplog.text
        for name in METRICS:
            _roll_up(loaded, name, shared)
    found = _without_reading_times(_all(loaded))
    assert found == _alone(loaded)


def test_a_fact_that_fails_ends_the_reading_and_the_others_are_right(loaded: Database) -> None:
    expected = _alone(loaded)
    loaded.run("UPDATE monitoring.rollup_days SET rolled_up_at = NULL")
    volume = METRICS["call_volume"]

    def broken(tables: Any, window: Any) -> Any:
        found = volume.rows(tables, window)
        return found.usual.mutate(calls_total=found.usual.calls_total + 1)  # type: ignore[union-attr]

    wrong = Metric(**{**vars(volume), "rows": broken})
    with SharedRead() as shared:
        _roll_up(loaded, "sms_outcomes", shared)
        with pytest.raises(AgreementError, match="nothing was written"):
            _roll_up(loaded, wrong, shared)
        assert loaded.rows(SESSIONS) == []
        for name in METRICS:
            _roll_up(loaded, name, shared)
    assert _without_reading_times(_all(loaded)) == expected


def test_a_session_that_is_killed_between_two_facts_costs_time_and_no_number(loaded: Database) -> None:
    expected = _alone(loaded)
    with SharedRead() as shared:
        for name in METRICS:
            _roll_up(loaded, name, shared)
            if name == "spend":
                assert len(loaded.rows(SESSIONS)) == 1, "the session that reads"
                loaded.rows(f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS}) AS s")
    assert _without_reading_times(_all(loaded)) == expected
    assert loaded.rows(SESSIONS) == []


def test_an_interrupt_ends_the_statement_of_the_session_that_reads(loaded: Database) -> None:
    class Interruption(BaseException):
        pass

    def interrupt(_number: int, _frame: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with SharedRead() as shared, loaded.server.connect(loaded.name) as other, other.transaction():
            _roll_up(loaded, "spend", shared)
            other.execute("LOCK public.businesses")
            signal.setitimer(signal.ITIMER_REAL, 1)
            with pytest.raises(Interruption):
                _roll_up(loaded, "call_volume", shared)
            # Granted when both have ended: what has read the calls, and what waited for the businesses.
            other.execute("SET lock_timeout = '10s'")
            other.execute("LOCK public.call_events, monitoring.call_volume")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_one_fact_alone_and_a_long_range_share_nothing(loaded: Database) -> None:
    with SharedRead(["sms_outcomes"]) as shared:
        assert "CREATE TEMPORARY TABLE" not in _roll_up(loaded, "sms_outcomes", shared).sql
        assert loaded.rows(SESSIONS) == []
    with SharedRead() as shared:
        _roll_up(loaded, "spend", shared, DayRange(date(2026, 3, 1), date(2026, 4, 2)))
        assert loaded.rows(SESSIONS) == []
        _roll_up(loaded, "spend", shared)
        assert len(loaded.rows(SESSIONS)) == 1
    assert loaded.rows(SESSIONS) == []


def test_a_run_leaves_no_session_and_all_its_facts_were_read_at_once(loaded: Database) -> None:
    job = build_definitions(loaded.settings()).resolve_job_def("rollup_job")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, tags=range_tags(ONE), raise_on_error=False).success
    assert loaded.rows(SESSIONS) == []
    names = [METRICS[name].recorded_as for name in FACTS]
    read = loaded.rows("SELECT DISTINCT rolled_up_at FROM monitoring.rollup_days WHERE table_name = ANY (%s)", names)
    assert len(read) == 1
