"""Spark Connect gives the numbers that PostgreSQL gives, from files of the lake and live rows; on Sail here."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import Parameters, SparkEngine
from smarttext_pipelines.engines.live import live_rows
from smarttext_pipelines.engines.spark import SparkRows
from smarttext_pipelines.engines.spark_session import SparkPlace
from smarttext_pipelines.metrics import METRICS, Metric, Window
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import Events, cells, replace_events, roll_up_all
from smarttext_pipelines_tests.lake_files import Lake, write_lake
from smarttext_pipelines_tests.sail import Sail

AS_OF = datetime(2026, 11, 20, 7, tzinfo=UTC)
DAY = date(2026, 3, 8)
FACTS = {name: metric for name, metric in METRICS.items() if metric.source and name != "customer_days"}
"""Of ``customer_days`` the secret goes to no other machine."""

STATS = {name: metric for name, metric in METRICS.items() if not metric.source}
CASES = [
    ("America/New_York", date(2026, 3, 8), None, 0),
    ("America/New_York", date(2026, 11, 1), "UTC", 5),
    ("Australia/Lord_Howe", date(2026, 10, 4), None, 5),
]
"""Zones, days at which the clock changes, the zone of adopted usage days, and how many days before and after it."""

EVERY_CASE = [
    (zone, centre, dates, days)
    for zone, centre, dates, _ in [*CASES, ("Asia/Kolkata", date(2026, 5, 10), None, 0)]
    for days in (0, 5)
]
SMALL = {name: FACTS[name] for name in ("spend", "call_volume", "owner_alert_delivery")}
"""Facts whose statements a cluster plans within a second."""


def joined(zone: ZoneInfo, centre: date, drawn: list[Events]) -> Events:
    """Return generated sets and the one made by hand as one set, in which every row has an id of its own."""
    sets = [strategies.every_peculiarity(zone, centre), *drawn]
    rows = {table: [row for each in sets for row in each[table]] for table in strategies.TABLES}
    for table in strategies.TABLES[1:]:
        rows[table] = [{**row, "id": strategies.row_id(table, n)} for n, row in enumerate(rows[table])]
    every = [strategies.business(number) for number in range(1, 5)]
    found = {row["id"]: row for row in [*every, *rows["businesses"]]}
    return {**rows, "businesses": list(found.values())}


def rolled_up_on_spark(
    database: Database,
    place: SparkPlace,
    days: DayRange,
    zone: str,
    lake: Lake | None = None,
    metrics: Mapping[str, Metric] = FACTS,
) -> None:
    """Require that Spark changes no row of what PostgreSQL wrote."""
    options = {"metrics": metrics, "shared_senders": sorted(strategies.SHARED_SENDERS), "as_of": AS_OF}
    roll_up_all(database.engine, days, zone=zone, **options)
    before = {name: cells(database.engine, name) for name in metrics}
    place = replace(place, lake_files=lake.find) if lake else place
    found = roll_up_all(database.engine, days, zone=zone, spark=place, **options)
    assert {(result.engine, *result.notes) for result in found.values()} == {("spark",)}
    for name, result in found.items():
        changed = {day: each.largest_change for day, each in result.days.items() if each.rows_changed}
        assert not changed, name
        assert cells(database.engine, name) == before[name]


@pytest.mark.parametrize(("zone_name", "centre", "dates", "around"), EVERY_CASE if SOAK else CASES)
def test_no_cell_differs_from_postgresql(
    database: Database, sail: Sail, tmp_path: Path, zone_name: str, centre: date, dates: str | None, around: int
) -> None:
    place, examples = SparkPlace(sail.remote), 5 if SOAK else 1
    require_agreement(database, place, tmp_path, (zone_name, centre, dates, around), examples=examples)


def require_agreement(
    database: Database, place: SparkPlace, folder: Path, case: tuple[str, date, str | None, int], *, examples: int
) -> None:
    """Require equal cells of generated events on days around a centre, whose later days are read from live rows."""
    zone_name, centre, dates, around = case
    zone = ZoneInfo(zone_name)
    database.run("UPDATE monitoring.installation SET reset_date_zone = %s", dates)
    sets = st.lists(strategies.event_sets(zone, centre, only_postgres_holds=True), min_size=4, max_size=4)

    @settings(max_examples=examples)
    @given(drawn=sets)
    def agrees(drawn: list[Events]) -> None:
        replace_events(database.engine, joined(zone, centre, drawn))
        lake = write_lake(database, folder, DayRange(centre - timedelta(days=40), centre + timedelta(days=1)))
        assert lake.files
        days = DayRange(centre, centre).widen(around)
        rolled_up_on_spark(database, place, days, zone_name, lake)
        require_same_stats(database, place, days, zone)

    agrees()


def require_same_stats(database: Database, place: SparkPlace, days: DayRange, zone: ZoneInfo) -> None:
    """Require that stats, which stay with PostgreSQL, would be the same on Spark."""
    roll_up_all(database.engine, days, zone=str(zone), metrics=STATS, as_of=AS_OF)
    window = Window(days, zone, 4, AS_OF)
    with database.engine.connect() as connection:
        rows = {name: SparkRows(live_rows(connection, table_named(name), window)) for name in FACTS}
    with SparkEngine(None, Parameters(window), place, rows) as engine:
        for name, metric in STATS.items():
            found = engine.fetch(metric.rows(engine.tables, window))
            stored = [row for row in cells(database.engine, name) if row[metric.day] in days]
            assert as_texts(found) == as_texts([{c: row[c] for c in found[0]} for row in stored]), name


def as_texts(rows: list[dict[str, Any]]) -> list[str]:
    def plain(value: Any) -> str:
        return str(value.astimezone(UTC) if isinstance(value, datetime) else value)

    return sorted(repr(sorted((name, plain(value)) for name, value in row.items())) for row in rows)


def test_without_a_lake_the_live_rows_are_sent(database: Database, sail: Sail) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    rolled_up_on_spark(database, SparkPlace(sail.remote), DayRange(DAY, DAY), "UTC", metrics=SMALL)


def test_a_window_without_any_event_is_empty_on_spark_too(database: Database, sail: Sail) -> None:
    rolled_up_on_spark(database, SparkPlace(sail.remote), DayRange(DAY, DAY), "UTC", metrics=SMALL)
