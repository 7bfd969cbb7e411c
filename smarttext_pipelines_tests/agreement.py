"""Requires that what is grouped by keys is what the reference says: as a range, day by day, and on DuckDB."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import ArchiveEngine, Parameters, add_repeated_keys
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines_tests import reference
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all, write_parquet
from smarttext_pipelines_tests.strategies import Events, Row

ZONE = ZoneInfo("UTC")
DAY = date(2026, 3, 10)
DAYS = DayRange(DAY - timedelta(days=1), DAY + timedelta(days=1))
AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
KEYED = ("sms_outcomes", "call_volume", "missed_call_replies")


def _told(name: str, found: Events, days: DayRange) -> dict[Any, Any]:
    """Return what the reference says of days, cell by cell."""
    told: dict[Any, Any] = {}
    for day in days:
        for key, value in getattr(reference, name)(found, day, zone=ZONE, as_of=AS_OF).items():
            told[(day, *(key if isinstance(key, tuple) else (key,)))] = tuple(value)
    return told


def _measures(name: str) -> list[str]:
    measures = [c for parts in METRICS[name].totals.values() for c in parts]
    if name == "missed_call_replies":
        measures = [*measures, "wait_p50_ms", "wait_p95_ms", "reply_minutes"]
    elif name == "call_volume":
        measures = ["calls_total", "calls_missed", "messages_received"]
    return measures


def _shaped(name: str, rows: list[Row]) -> dict[Any, Any]:
    names = METRICS[name].dimensions
    return {tuple(_plain(row[n]) for n in names): tuple(row[m] for m in _measures(name)) for row in rows}


def differing_cells(name: str, found: dict[Any, Any], expected: dict[Any, Any]) -> list[str]:
    """Return each cell of a fact that differs: ``fact, dimensions, column: expected X, got Y``."""
    lines = []
    for key in sorted({*found, *expected}, key=str):
        where = ", ".join(f"{d} {part}" for d, part in zip(METRICS[name].dimensions, key, strict=True))
        wanted, got = expected.get(key), found.get(key)
        if wanted is None or got is None:
            lines.append(f"{name}, {where}: expected {wanted or 'no row'}, got {got or 'no row'}")
            continue
        cells_of_row = zip(_measures(name), wanted, got, strict=True)
        lines += [f"{name}, {where}, {column}: expected {x}, got {y}" for column, x, y in cells_of_row if x != y]
    return lines


def _require_same(name: str, found: dict[Any, Any], expected: dict[Any, Any], where: str) -> None:
    lines = differing_cells(name, found, expected)
    assert not lines, "\n".join([*lines, where])


def _plain(value: Any) -> Any:
    return str(value) if value is not None and not isinstance(value, date | str) else value


def _as_text(told: dict[Any, Any]) -> dict[Any, Any]:
    return {tuple(_plain(part) for part in key): value for key, value in told.items()}


def require_agreement(database: Database, found: Events, folder: Path, days: DayRange = DAYS) -> None:
    """Require that a range, its days and DuckDB give what the reference gives."""
    facts = {name: METRICS[name] for name in KEYED}
    expected = {name: _as_text(_told(name, found, days)) for name in KEYED}
    ranges: list[list[DayRange]] = [[days], [DayRange(day, day) for day in days]]
    for parts in ranges:
        replace_events(database.engine, found)
        for part in parts:
            roll_up_all(database.engine, part, metrics=facts, as_of=AS_OF)
        for name in KEYED:
            _require_same(name, _shaped(name, cells(database.engine, name)), expected[name], f"{len(parts)} parts")
    files = write_parquet(found, folder)
    for part in [days, DayRange(DAY, DAY)]:
        window = Window(part, ZONE, 4, AS_OF)
        for name, metric in facts.items():
            with ArchiveEngine(None, Parameters(window), files) as engine:
                assert metric.repeated is not None
                add_repeated_keys(engine, [metric.repeated(engine.tables, window)])
                rows = engine.fetch(metric.rows(engine.tables, window))
            within = {key: value for key, value in expected[name].items() if key[0] in part}
            _require_same(name, _shaped(name, rows), within, f"DuckDB, {part}")
