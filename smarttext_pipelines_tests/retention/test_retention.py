"""Archive and restore: what is deleted, what stays, and that rows come back exactly as they were."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy import insert

from smarttext_pipelines.archive.columns import read_shape, run
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.retention.manifest_check import raise_damage, scrub
from smarttext_pipelines.retention.protocol import archive_rows, finish_interrupted
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines.retention.run import DayDone, Retention, archive_days, plan, raise_failures
from smarttext_pipelines.schema.tables.source_tables import api_usage
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, insert_events, replace_events, roll_up_all

DAY = date(2026, 3, 15)
NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
AROUND = DayRange(DAY, DAY).widen(12)
UTC_ZONE = ZoneInfo("UTC")
RETENTION = Retention(UTC_ZONE, settle_days=4, retention_days=90, deletes=True)
KEEPING = Retention(UTC_ZONE, settle_days=4, retention_days=90, deletes=False)


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveTarget:
    return ArchiveTarget(str(tmp_path / "archive"))


def retain(database: Database, archive: ArchiveTarget, retention: Retention = RETENTION) -> list[DayDone]:
    results = archive_days(database.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None)
    raise_failures(results)
    return results


def archive_day(database: Database, archive: ArchiveTarget, table: str, day: date = DAY, **options: Any) -> list[Any]:
    """Run the protocol alone, without the policy."""
    with locked_day(database.engine, table, day) as connection:
        waiting = finish_interrupted(connection, archive, table, day)
        found = {"waiting": waiting, "deletes": True, "max_rows": 10**9, **options}
        return list(archive_rows(connection, archive, table, day, **found))


def hashes(database: Database, table: str) -> dict[UUID, str]:
    with connected(database.engine) as connection:
        shape = read_shape(connection, table)
        query = sql.SQL("SELECT t.id, {} FROM public.{} AS t").format(shape.hash_in_postgres(), sql.Identifier(table))
        return {id_: row_hash for id_, row_hash in run(connection, query)}


def count(database: Database, table: str) -> int:
    return int(database.rows(f"SELECT count(*) FROM public.{table}")[0]["count"])


_TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(_TEXTS, children, max_size=3),
    max_leaves=6,
)
_TIMES = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
_USAGE = st.fixed_dictionaries(
    {
        "service": _TEXTS,
        "endpoint": _TEXTS,
        "tokens_used": st.none() | st.integers(-(2**31), 2**31 - 1),
        "cost_estimate": st.none() | st.decimals(-(10**11), 10**11, places=6),
        "model": st.none() | _TEXTS,
        "created_at": st.none() | _TIMES,
        "metadata": _JSON,
    }
)


def _without_nul(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("\\u0000", ""))


def test_every_value_comes_back_with_the_hash_it_had(database: Database, archive: ArchiveTarget) -> None:
    @settings(max_examples=25)
    @given(rows=st.lists(_USAGE, min_size=1, max_size=20))
    def comes_back(rows: list[dict[str, Any]]) -> None:
        database.run("TRUNCATE public.api_usage, monitoring.archive_segments")
        rows = [{**row, "metadata": _without_nul(row["metadata"]), "id": uuid4(), "reset_date": DAY} for row in rows]
        with database.engine.begin() as connection:
            connection.execute(insert(api_usage), rows)
        before = hashes(database, "api_usage")
        archive_day(database, archive, "api_usage")
        assert count(database, "api_usage") == 0, "a row was not held exactly, and so not deleted"
        restore(database.engine, archive, "api_usage", DayRange(DAY, DAY))
        assert hashes(database, "api_usage") == before

    comes_back()


def test_columns_that_the_application_added_come_back_too(database: Database, archive: ArchiveTarget) -> None:
    database.run(
        "ALTER TABLE public.sms_events ADD small smallint, ADD big bigint, ADD real4 real, ADD real8 double precision,"
        " ADD free numeric, ADD span interval, ADD raw bytea, ADD tags text[], ADD address inet, ADD local timestamp,"
        ' ADD j json, ADD clock timetz, ADD span_of tstzrange, ADD "odd ""name" varchar(9),'
        " ADD doubled int GENERATED ALWAYS AS (body_length * 2) STORED, ADD number int GENERATED ALWAYS AS IDENTITY"
    )
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, body_length, created_at, small, big, real4,"
        ' real8, free, span, raw, tags, address, local, j, clock, span_of, "odd ""name")'
        " VALUES ('a', '', 'x', 7, %s, -3, 9223372036854775807, 0.1, 'NaN', 'NaN',"
        " '1 mon -2 days 00:00:00.000001', '\\x00ff', '{a,NULL,\"b,c\"}',"
        " '10.0.0.1/8', 'infinity', '{\"b\":1, \"a\" : 2}', '12:00:00.5+02', '[2026-01-01,infinity)', 'é')",
        NOON,
    )
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, created_at) VALUES ('', 'b', 'y', %s)", NOON
    )
    before, rows = (
        hashes(database, "sms_events"),
        database.rows("SELECT t::text FROM public.sms_events AS t ORDER BY id"),
    )
    archive_day(database, archive, "sms_events")
    assert count(database, "sms_events") == 0
    restore(database.engine, archive, "sms_events", DayRange(DAY, DAY))
    assert hashes(database, "sms_events") == before
    assert database.rows("SELECT t::text FROM public.sms_events AS t ORDER BY id") == rows


def test_rows_that_no_file_holds_exactly_stay_and_are_told(database: Database, archive: ArchiveTarget) -> None:
    database.run(
        "INSERT INTO public.api_usage (service, endpoint, reset_date, created_at, cost_estimate) VALUES"
        " ('openai', 'e', %s, 'infinity', 1), ('openai', 'e', %s, '-infinity', 1), ('openai', 'e', %s, now(), 'NaN'),"
        " ('openai', 'e', %s, now(), 1), ('openai', 'e', NULL, now(), 1)",
        *[DAY] * 4,
    )
    roll_up_all(database.engine, AROUND)
    (done,) = retain(database, archive)
    assert (done.rows_deleted, done.rows_left) == (1, 3)
    assert count(database, "api_usage") == 4


@pytest.fixture
def loaded(database: Database) -> Database:
    replace_events(database.engine, strategies.every_peculiarity(UTC_ZONE, DAY))
    roll_up_all(database.engine, AROUND)
    return database


def test_a_run_deletes_what_is_old_and_rolled_up_and_a_second_finds_nothing(
    loaded: Database, archive: ArchiveTarget
) -> None:
    assert {d.waits for d in plan(loaded.engine, archive, RETENTION)} == {None}
    before = {table: count(loaded, table) for table in ("sms_events", "call_events", "owner_alerts")}
    deleted = {d.table: 0 for d in retain(loaded, archive)}
    assert set(deleted) == {"sms_events", "call_events", "api_usage", "owner_alerts"}
    assert all(count(loaded, table) == 1 for table in before), "the undated row of each stays"
    assert retain(loaded, archive) == []


@pytest.mark.parametrize("max_rows", [1, 5_000_000])
def test_a_dry_run_says_what_the_run_then_does(loaded: Database, archive: ArchiveTarget, max_rows: int) -> None:
    loaded.run("INSERT INTO public.api_usage (service, endpoint, reset_date, created_at, cost_estimate)"
               " VALUES ('openai', 'e', %s, %s, 'NaN'), ('openai', 'e', %s, %s, 1)", DAY, NOON, DAY, NOON)  # fmt: skip
    roll_up_all(loaded.engine, AROUND)
    with loaded.engine.begin() as connection:
        insert_events(connection, {"call_events": [strategies.call_event(99, NOON)]})
    bounded = replace(RETENTION, max_rows=max_rows)
    planned = plan(loaded.engine, archive, bounded)
    done = retain(loaded, archive, bounded)
    told = [(p.table, p.day, p.rows_live, p.rows, p.rows_left, p.waits) for p in planned]
    assert told == [(d.table, d.day, d.rows_live, d.rows_deleted, d.rows_left, d.waits) for d in done]
    assert sum(p.rows for p in planned) > 0
    if max_rows > 1:
        assert [p.rows_left for p in planned if p.rows_left] == [1]
        assert {bool(p.waits) for p in planned} == {True, False}


def test_a_dry_run_fails_where_the_run_would(loaded: Database, archive: ArchiveTarget, tmp_path: Path) -> None:
    archive_day(loaded, archive, "sms_events", segment_rows=1, max_rows=1)
    for file in (tmp_path / "archive").rglob("*.parquet"):
        file.unlink()
    planned = plan(loaded.engine, archive, RETENTION)
    assert [(p.table, p.rows, "missing" in str(p.failure)) for p in planned if p.failure] == [("sms_events", 0, True)]
    assert {p.table for p in planned} == {"sms_events", "call_events", "api_usage", "owner_alerts"}
    with pytest.raises(ArchiveError, match="sms_events"):
        raise_failures(planned)


def test_a_day_that_was_not_rolled_up_stays(database: Database, archive: ArchiveTarget) -> None:
    replace_events(database.engine, strategies.every_peculiarity(UTC_ZONE, DAY))
    before = count(database, "sms_events")
    assert all("never rolled up" in str(d.waits) for d in retain(database, archive))
    assert count(database, "sms_events") == before


def test_rows_that_came_after_the_rollup_make_their_day_wait(loaded: Database, archive: ArchiveTarget) -> None:
    with loaded.engine.begin() as connection:
        insert_events(connection, {"sms_events": [strategies.sms_event(99, NOON)]})
    waits = {d.day: d.waits for d in retain(loaded, archive) if d.table == "sms_events"}
    assert "1 row of 2026-03-15 is not rolled up" in str(waits[DAY])
    roll_up_all(loaded.engine, AROUND, archive=archive)
    assert retain(loaded, archive)[0].rows_deleted == 16


def test_a_run_ends_at_its_bounds_and_the_next_goes_on(loaded: Database, archive: ArchiveTarget) -> None:
    few = replace(RETENTION, max_rows=1, tables=("sms_events",))
    assert [len(retain(loaded, archive, few)) for _ in range(4)] == [1, 1, 1, 0]
    assert retain(loaded, archive, replace(RETENTION, max_seconds=-1)) == []


def test_without_permission_a_file_is_written_and_compared_and_nothing_is_deleted(
    loaded: Database, archive: ArchiveTarget
) -> None:
    before = count(loaded, "sms_events")
    retain(loaded, archive, KEEPING)
    retain(loaded, archive, KEEPING)
    assert count(loaded, "sms_events") == before
    segments = loaded.rows("SELECT state, changed_rows FROM monitoring.archive_segments")
    assert segments == [{"state": "verified", "changed_rows": 0}] * 6
    retain(loaded, archive)
    assert count(loaded, "sms_events") == 1


def test_a_row_that_moved_to_another_day_after_it_was_read_is_there_once(
    database: Database, archive: ArchiveTarget
) -> None:
    next_day = DAY + timedelta(days=1)
    rows = [strategies.sms_event(n, NOON, message_sid=f"SM{n}", status="sent") for n in (1, 2)]
    replace_events(database.engine, {"sms_events": rows})

    def move(step: str) -> None:
        if step == "hashed again":
            database.run(
                "UPDATE public.sms_events SET created_at = created_at + interval '1 day' WHERE message_sid = 'SM2'"
            )

    archive_day(database, archive, "sms_events", on_step=move)
    assert count(database, "sms_events") == 1
    days = DayRange(DAY, next_day)
    for _ in range(2):
        roll_up_all(database.engine, days.widen(6), archive=archive)
        sent = {row["date"]: row["messages_sent"] for row in cells(database.engine, "daily_stats")}
        assert sent == {DAY: 1, next_day: 1}
        archive_day(database, archive, "sms_events", next_day)
    restored = restore(database.engine, archive, "sms_events", days)
    assert [(r.day, r.rows, r.rows_already_live) for r in restored] == [(DAY, 1, 0), (next_day, 1, 0)]


def test_a_restored_row_does_not_replace_what_is_there(database: Database, archive: ArchiveTarget) -> None:
    rows = [strategies.sms_event(n, NOON, message_sid=f"SM{n}", status="sent") for n in (1, 2)]
    replace_events(database.engine, {"sms_events": rows})
    archive_day(database, archive, "sms_events")
    with database.engine.begin() as connection:
        insert_events(connection, {"sms_events": [{**rows[0], "status": "failed"}]})
    (restored,) = restore(database.engine, archive, "sms_events", DayRange(DAY, DAY))
    assert (restored.rows, restored.rows_already_live) == (1, 1)
    statuses = database.rows("SELECT status FROM public.sms_events ORDER BY message_sid")
    assert [row["status"] for row in statuses] == ["failed", "sent"]


def test_rows_that_would_come_back_changed_are_not_restored(database: Database, archive: ArchiveTarget) -> None:
    replace_events(database.engine, {"sms_events": [strategies.sms_event(1, NOON, message_sid="SM1")]})
    archive_day(database, archive, "sms_events")
    database.run(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.status := 'spoiled'; RETURN NEW; END $$;"
        " CREATE TRIGGER spoil BEFORE INSERT ON public.sms_events FOR EACH ROW EXECUTE FUNCTION spoil()"
    )
    with pytest.raises(ArchiveError, match="would not come back as they were"):
        restore(database.engine, archive, "sms_events", DayRange(DAY, DAY))
    assert count(database, "sms_events") == 0
    database.run("ALTER TABLE public.sms_events DISABLE TRIGGER spoil, DROP COLUMN error_message")
    with pytest.raises(ArchiveError, match="no longer has error_message"):
        restore(database.engine, archive, "sms_events", DayRange(DAY, DAY))


def test_a_damaged_file_is_found_by_a_check_and_nothing_is_restored_from_it(
    loaded: Database, archive: ArchiveTarget, tmp_path: Path
) -> None:
    retain(loaded, archive)
    file = next((tmp_path / "archive").rglob("sms_events/day=2026-03-15/*.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArchiveError, match="1 of 6 files"):
        raise_damage(scrub(loaded.engine, archive))
    with pytest.raises(DamagedFileError):
        restore(loaded.engine, archive, "sms_events", AROUND)
    file.unlink()
    with pytest.raises(ArchiveError, match="missing"):
        raise_damage(scrub(loaded.engine, archive))
