"""A statement of a shape that was compiled before is the statement that compiling it by itself gives."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import compiled
from smarttext_pipelines.engines.engine import Parameters
from smarttext_pipelines.engines.postgres import PostgresEngine
from smarttext_pipelines.engines.unbound import unbound_parameter, unbound_table
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.schema.tables import metadata
from smarttext_pipelines_tests.events import CUSTOMER_SECRET


def _statement(name: str, first: date) -> str:
    window = Window(
        DayRange(first, first), ZoneInfo("America/New_York"), 4, datetime(2026, 6, 1, 7, 30, 1, 5, tzinfo=UTC)
    )
    tables = {table.name: unbound_table(table) for table in metadata.tables.values()}
    tables |= {
        key: unbound_parameter(key, rows)
        for key, rows in Parameters(window, customer_secret=CUSTOMER_SECRET).tables.items()
    }
    return re.sub(r"\s+", "", PostgresEngine.sql(METRICS[name].rows(tables, window)))


@pytest.mark.parametrize("name", ["sms_outcomes", "spend", "missed_call_replies"])
def test_the_times_of_another_window_are_put_into_the_same_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2026, 3, 8), date(2026, 3, 8) + timedelta(days=50)]
    for day in days:
        _statement(name, day)
    before = len(compiled._statements)
    kept = [_statement(name, day) for day in days]
    assert len(compiled._statements) == before, "compiled once"
    monkeypatch.setattr(compiled, "_times", lambda _: [])
    monkeypatch.setattr(compiled, "_latest", {})
    assert [_statement(name, day) for day in days] == kept
    assert "9100" not in "".join(kept)
    assert kept[0] != kept[1]


def test_a_statement_that_is_not_kept_is_the_same_but_for_line_breaks_and_leaves_nothing_behind() -> None:
    window = Window(DayRange(date(2026, 3, 8), date(2026, 3, 8)), ZoneInfo("UTC"), 4, datetime(2026, 6, 1, tzinfo=UTC))
    tables = {table.name: unbound_table(table) for table in metadata.tables.values()}
    tables |= {
        key: unbound_parameter(key, rows)
        for key, rows in Parameters(window, customer_secret=CUSTOMER_SECRET).tables.items()
    }
    rows = METRICS["missed_call_replies"].rows(tables, window)
    compiled._latest.clear()
    before = len(compiled._statements)
    once = PostgresEngine.sql(rows, is_kept=False)
    assert len(compiled._statements) == before
    compiled._latest.clear()
    bare = (re.sub(r"\s+", "", sql) for sql in (once, PostgresEngine.sql(rows)))
    assert next(bare) == next(bare)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("part", ["rows", "source_totals", "repeated"])
def test_the_time_of_reading_occurs_only_where_it_is_declared(name: str, part: str) -> None:
    """Else an expression that was built at another time would be used."""
    built = getattr(METRICS[name], part)
    if built is None:
        return
    days = DayRange(date(2026, 3, 8), date(2026, 3, 9))
    early, late = (Window(days, ZoneInfo("UTC"), 4, datetime(2026, 6, n, tzinfo=UTC)) for n in (1, 2))
    tables = {table.name: unbound_table(table) for table in metadata.tables.values()}
    tables |= {
        key: unbound_parameter(key, rows)
        for key, rows in Parameters(early, customer_secret=CUSTOMER_SECRET).tables.items()
    }
    is_same = built.__wrapped__(tables, early).op() == built.__wrapped__(tables, late).op()
    assert is_same is not (METRICS[name].reads_clock and part == "rows")
    assert (built(tables, early).op() == built(tables, late).op()) is is_same


def test_threads_that_compile_at_once_keep_what_they_may_and_no_more() -> None:
    kept: dict[Any, str] = {}
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            ranges = [range(at, at + 3000) for at in range(0, 18_000, 3000)]
            for done in [pool.submit(lambda r: [compiled._keep(kept, n, "x", 64) for n in r], each) for each in ranges]:
                done.result()
    finally:
        sys.setswitchinterval(switching)
    assert len(kept) <= 64
