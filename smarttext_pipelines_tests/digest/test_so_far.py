"""A day that is not over is compared with the same hours of equal weekdays, read by index in one statement."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.digest.enqueue import read_digest
from smarttext_pipelines.digest.so_far import SoFar, read_so_far
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, business, call_event, events, sms_event

DAY = date(2026, 3, 16)
ZONE = ZoneInfo("America/New_York")
BEFORE = [DAY - timedelta(weeks=n) for n in range(1, 5)]
NOON = datetime.combine(DAY, time(12), ZONE).astimezone(UTC)


def _at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), ZONE).astimezone(UTC)


@pytest.fixture(scope="module")
def mondays(server: Server, template: str) -> Iterator[Database]:
    """Give five Mondays, one before the clocks change; the last has events until ten only, the others all day."""
    calls, texts = [], []
    for week, day in enumerate([DAY, *BEFORE]):
        for hour in (8, 9) if day == DAY else (8, 9, 10, 11, 12, 13):
            for n in range(12):
                number = 1000 * week + 20 * hour + n
                calls.append(call_event(number, _at(day, hour, n), call_sid=f"CA{number}", business_id=BUSINESS_IDS[0]))
        texts.append(sms_event(week + 1, _at(day, 8, 30), message_sid=f"SM{week}", status="delivered"))
    with fresh_database(server, template) as database:
        replace_events(database.engine, events(businesses=[business(1)], call_events=calls, sms_events=texts))
        yield database


def _read(database: Database, now: datetime) -> SoFar | None:
    with database.engine.connect() as connection:
        return read_so_far(connection, DAY, BEFORE, ZONE, now)


def test_the_other_days_are_counted_up_to_the_same_time_of_the_clock(mondays: Database) -> None:
    found = _read(mondays, NOON)
    assert found == SoFar(time(12), {8: 13, 9: 12}, [{8: 13, 9: 12, 10: 12, 11: 12}] * 4)
    assert found.silent_from == 10
    early = _read(mondays, _at(DAY, 9, 6))
    assert early == SoFar(time(9, 6), {8: 13, 9: 6}, [{8: 13, 9: 6}] * 4)
    assert early.silent_from is None


def test_a_day_whose_rows_are_in_files_is_not_compared_with(mondays: Database) -> None:
    mondays.run(
        "INSERT INTO monitoring.archive_segments (id, table_name, day, seq, state, object_key) "
        "VALUES (gen_random_uuid(), 'call_events', %s, 1, 'deleted', 'a file')", BEFORE[3],
    )  # fmt: skip
    found = _read(mondays, NOON)
    mondays.run("DELETE FROM monitoring.archive_segments")
    assert found
    assert len(found.others) == 3


def test_a_role_that_may_not_count_events_compares_with_nothing(mondays: Database) -> None:
    with mondays.engine.connect() as connection:
        connection.exec_driver_sql("CREATE ROLE counts_nothing")
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA monitoring TO counts_nothing")
        connection.exec_driver_sql("SET LOCAL ROLE counts_nothing")
        assert read_so_far(connection, DAY, BEFORE, ZONE, NOON) is None
        connection.rollback()


def test_the_hours_are_one_statement_that_reads_by_the_index_of_times(mondays: Database) -> None:
    told: list[tuple[str, object]] = []

    def hear(_: object, __: object, statement: str, values: object, *___: object) -> None:
        told.append((statement, values))

    event.listen(mondays.engine, "before_cursor_execute", hear)
    _read(mondays, NOON)
    event.remove(mondays.engine, "before_cursor_execute", hear)
    (statement, values), *more = [each for each in told if "created_at" in each[0]]
    assert not more
    with mondays.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars())  # type: ignore[arg-type]
    assert "sms_events_created_at_idx" in plan
    assert "call_events_ts_idx" in plan


def test_the_digest_of_such_a_day_says_since_when_nothing_arrived(mondays: Database) -> None:
    for day in [*BEFORE, DAY]:
        roll_up_all(mondays.engine, DayRange(day, day), zone=ZONE.key)
    settings = mondays.settings(reporting_timezone=ZONE.key)
    with mondays.engine.connect() as connection:
        lines = read_digest(connection, settings, DAY, now=NOON)
        early = read_digest(connection, settings, DAY, now=_at(DAY, 9, 6))
    assert lines[0] == "Bad day so far, Monday 16 March 2026: nothing arrived from 10:00 to 12:00"
    assert "No event since 10:00: usually about 24 by 12:00 on a Monday. `smarttext doctor`" in lines
    assert early[0].startswith("All well so far")
