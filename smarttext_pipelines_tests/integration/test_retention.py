"""Archive and restore: what is deleted, what stays, and that rows come back exactly as they were."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError
from smarttext_pipelines.retention.columns import read_shape, run
from smarttext_pipelines.retention.protocol import archive_rows, finish_interrupted
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines.retention.run import DayDone, Retention, archive_days, plan, raise_failures
from smarttext_pipelines.retention.scrub import raise_damage, scrub
from smarttext_pipelines.retention.session import locked_day
from smarttext_pipelines.storage.archive_target import ArchiveTarget
from smarttext_pipelines.storage.connect import connected
from smarttext_pipelines.storage.schema.sources import api_usage, sms_events
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events, replace_events, roll_up_all

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
        found = {"waiting": waiting, "deletes": True, "most_rows": 10**9, **options}
        return list(archive_rows(connection, archive, table, day, **found))


def hashes(database: Database, table: str) -> dict[UUID, str]:
    with connected(database.engine) as connection:
        shape = read_shape(connection, table)
        from psycopg import sql

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
_TIMES = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))
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
        " ADD j json, ADD clock timetz, ADD span_of tstzrange, ADD \"odd \"\"name\" varchar(9),"
        " ADD doubled int GENERATED ALWAYS AS (body_length * 2) STORED, ADD number int GENERATED ALWAYS AS IDENTITY"
    )
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, body_length, created_at, small, big, real4, real8,"
        " free, span, raw, tags, address, local, j, clock, span_of, \"odd \"\"name\") VALUES ('a', '', 'x', 7, %s, -3,"
        " 9223372036854775807, 0.1, 'NaN', 'NaN', '1 mon -2 days 00:00:00.000001', '\\x00ff', '{a,NULL,\"b,c\"}',"
        " '10.0.0.1/8', 'infinity', '{\"b\":1, \"a\" : 2}', '12:00:00.5+02', '[2026-01-01,infinity)', 'é')",
        NOON,
    )
    database.run("INSERT INTO public.sms_events (from_number, to_number, status, created_at) VALUES ('', 'b', 'y', %s)", NOON)
    before, rows = hashes(database, "sms_events"), database.rows("SELECT t::text FROM public.sms_events AS t ORDER BY id")
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
def loaded(database: Database) -> Iterator[Database]:
    replace_events(database.engine, strategies.every_peculiarity(UTC_ZONE, DAY))
    roll_up_all(database.engine, AROUND)
    return database
