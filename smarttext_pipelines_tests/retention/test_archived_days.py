"""Numbers of archived days: computed from live rows and files, they are what they were."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines.retention.run import DayDone, Retention, archive_days, raise_failures
from smarttext_pipelines.rollup.customer_sums import differing_sums
from smarttext_pipelines.rollup.drift import changed_days
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import SOAK, Database, soak_cases
from smarttext_pipelines_tests.events import EVERYTHING, cells, insert_events, replace_events, roll_up_all

SETTLE = 4
AS_OF = datetime(2026, 11, 20, 7, tzinfo=UTC)
LENGTH = 34 if SOAK else 16
TABLES = ("sms_events", "call_events", "api_usage", "owner_alerts")


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveTarget:
    return ArchiveTarget(str(tmp_path / "archive"))


def retain(database: Database, archive: ArchiveTarget, zone: str, *, days: int = 90) -> list[DayDone]:
    retention = Retention(ZoneInfo(zone), SETTLE, days, deletes=True)
    results = archive_days(database.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None)
    raise_failures(results)
    return results


def all_cells(database: Database) -> dict[str, list[dict[str, Any]]]:
    return {name: cells(database.engine, name) for name in METRICS}


def live_counts(database: Database) -> list[int]:
    return [database.rows(f"SELECT count(*) FROM public.{t}")[0]["count"] for t in TABLES]


def test_weeks_give_the_same_stats_before_and_after_archiving_and_after_restoring(
    database: Database, archive: ArchiveTarget
) -> None:
    end = datetime(2026, 6, 30, 23, tzinfo=UTC)
    load_sample(database.url, SampleSpec(LENGTH, 4, 60, 7, end.date(), end))
    days = DayRange(end.date() - timedelta(days=LENGTH - 1), end.date())
    options = {"as_of": AS_OF, "archive": archive}
    roll_up_all(database.engine, days, **options)
    before, rows = all_cells(database), live_counts(database)
    # What lies at the border of archived and live days is computed from both.
    today = datetime.now(UTC).date()
    done = retain(database, archive, "UTC", days=(today - end.date()).days + 3)
    assert not [d.waits for d in done if d.waits]
    assert sum(live_counts(database)) < sum(rows) / 3
    engines = {r.engine for r in roll_up_all(database.engine, days, **options).values()}
    assert engines == {"archive", "postgres"}
    assert all_cells(database) == before
    with database.engine.connect() as connection:
        sums = differing_sums(connection, days)
    assert (set(sums), {part for part, _ in sums.values()}) == ({*days}, {0})
    changed = [r.rows_changed for r in roll_up_all(database.engine, days, **options)["daily_stats"].days.values()]
    assert sum(changed) == 0
    with database.engine.begin() as connection:
        assert changed_days(connection, days, ZoneInfo("UTC"), archive) == []
    for table in TABLES:
        restore(database.engine, archive, table, days)
    assert live_counts(database) == rows
    assert {r.engine for r in roll_up_all(database.engine, days, **options).values()} == {"postgres"}
    assert all_cells(database) == before


ZONES = [
    ("America/New_York", None),
    ("Australia/Lord_Howe", None),
    ("Asia/Tokyo", "UTC"),
    ("America/Los_Angeles", "UTC"),
]


@pytest.mark.parametrize(("zone_name", "dates"), soak_cases(ZONES, short=[ZONES[1], ZONES[3]]))
def test_archived_days_with_late_rows_give_what_live_days_would(
    database: Database, archive: ArchiveTarget, zone_name: str, dates: str | None
) -> None:
    database.run("UPDATE monitoring.installation SET reset_date_zone = %s", dates)
    zone, centre = ZoneInfo(zone_name), date(2026, 3, 15)
    days = DayRange(centre, centre).widen(strategies.DAYS_AROUND + SETTLE + 2)
    options = {"zone": zone_name, "shared_senders": sorted(strategies.SHARED_SENDERS), "as_of": AS_OF}

    sets = strategies.event_sets(zone, centre)
    sets, examples = (sets, 20) if SOAK else strategies.few_sets(sets, emptiest=dates is None)

    @settings(max_examples=examples)
    @given(events=sets)
    def agrees(events: Any) -> None:
        early = {name: rows if name == "businesses" else rows[::2] for name, rows in _lists(events).items()}
        late = {name: rows[1::2] for name, rows in _lists(events).items() if name != "businesses"}
        database.run(f"TRUNCATE {EVERYTHING}, monitoring.archive_segments CASCADE")
        replace_events(database.engine, events)
        roll_up_all(database.engine, days, **options)
        expected = all_cells(database)
        replace_events(database.engine, early)
        roll_up_all(database.engine, days, **options)
        retain(database, archive, zone_name)
        with database.engine.begin() as connection:
            insert_events(connection, late)
        roll_up_all(database.engine, days, archive=archive, **options)
        assert all_cells(database) == expected
        retain(database, archive, zone_name)
        for day in (centre - timedelta(days=1), centre, centre + timedelta(days=1)):
            roll_up_all(database.engine, DayRange(day, day), archive=archive, **options)
        assert all_cells(database) == expected

    agrees()


def _lists(events: Any) -> dict[str, list[Any]]:
    return {name: list(rows) for name, rows in events.items()}


def test_numbers_stay_when_the_archive_is_damaged_missing_or_not_named(
    database: Database, archive: ArchiveTarget, tmp_path: Path
) -> None:
    day = date(2026, 3, 15)
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), day))
    days = DayRange(day, day).widen(12)
    roll_up_all(database.engine, days)
    before = all_cells(database)
    retain(database, archive, "UTC")
    with pytest.raises(ArchiveError, match="set SMARTTEXT_ARCHIVE_URL"):
        roll_up_all(database.engine, days)
    with pytest.raises(DamagedFileError, match="missing"):
        roll_up_all(database.engine, days, archive=ArchiveTarget(str(tmp_path / "elsewhere")))
    file = next((tmp_path / "archive").rglob("sms_events/day=2026-03-15/*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedFileError, match="is damaged"):
        roll_up_all(database.engine, days, archive=archive)
    assert all_cells(database) == before
