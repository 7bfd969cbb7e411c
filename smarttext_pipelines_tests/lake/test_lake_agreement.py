"""Numbers from the lake, and from the lake and live rows mixed, are those that PostgreSQL computes, to the cell."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import choice
from smarttext_pipelines.lake.export import export_days, raise_failures
from smarttext_pipelines.lake.lake_day import Places
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.run import Retention, archive_days
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import SOAK, Database, soak_cases
from smarttext_pipelines_tests.events import EVERYTHING, cells, insert_events, replace_events, roll_up_all

AS_OF = datetime(2026, 11, 20, 7, tzinfo=UTC)
CENTRE = date(2026, 3, 8)
FACTS = ("sms_outcomes", "spend", "call_volume", "missed_call_replies", "owner_alert_delivery")
REACH = DayRange(date(2000, 1, 1), date(2100, 12, 31))
ZONES = [
    ("America/New_York", None),
    ("Australia/Lord_Howe", None),
    ("Asia/Tokyo", "UTC"),
    ("America/Los_Angeles", "UTC"),
]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(LakeTarget(str(tmp_path / "lake")), ArchiveTarget(str(tmp_path / "archive")))


@pytest.fixture
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let single days, and ranges of which the lake has one day, be read from it, too."""
    monkeypatch.setattr(choice, "is_range", lambda _window: True)
    monkeypatch.setattr(choice, "holds_most", lambda files, _window: bool(files))


def export(database: Database, places: Places, days: DayRange = REACH) -> None:
    raise_failures(export_days(database.engine, places, days))


def all_cells(database: Database) -> dict[str, list[dict[str, Any]]]:
    return {name: cells(database.engine, name) for name in METRICS}


def engines(results: dict[str, Any]) -> set[str]:
    return {results[name].engine for name in FACTS}


@pytest.mark.usefixtures("always_worth_it")
@pytest.mark.parametrize(("zone_name", "dates"), soak_cases(ZONES, short=[ZONES[1], ZONES[3]]))
def test_a_range_is_the_same_from_the_lake_before_a_cut_and_live_rows_after_it(
    database: Database, places: Places, zone_name: str, dates: str | None
) -> None:
    database.run("UPDATE monitoring.installation SET reset_date_zone = %s", dates)
    zone = ZoneInfo(zone_name)
    days = DayRange(CENTRE, CENTRE).widen(strategies.DAYS_AROUND)
    options = {"zone": zone_name, "shared_senders": sorted(strategies.SHARED_SENDERS), "as_of": AS_OF}

    sets = strategies.event_sets(zone, CENTRE, only_postgres_holds=True)
    sets, examples = (sets, 20) if SOAK else strategies.few_sets(sets, emptiest=dates is None)

    @settings(max_examples=examples)
    @given(events=sets)
    def agrees(events: Any) -> None:
        parts = {name: list(rows) for name, rows in events.items()}
        late = {name: rows[1::5] for name, rows in parts.items() if name != "businesses"}
        early = {name: [row for row in rows if row not in late.get(name, [])] for name, rows in parts.items()}
        database.run(f"TRUNCATE {EVERYTHING}, monitoring.lake_files CASCADE")
        replace_events(database.engine, events)
        roll_up_all(database.engine, days, **options)
        expected = all_cells(database)
        replace_events(database.engine, early)
        export(database, places, DayRange(REACH.first, CENTRE))
        with database.engine.begin() as connection:
            insert_events(connection, late)
        # The lake lacks the late rows: their days are read live.
        for lake_days in (None, DayRange(REACH.first, CENTRE), REACH):
            if lake_days:
                export(database, places, lake_days)
            database.run("TRUNCATE monitoring.rollup_days")
            results = roll_up_all(database.engine, days, lake=places.lake, archive=places.archive, **options)
            assert all_cells(database) == expected
        assert engines(results) <= {"archive", "postgres"}
        roll_up_all(database.engine, DayRange(CENTRE, CENTRE), lake=places.lake, archive=places.archive, **options)
        assert all_cells(database) == expected

    agrees()


@pytest.mark.usefixtures("always_worth_it")
@pytest.mark.parametrize(("zone_name", "dates"), [ZONES[0], ZONES[2]])
def test_every_peculiarity_is_the_same_from_the_lake_live_and_archived(
    database: Database, places: Places, zone_name: str, dates: str | None
) -> None:
    database.run("UPDATE monitoring.installation SET reset_date_zone = %s", dates)
    zone = ZoneInfo(zone_name)
    days = DayRange(CENTRE, CENTRE).widen(strategies.DAYS_AROUND + 6)
    options = {"zone": zone_name, "shared_senders": sorted(strategies.SHARED_SENDERS), "as_of": AS_OF}
    replace_events(database.engine, strategies.every_peculiarity(zone, CENTRE))
    roll_up_all(database.engine, days, **options)
    expected = all_cells(database)
    export(database, places)
    found = roll_up_all(database.engine, days, lake=places.lake, archive=places.archive, **options)
    assert engines(found) == {"archive"}
    assert all_cells(database) == expected
    # Archived days stay current: what has left the table is still counted.
    before = database.rows("SELECT count(*) FROM public.sms_events")
    assert places.archive
    retention = Retention(zone, 4, 90, deletes=True)
    archive_days(database.engine, places.archive, retention, done=lambda _d: None, begun=lambda _n: None)
    assert database.rows("SELECT count(*) FROM public.sms_events") != before
    assert export_days(database.engine, places, REACH) == []
    # Neither is written again, nor is the archive needed to read it; written anew, it comes from both.
    roll_up_all(database.engine, days, lake=places.lake, archive=places.archive, **options)
    assert all_cells(database) == expected
    rows = "SELECT table_name, day, rows, source_rows, newest_event_at FROM monitoring.lake_files ORDER BY 1, 2"
    kept = database.rows(rows)
    raise_failures(export_days(database.engine, places, REACH, again=True))
    assert database.rows(rows) == kept
    roll_up_all(database.engine, days, lake=places.lake, archive=places.archive, **options)
    assert all_cells(database) == expected
