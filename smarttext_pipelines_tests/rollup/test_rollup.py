"""The protocol of a rollup: reruns, two at once, lost events, contradictions."""

import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import ibis
import pytest
from sqlalchemy import text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import AgreementError, SettingsError
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.metrics.metric import Window
from smarttext_pipelines.metrics.windowed import Tables
from smarttext_pipelines.rollup import roll_up
from smarttext_pipelines.rollup.day_locks import MAX_DAY_LOCKS, locked
from smarttext_pipelines.rollup.drift import changed_days
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, insert_events, replace_events, roll_up_all

DAY = date(2026, 3, 15)
UTC_ZONE = ZoneInfo("UTC")
AROUND = DayRange(DAY, DAY).widen(5)
OPTIONS: dict[str, Any] = {"zone": UTC_ZONE, "settle_days": 4}


def _noon(day: date = DAY, minutes: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(minutes=minutes)


def _text(number: int, at: datetime, **columns: Any) -> dict[str, Any]:
    return strategies.sms_event(number, at, message_sid=f"SM{number}", status="delivered", **columns)


def _whole(database: Database) -> dict[str, list[Any]]:
    with database.engine.connect() as connection:
        tables = {name: table_named(name) for name in METRICS}
        return {
            name: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {t.schema}.{t.name} ORDER BY id"))]
            for name, t in tables.items()
        }


@pytest.fixture
def loaded(database: Database) -> Database:
    replace_events(database.engine, strategies.every_peculiarity(UTC_ZONE, DAY))
    return database


def test_a_rerun_changes_nothing_not_even_updated_at(loaded: Database) -> None:
    roll_up_all(loaded.engine, AROUND)
    before = _whole(loaded)
    again = roll_up_all(loaded.engine, AROUND)
    assert _whole(loaded) == before
    assert sum(day.rows_changed for result in again.values() for day in result.days.values()) == 0


def test_two_rollups_of_overlapping_ranges_at_once_leave_the_same_rows(loaded: Database) -> None:
    roll_up_all(loaded.engine, AROUND)
    expected = {name: cells(loaded.engine, name) for name in METRICS}
    replace_events(loaded.engine, strategies.every_peculiarity(UTC_ZONE, DAY))
    ranges = [AROUND, DayRange(DAY, AROUND.last), DayRange(AROUND.first, DAY), DayRange(DAY, DAY)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(roll_up_all, loaded.engine, days) for days in (*ranges, *ranges)]:
            done.result()
    assert {name: cells(loaded.engine, name) for name in METRICS} == expected


def test_a_day_whose_events_were_deleted_keeps_its_numbers(loaded: Database) -> None:
    roll_up_all(loaded.engine, AROUND)
    before = _whole(loaded)
    for table in ("sms_events", "call_events", "api_usage", "owner_alerts"):
        loaded.run(f"DELETE FROM public.{table}")
    results = roll_up_all(loaded.engine, AROUND)
    assert _whole(loaded) == before
    assert results["sms_outcomes"].days[DAY].is_kept


def test_a_day_that_lost_one_row_keeps_its_numbers_and_the_others_are_written(database: Database) -> None:
    texts = [_text(1, _noon()), _text(2, _noon(minutes=1)), _text(3, _noon(DAY + timedelta(days=9)))]
    replace_events(database.engine, {"sms_events": texts})
    days = DayRange(DAY, DAY + timedelta(days=9))
    roll_up_all(database.engine, days)
    database.run("DELETE FROM public.sms_events WHERE message_sid = 'SM2'")
    with database.engine.begin() as connection:
        insert_events(connection, {"sms_events": [_text(4, _noon(days.last, 5))]})
    result = roll_up_all(database.engine, days)["sms_outcomes"]
    sent = {row["date"]: row["messages_sent"] for row in cells(database.engine, "daily_stats")}
    assert sent == {DAY: 2, days.last: 2}
    assert result.kept == [DAY + timedelta(days=n) for n in range(5)]


def test_a_day_is_not_recomputed_from_neighbours_that_lost_rows(database: Database) -> None:
    late = strategies.sms_event(9, _noon(DAY + timedelta(days=1)), message_sid="SM1", status="delivered")
    replace_events(database.engine, {"sms_events": [strategies.sms_event(1, _noon(), message_sid="SM1"), late]})
    days = DayRange(DAY, DAY + timedelta(days=1))
    roll_up_all(database.engine, days)
    before = _whole(database)
    database.run("DELETE FROM public.sms_events WHERE status = 'queued'")
    roll_up_all(database.engine, days)
    assert _whole(database) == before, "the report of the deleted message became an attempt of its own day"


def test_one_row_deleted_yesterday_does_not_freeze_the_day_that_goes_on(database: Database) -> None:
    next_day = DAY + timedelta(days=1)
    days = DayRange(DAY, next_day)
    texts = [_text(1, _noon()), _text(2, _noon(minutes=1)), _text(3, _noon(next_day))]
    replace_events(database.engine, {"sms_events": texts})
    roll_up_all(database.engine, days, as_of=_noon(next_day, 1))
    database.run("DELETE FROM public.sms_events WHERE message_sid = 'SM2'")
    with database.engine.begin() as connection:
        insert_events(connection, {"sms_events": [_text(4, _noon(next_day, 2))]})
    roll_up_all(database.engine, days, as_of=_noon(next_day, 3))
    sent = {row["date"]: (row["messages_sent"], row["data_through"]) for row in cells(database.engine, "daily_stats")}
    assert sent == {DAY: (2, _noon(next_day).replace(hour=0)), next_day: (2, _noon(next_day, 3))}


def test_stats_say_when_their_facts_were_read_and_not_when_they_were_added_up(database: Database) -> None:
    replace_events(database.engine, {"sms_events": [_text(1, _noon())]})
    days = DayRange(DAY, DAY)
    roll_up_all(database.engine, days, as_of=_noon(minutes=5))
    roll_up(database.engine, METRICS["daily_stats"], days, as_of=_noon(minutes=500), **OPTIONS)
    (row,) = cells(database.engine, "daily_stats")
    assert (row["data_through"], row["is_final"]) == (_noon(minutes=5), False)


def test_stats_are_not_written_while_a_fact_is_not_computed(database: Database) -> None:
    replace_events(database.engine, {"sms_events": [_text(1, _noon())]})
    days = DayRange(DAY, DAY)
    for name in ("sms_outcomes", "spend", "call_volume"):
        roll_up(database.engine, METRICS[name], days, **OPTIONS)
    assert roll_up(database.engine, METRICS["daily_stats"], days, **OPTIONS).kept == [DAY]
    assert cells(database.engine, "daily_stats") == []


def test_alerts_that_were_deleted_do_not_change_whose_a_text_was(database: Database) -> None:
    business = strategies.business(1)
    alert = strategies.owner_alert(1, _noon(), message_sid="SM1", business_id=business["id"])
    events = {"businesses": [business], "sms_events": [_text(1, _noon())], "owner_alerts": [alert]}
    replace_events(database.engine, events)
    roll_up_all(database.engine, DayRange(DAY, DAY))
    database.run("DELETE FROM public.owner_alerts")
    roll_up_all(database.engine, DayRange(DAY, DAY))
    (row,) = cells(database.engine, "sms_outcomes")
    assert (row["audience"], row["business_id"]) == ("owner", business["id"])


def test_a_rollup_in_another_zone_than_the_databases_is_refused(database: Database) -> None:
    with pytest.raises(SettingsError, match="reports in UTC"):
        roll_up(database.engine, METRICS["spend"], DayRange(DAY, DAY), zone=ZoneInfo("Asia/Kolkata"), settle_days=4)


def test_a_row_of_another_day_is_rolled_back(loaded: Database) -> None:
    metric = METRICS["call_volume"]

    def stray(tables: Tables, window: Window) -> Any:
        right = metric.rows(tables, window).usual
        return right.mutate(day=ibis.literal(DAY - timedelta(days=99), type="date"))

    with pytest.raises(AgreementError, match="outside"):
        roll_up(loaded.engine, replace(metric, rows=stray), DayRange(DAY, DAY), **OPTIONS)


def test_allow_empty_writes_what_is_there(loaded: Database) -> None:
    roll_up_all(loaded.engine, AROUND)
    loaded.run("DELETE FROM public.sms_events")
    roll_up_all(loaded.engine, AROUND, allow_empty=True)
    assert cells(loaded.engine, "sms_outcomes") == []
    assert {row["messages_sent"] for row in cells(loaded.engine, "daily_stats")} == {0}


def test_rows_that_vanish_from_a_day_that_is_whole_are_deleted(database: Database) -> None:
    replace_events(database.engine, {"sms_events": [_text(1, _noon(), from_number="+15550000001")]})
    roll_up_all(database.engine, DayRange(DAY, DAY))
    database.run("UPDATE public.sms_events SET from_number = '+15550000002'")
    changed = roll_up_all(database.engine, DayRange(DAY, DAY))["sms_outcomes"].days[DAY]
    assert [row["sender"] for row in cells(database.engine, "sms_outcomes")] == ["+15550000002"]
    assert changed.rows_changed == 2


def test_a_result_that_contradicts_its_sources_is_rolled_back(loaded: Database) -> None:
    metric = METRICS["sms_outcomes"]

    def wrong(tables: Tables, window: Window) -> Any:
        right = metric.rows(tables, window).usual
        return right.mutate(message_count=right.message_count + 1)

    roll_up_all(loaded.engine, AROUND)
    before = _whole(loaded)
    with pytest.raises(AgreementError, match="nothing was written"):
        roll_up(loaded.engine, replace(metric, rows=wrong), AROUND, **OPTIONS)
    assert _whole(loaded) == before


def test_two_rows_of_one_key_are_rolled_back(loaded: Database) -> None:
    metric = METRICS["call_volume"]

    def doubled(tables: Tables, window: Window) -> Any:
        right = metric.rows(tables, window).usual
        return right.union(right)

    with pytest.raises(AgreementError, match="repeat the dimensions"):
        roll_up(loaded.engine, replace(metric, rows=doubled), AROUND, **OPTIONS)
    assert cells(loaded.engine, "call_volume") == []


def test_today_is_partial_and_says_through_when(database: Database) -> None:
    replace_events(database.engine, {"sms_events": [_text(1, _noon())]})
    roll_up_all(database.engine, DayRange(DAY, DAY), as_of=_noon(minutes=30))
    (row,) = cells(database.engine, "daily_stats")
    assert (row["data_through"], row["is_final"]) == (_noon(minutes=30), False)


def test_a_long_range_and_a_short_one_exclude_each_other(database: Database) -> None:
    long = DayRange(DAY, DAY + timedelta(days=MAX_DAY_LOCKS))
    free = text("SELECT pg_try_advisory_lock(hashtextextended('smarttext:spend', 0))")
    with locked(database.engine, "spend", DayRange(DAY, DAY)), database.engine.connect() as other:
        assert not other.scalar(free)
    with locked(database.engine, "spend", long) as holder, database.engine.connect() as other:
        assert holder.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")) == 1
        assert not other.scalar(text("SELECT pg_try_advisory_lock_shared(hashtextextended('smarttext:spend', 0))"))


def _sleep(database: Database) -> None:
    with locked(database.engine, "spend", DayRange(DAY, DAY)) as connection:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        connection.execute(text("SELECT pg_sleep(600)"))


def test_an_interrupted_rollup_stops_its_statement(database: Database) -> None:
    class Interruption(BaseException):
        pass

    def interrupt(_number: int, _frame: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interruption):
            _sleep(database)
    finally:
        signal.signal(signal.SIGALRM, before)
    with locked(database.engine, "spend", DayRange(DAY, DAY)) as connection:
        running = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'")
        assert connection.scalar(running) == 0


def test_changed_days_are_those_with_rows_that_were_not_read(loaded: Database) -> None:
    roll_up_all(loaded.engine, AROUND)
    with loaded.engine.begin() as connection:
        assert changed_days(connection, AROUND, UTC_ZONE) == []
    with loaded.engine.begin() as connection:
        insert_events(connection, {"sms_events": [_text(77, _noon(AROUND.first))]})
        (changed,) = changed_days(connection, AROUND, UTC_ZONE)
    assert (changed.day, changed.source, changed.rows, changed.recorded) == (AROUND.first, "sms_events", 1, 0)
    assert str(changed) == "sms_events has 1 rows, 0 were read"


def test_texts_are_compared_by_bytes_whatever_the_collation(database: Database) -> None:
    sql = roll_up(database.engine, METRICS["sms_outcomes"], DayRange(DAY, DAY), **OPTIONS).sql
    assert sql.count('COLLATE "C"') >= 5
    assert "BYTE_ORDER" not in sql.upper()


def test_no_number_of_a_person_stands_in_a_statement(loaded: Database) -> None:
    for result in roll_up_all(loaded.engine, AROUND, shared_senders=[strategies.SHARED_NUMBER]).values():
        assert strategies.SHARED_NUMBER not in result.sql


def test_a_statement_reads_no_more_than_its_window(database: Database) -> None:
    sql = roll_up(database.engine, METRICS["sms_outcomes"], DayRange(DAY, DAY), **OPTIONS).sql
    assert "AS NOT MATERIALIZED" in sql


def test_whoever_waits_for_a_lock_says_for_what_and_who_holds_it(
    loaded: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("smarttext_pipelines.rollup.day_locks.SILENT_S", 0.05)
    said = threading.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.set()

    def wait() -> None:
        with locked(loaded.engine, "spend", DayRange(DAY, DAY)):
            pass

    log, handler = logging.getLogger("smarttext_pipelines.rollup"), Told()
    log.addHandler(handler)
    with locked(loaded.engine, "spend", DayRange(DAY, DAY)) as holder:
        pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert said.wait(20)
    waiting.join(20)
    log.removeHandler(handler)
    assert f"waiting for the lock of spend:{DAY}, held by process {pid} (" in caplog.text
    assert not waiting.is_alive()
