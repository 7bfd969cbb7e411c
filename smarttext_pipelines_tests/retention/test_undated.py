"""Rows that no day has: they leave the database when a person asks, come back as they were, and are in no number."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.archive.manifest import UNDATED
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, DayRange, day_end, day_start
from smarttext_pipelines.core.errors import DamagedFileError, InputError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.manifest_check import raise_damage, scrub
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines.retention.run import Retention, plan
from smarttext_pipelines.retention.status import read_status
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, roll_up_all
from smarttext_pipelines_tests.retention.test_retention import count, hashes, retain

DAY = date(2026, 3, 15)
AROUND = DayRange(DAY, DAY).widen(6)
NO_DAY = DayRange(UNDATED, UNDATED)
ZONES = ("UTC", "Asia/Tokyo", "America/Los_Angeles")
TABLES = ("sms_events", "call_events", "api_usage", "owner_alerts")
PHONE = "+15550001111"

_TIMES = (
    "NULL", "'infinity'", "'-infinity'", "'0001-01-01 00:00+00'", "'0044-03-15 12:00+00 BC'", "'1970-01-01 00:00+00'",
    "'9999-12-31 23:59:59.999999+00'", "'294276-12-31 00:00+00'",
)  # fmt: skip
"""Times that no day has, in whatever zone."""


def fill(database: Database, times: tuple[str, ...]) -> None:
    for at in times:
        database.run(
            "INSERT INTO public.sms_events (from_number, to_number, status, created_at, message_sid, payload)"
            f" VALUES ('a', '{PHONE}', 'sent', {at}, gen_random_uuid()::text, '{{\"a\": [1, null]}}')"
        )
        database.run(f"INSERT INTO public.call_events (event_type, ts) VALUES ('voice.missed', {at})")
        database.run(
            "INSERT INTO public.api_usage (service, endpoint, reset_date, created_at, cost_estimate) VALUES"
            f" ('openai', 'e', NULL, {at}, 1), ('openai', 'e', 'infinity', '{DAY}', 'NaN'),"
            f" ('openai', 'e', '1970-01-01', '{DAY}', 1), ('openai', 'e', '-infinity', {at}, 1)"
        )
        database.run(
            "INSERT INTO public.owner_alerts (business_id, owner_phone, customer_phone, alert_type, message_content,"
            f" created_at) VALUES ((SELECT id FROM public.businesses), 'o', 'c', 'custom', 'x', {at})"
        )


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveTarget:
    return ArchiveTarget(str(tmp_path / "archive"))


@pytest.fixture
def loaded(database: Database) -> Database:
    database.run("INSERT INTO public.businesses (id, name) VALUES (md5('b')::uuid, 'B')")
    fill(database, _TIMES)
    return database


def retention(zone: str = "UTC", *, undated: bool = True, deletes: bool = True) -> Retention:
    return Retention(ZoneInfo(zone), settle_days=4, retention_days=90, deletes=deletes, undated=undated)


@pytest.mark.parametrize("zone", ZONES)
def test_rows_without_a_day_leave_when_asked_and_come_back_with_the_hashes_they_had(
    loaded: Database, archive: ArchiveTarget, zone: str
) -> None:
    roll_up_all(loaded.engine, AROUND, zone=zone)
    before = {table: hashes(loaded, table) for table in TABLES}
    numbers = cells(loaded.engine, "daily_stats")
    assert len(before["api_usage"]) == 4 * len(_TIMES)
    done = retain(loaded, archive, retention(zone))
    assert [(d.table, d.rows_deleted, d.rows_left) for d in done] == [(t, len(before[t]), 0) for t in TABLES]
    assert {count(loaded, table) for table in TABLES} == {0}
    roll_up_all(loaded.engine, AROUND, zone=zone, archive=archive)
    assert cells(loaded.engine, "daily_stats") == numbers
    raise_damage(scrub(loaded.engine, archive))
    for table in TABLES:
        restore(loaded.engine, archive, table, NO_DAY)
    assert {table: hashes(loaded, table) for table in TABLES} == before


def test_the_schedule_leaves_them_where_they_are(loaded: Database, archive: ArchiveTarget) -> None:
    before = [count(loaded, table) for table in TABLES]
    retain(loaded, archive, retention(deletes=False))
    assert retain(loaded, archive, retention(undated=False)) == []
    assert plan(loaded.engine, archive, retention(undated=False)) == []
    assert [count(loaded, table) for table in TABLES] == before
    assert loaded.rows("SELECT DISTINCT state, changed_rows FROM monitoring.archive_segments") == [
        {"state": "verified", "changed_rows": 0}
    ]
    assert [d.rows_live for d in plan(loaded.engine, archive, retention())] == before


@pytest.mark.parametrize("zone", ZONES)
def test_every_row_is_either_of_a_day_or_undated_also_beside_the_first_and_the_last_day(
    database: Database, archive: ArchiveTarget, zone: str
) -> None:
    start, end = day_start(FIRST_DAY, ZoneInfo(zone)), day_end(LAST_DAY, ZoneInfo(zone))
    moment = timedelta(microseconds=1)
    outside = [start - moment, end]
    database.run("UPDATE monitoring.installation SET reporting_timezone = %s", zone)
    for at in (start, end - moment, *outside):
        database.run("INSERT INTO public.call_events (event_type, ts) VALUES ('voice.missed', %s)", at)
    roll_up_all(database.engine, DayRange(FIRST_DAY, FIRST_DAY + timedelta(days=6)), zone=zone)
    (done,) = retain(database, archive, replace(retention(zone, undated=False), tables=("call_events",)))
    assert (done.rows_deleted, done.waits) == (1, None)
    (done,) = retain(database, archive, replace(retention(zone), tables=("call_events",)))
    assert done.rows_deleted == 2
    assert [row["ts"] for row in database.rows("SELECT ts FROM public.call_events")] == [end - moment]


def test_usage_without_a_date_belongs_to_the_day_it_was_recorded_and_keeps_its_number(
    database: Database, archive: ArchiveTarget
) -> None:
    at = datetime(2026, 3, 15, 23, 30, tzinfo=UTC)
    for zone in ZONES:
        database.run(
            "TRUNCATE public.api_usage, monitoring.archive_segments, monitoring.rollup_days, monitoring.spend,"
            " public.daily_stats"
        )
        database.run(
            "INSERT INTO public.api_usage (service, endpoint, reset_date, created_at, tokens_used, cost_estimate)"
            " VALUES ('openai', 'e', NULL, %s, 7, 1), ('openai', 'e', %s, %s, 5, 1)",
            at, DAY, at,
        )  # fmt: skip
        roll_up_all(database.engine, AROUND, zone=zone)
        before = cells(database.engine, "spend")
        assert sum(row["tokens_used"] for row in before) == 12
        assert not plan(database.engine, archive, retention(zone))
        (done,) = retain(database, archive, retention(zone, undated=False))
        assert (done.waits, done.rows_deleted) == (None, 2)
        roll_up_all(database.engine, AROUND, zone=zone, archive=archive)
        assert cells(database.engine, "spend") == before
        assert database.rows("SELECT DISTINCT rows FROM monitoring.rollup_days WHERE rows > 0") != []
        restore(database.engine, archive, "api_usage", DayRange(DAY, DAY))
        assert count(database, "api_usage") == 2


def test_restored_rows_stay_until_their_hold_ends(loaded: Database, archive: ArchiveTarget) -> None:
    retain(loaded, archive, retention())
    restore(loaded.engine, archive, "sms_events", NO_DAY)
    (done,) = retain(loaded, archive, retention())
    assert "restored, stays until" in str(done.waits)
    loaded.run("UPDATE monitoring.archive_segments SET hold_until = now() WHERE hold_until IS NOT NULL")
    (done,) = retain(loaded, archive, retention())
    assert done.rows_deleted == len(_TIMES)


def test_a_person_is_erased_from_rows_without_a_day(loaded: Database, archive: ArchiveTarget) -> None:
    loaded.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, created_at) VALUES ('a', 'b', 'x', NULL)"
    )
    retain(loaded, archive, retention())
    fill(loaded, ("NULL", "'infinity'", "'0044-03-15 BC'"))
    erased = erase(loaded.engine, archive, PHONE, zone=ZoneInfo("UTC"))
    assert (erased.live_rows["sms_events"], erased.archived_rows["sms_events"]) == (3, len(_TIMES))
    assert loaded.rows("SELECT count(*) FROM monitoring.rollup_requests") == [{"count": 0}]
    restore(loaded.engine, archive, "sms_events", NO_DAY)
    assert [row["to_number"] for row in loaded.rows("SELECT to_number FROM public.sms_events")] == ["b"]


def test_a_damaged_file_of_undated_rows_restores_nothing(loaded: Database, archive: ArchiveTarget) -> None:
    retain(loaded, archive, retention())
    file = next((Path(archive._root) / "sms_events" / "undated").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedFileError):
        restore(loaded.engine, archive, "sms_events", NO_DAY)
    assert count(loaded, "sms_events") == 0


def test_the_status_tells_them_apart(loaded: Database, archive: ArchiveTarget) -> None:
    retain(loaded, archive, retention())
    with connected(loaded.engine) as connection:
        lines = read_status(connection)
    assert [(line[0], line[2], line[4], line[6]) for line in lines if line[0] == "call_events"] == [
        ("call_events", 0, len(_TIMES), None)
    ]


def test_a_table_that_is_not_archived_is_refused() -> None:
    with pytest.raises(InputError, match="is not archived"):
        replace(retention(), tables=("businesses",))
