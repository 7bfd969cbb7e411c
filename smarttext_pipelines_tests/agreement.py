"""Requires that what is grouped by keys is what the reference says: as a range, day by day, and on DuckDB."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints
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


Cells = dict[tuple[Any, ...], dict[str, Any]]
"""For the dimensions of each row, its values by the name of their column."""


def expected_cells(name: str, found: Events, days: DayRange, **terms: Any) -> Cells:
    """Return what the reference says of a fact on days."""
    expected: Cells = {}
    for day in days:
        for key, values in getattr(reference, name)(found, day, **terms).items():
            dimensions = (day, *(key if isinstance(key, tuple) else (key,)))
            expected[tuple(_plain(part) for part in dimensions)] = values._asdict()
    return expected


def cells_of(name: str, rows: list[Row]) -> Cells:
    """Return the rows of a fact's table with the columns that the reference has."""
    (_, values) = get_args(get_type_hints(getattr(reference, name))["return"])
    dimensions = METRICS[name].dimensions
    return {tuple(_plain(row[d]) for d in dimensions): {c: row[c] for c in values._fields} for row in rows}


def differing_cells(name: str, found: Cells, expected: Cells) -> list[str]:
    """Return each cell of a fact that differs: ``fact, dimensions, column: expected X, got Y``."""
    lines = []
    for key in sorted({*found, *expected}, key=str):
        where = ", ".join(f"{d} {part}" for d, part in zip(METRICS[name].dimensions, key, strict=True))
        wanted, got = expected.get(key), found.get(key)
        if wanted is None or got is None:
            lines.append(f"{name}, {where}: expected {wanted or 'no row'}, got {got or 'no row'}")
            continue
        lines += [f"{name}, {where}, {c}: expected {x}, got {got[c]}" for c, x in wanted.items() if x != got[c]]
    return lines


def require_same(name: str, found: Cells, expected: Cells, where: str = "") -> None:
    """Require equal cells; else say first which differ."""
    lines = differing_cells(name, found, expected)
    assert not lines, "\n".join([*lines, where])


def _plain(value: Any) -> Any:
    return str(value) if value is not None and not isinstance(value, date | str) else value


def require_agreement(database: Database, found: Events, folder: Path, days: DayRange = DAYS) -> None:
    """Require that a range, its days and DuckDB give what the reference gives."""
    facts = {name: METRICS[name] for name in KEYED}
    expected = {name: expected_cells(name, found, days, zone=ZONE, as_of=AS_OF) for name in KEYED}
    ranges: list[list[DayRange]] = [[days], [DayRange(day, day) for day in days]]
    for parts in ranges:
        replace_events(database.engine, found)
        for part in parts:
            roll_up_all(database.engine, part, metrics=facts, as_of=AS_OF)
        for name in KEYED:
            require_same(name, cells_of(name, cells(database.engine, name)), expected[name], f"{len(parts)} parts")
    files = write_parquet(found, folder)
    for part in [days, DayRange(DAY, DAY)]:
        window = Window(part, ZONE, 4, AS_OF)
        for name, metric in facts.items():
            with ArchiveEngine(None, Parameters(window), files) as engine:
                assert metric.repeated is not None
                add_repeated_keys(engine, [metric.repeated(engine.tables, window)])
                rows = engine.fetch(metric.rows(engine.tables, window))
            within = {key: value for key, value in expected[name].items() if key[0] in part}
            require_same(name, cells_of(name, rows), within, f"DuckDB, {part}")
