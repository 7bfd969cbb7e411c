"""The sample reaches PostgreSQL whole or not at all, and following adds no row twice."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from smarttext_pipelines.core.errors import DatabaseError, InputError
from smarttext_pipelines.sample import SampleSpec, follow, load_sample, sample_day
from smarttext_pipelines.schema.tables import SOURCE_TABLES

LOADED_UNTIL = datetime(2026, 11, 20, 15, tzinfo=UTC)
SPEC = SampleSpec(days=10, businesses=8, events_per_day=400, seed=3, end=date(2026, 11, 20), until=LOADED_UNTIL)


def stored_ids(url: str) -> dict[str, set[Any]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        stored = {table.name: set(connection.scalars(select(table.c.id))) for table in SOURCE_TABLES}
    engine.dispose()
    return stored


def test_all_rows_arrive_and_each_day_is_reported(database: Any) -> None:
    seen: list[tuple[date, int]] = []
    written = load_sample(database.url, SPEC, lambda day, rows: seen.append((day, rows)))
    assert {name: len(ids) for name, ids in stored_ids(database.url).items()} == written
    assert [day for day, _ in seen] == list(SPEC)
    assert sum(rows for _, rows in seen) == sum(written.values()) - written["businesses"]


def test_values_arrive_as_they_were_drawn(database: Any) -> None:
    load_sample(database.url, SPEC, None)
    drawn = {row["id"]: row for day in SPEC for row in sample_day(SPEC, day)["sms_events"].to_pylist()}
    engine = create_engine(database.url)
    with engine.connect() as connection:
        stored = connection.execute(text("select * from public.sms_events")).mappings().all()
    engine.dispose()
    for row in stored:
        expected = drawn[str(row["id"])]
        for name in ("message_sid", "status", "error_code", "request_id", "body_length", "created_at"):
            assert row[name] == expected[name]


def test_a_sample_that_is_there_already_is_refused_and_nothing_changes(database: Any) -> None:
    load_sample(database.url, SPEC, None)
    before = stored_ids(database.url)
    with pytest.raises(InputError, match="--seed"):
        load_sample(database.url, replace(SPEC, days=12), None)
    assert stored_ids(database.url) == before


def test_a_load_that_fails_leaves_nothing(database: Any) -> None:
    def fail(day: date, rows: int) -> None:
        if day == SPEC.end:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        load_sample(database.url, SPEC, fail)
    assert not any(stored_ids(database.url).values())


def test_a_load_whose_connection_is_lost_leaves_nothing(database: Any) -> None:
    def disconnect(day: date, rows: int) -> None:
        engine = create_engine(database.url)
        with engine.connect() as connection:
            others = "pid <> pg_backend_pid() and datname = current_database() and backend_type = 'client backend'"
            connection.execute(text(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}"))
        engine.dispose()

    with pytest.raises(DatabaseError, match="not written"):
        load_sample(database.url, SPEC, disconnect)
    assert not any(stored_ids(database.url).values())


def test_an_unreachable_database_is_named_as_such() -> None:
    with pytest.raises(DatabaseError, match="SMARTTEXT_DATABASE_URL"):
        load_sample("postgresql+psycopg://nobody@127.0.0.1:1/nothing", SPEC, None)


def test_following_ends_where_a_later_load_would_have(database: Any) -> None:
    load_sample(database.url, SPEC, None)
    stop = LOADED_UNTIL + timedelta(hours=4)
    looks = iter([LOADED_UNTIL, LOADED_UNTIL + timedelta(hours=1), LOADED_UNTIL + timedelta(hours=1), stop])
    count = iter(range(1, 5))
    follow(database.url, SPEC, lambda: next(looks), lambda _: next(count) == 4)
    expected = replace(SPEC, until=stop)
    followed = stored_ids(database.url)
    for name in ("sms_events", "call_events", "api_usage", "owner_alerts"):
        ids = [key for day in expected for key in sample_day(expected, day)[name]["id"].to_pylist()]
        assert {str(key) for key in followed[name]} == set(ids)


def test_following_from_further_back_adds_no_row_twice(database: Any) -> None:
    load_sample(database.url, SPEC, None)
    before = stored_ids(database.url)
    follow(database.url, replace(SPEC, until=LOADED_UNTIL - timedelta(days=1)), lambda: LOADED_UNTIL, lambda _: True)
    assert stored_ids(database.url) == before
