"""The pipeline agrees with the slow reference, cell by cell, on both engines, in every zone."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import ArchiveEngine, Parameters, add_repeated_keys
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines_tests import reference, strategies
from smarttext_pipelines_tests.agreement import cells_of, expected_cells, require_same
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, cells, replace_events, roll_up_all, write_parquet

SETTLE = 4
CASES = [
    ("UTC", date(2026, 3, 15)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Asia/Kolkata", date(2026, 5, 10)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
]
ADOPTED = [
    ("Asia/Tokyo", date(2026, 3, 15), "UTC"),
    ("America/Los_Angeles", date(2026, 3, 8), "UTC"),
    ("UTC", date(2026, 3, 15), "UTC"),
    ("Asia/Tokyo", date(2026, 3, 15), "Asia/Tokyo"),
]
"""Zones, days, and the zone whose days an adopted ``api_usage`` was found to hold."""
FACTS = tuple(name for name, metric in METRICS.items() if metric.source)


def _require_expected(
    name: str, rows: list[dict[str, Any]], events: Any, days: DayRange, zone: ZoneInfo, as_of: datetime, by_time: bool
) -> None:
    terms: dict[str, Any] = {
        "zone": zone,
        "settle_days": SETTLE,
        "shared_senders": strategies.SHARED_SENDERS,
        "as_of": as_of,
        **({"usage_by_time": by_time} if name in ("spend", "daily_stats", "customer_days") else {}),
        **({"secret": CUSTOMER_SECRET} if name == "customer_days" else {}),
    }
    if name in FACTS:
        require_same(name, cells_of(name, rows), expected_cells(name, events, days, **terms))
        return
    found = {(row["date"], row["business_id"]): row for row in rows}
    read = getattr(reference, name)
    assert found == {(day, key): row for day in days for key, row in read(events, day, **terms).items()}, name


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(sorted((k, _plain(v)) for k, v in row.items())) for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return str(value) if isinstance(value, UUID) else value


def _on_duckdb(events: Any, window: Window, folder: Path) -> dict[str, list[dict[str, Any]]]:
    files = write_parquet(events, folder)
    parameters = Parameters(window, sorted(strategies.SHARED_SENDERS), customer_secret=CUSTOMER_SECRET)
    results = {}
    for name, metric in METRICS.items():
        engine = ArchiveEngine(None, parameters, files)
        add_repeated_keys(engine, [metric.repeated(engine.tables, window)] if metric.repeated else [])
        rows = engine.arrow(metric.rows(engine.tables, window))
        results[name] = rows.to_pylist()
        if metric.source:
            files[name] = [folder / f"{name}.parquet"]
            pq.write_table(rows, files[name][0])
    return results


@pytest.mark.parametrize(("zone_name", "centre", "dates"), [*((*case, None) for case in CASES), *ADOPTED])
def test_every_cell_is_what_the_contract_defines(
    database: Database, tmp_path: Path, zone_name: str, centre: date, dates: str | None
) -> None:
    zone, by_time = ZoneInfo(zone_name), dates not in (None, zone_name)
    database.run("UPDATE monitoring.installation SET reset_date_zone = %s", dates)
    days = DayRange(centre, centre).widen(strategies.DAYS_AROUND + SETTLE)

    @settings(max_examples=100 if SOAK else 2)
    @given(
        events=strategies.event_sets(zone, centre),
        session_zone=st.sampled_from(["UTC", "Pacific/Kiritimati", "America/St_Johns"]),
        as_of=st.sampled_from(
            [datetime(2026, 11, 20, 7, tzinfo=UTC), datetime.combine(centre, datetime.min.time(), UTC)]
        ),
    )
    def agrees(events: Any, session_zone: str, as_of: datetime) -> None:
        database.run(f"ALTER DATABASE {database.name} SET timezone = '{session_zone}'")
        replace_events(database.engine, events)
        roll_up_all(
            database.engine, days, zone=zone_name, shared_senders=sorted(strategies.SHARED_SENDERS), as_of=as_of
        )
        window = Window(days=days, zone=zone, settle_days=SETTLE, as_of=as_of, usage_by_time=by_time)
        on_duckdb = _on_duckdb(events, window, tmp_path)
        for name in METRICS:
            rows = cells(database.engine, name)
            _require_expected(name, rows, events, days, zone, as_of, by_time)
            assert _sorted(on_duckdb[name]) == _sorted(rows), name

    agrees()


@pytest.mark.parametrize(("zone_name", "centre", "dates"), [*((*case, None) for case in CASES[1:5:2]), ADOPTED[1]])
def test_a_range_gives_what_its_days_give_one_by_one(
    database: Database, zone_name: str, centre: date, dates: str | None
) -> None:
    zone = ZoneInfo(zone_name)
    database.run("UPDATE monitoring.installation SET reset_date_zone = %s", dates)
    days = DayRange(centre, centre).widen(3)
    facts = {name: metric for name, metric in METRICS.items() if metric.source}

    def all_cells(*ranges: DayRange) -> dict[str, list[dict[str, Any]]]:
        for part in ranges:
            roll_up_all(database.engine, part, zone=zone_name, metrics=facts)
        return {name: cells(database.engine, name) for name in facts}

    @settings(max_examples=100 if SOAK else 2)
    @given(events=strategies.event_sets(zone, centre, only_postgres_holds=True))
    def agrees(events: Any) -> None:
        replace_events(database.engine, events)
        in_one = all_cells(days)
        replace_events(database.engine, events)
        assert all_cells(*(DayRange(day, day) for day in days)) == in_one

    agrees()
