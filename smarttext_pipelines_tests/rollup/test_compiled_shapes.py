"""A statement of a shape that was compiled before is the statement that compiling it by itself gives."""

import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import ibis.expr.operations as ops
import ibis.expr.types as ir
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smarttext_pipelines.alerting.measuring import measure, now, recent_texts
from smarttext_pipelines.alerting.measuring.now import Place, recent_window
from smarttext_pipelines.alerting.metrics import missed_calls, owner_alert_failures
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import ArchiveEngine, compiled
from smarttext_pipelines.engines.engine import Parameters
from smarttext_pipelines.engines.postgres import PostgresEngine
from smarttext_pipelines.engines.unbound import unbound_parameter, unbound_table
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.metrics.usual_window import moved
from smarttext_pipelines.schema.tables import metadata
from smarttext_pipelines_tests.conftest import SOAK, soak_cases
from smarttext_pipelines_tests.events import CUSTOMER_SECRET

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Africa/Casablanca", "America/Santiago")
READ_AT = datetime(2026, 6, 1, 7, 30, 1, 5, tzinfo=UTC)
PARTS = [
    (name, part) for name, metric in METRICS.items() for part in ("rows", "source_totals", "repeated")
    if getattr(metric, part)
]  # fmt: skip
SQL = pytest.mark.parametrize("sql", [PostgresEngine.sql, ArchiveEngine.sql])
NAMES = soak_cases(METRICS, short=("sms_outcomes", "spend", "daily_stats"))


@pytest.fixture(autouse=True)
def _kept_by_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "find_kept", lambda _: None)


def _window(first: date, zone: str = "America/New_York", days: int = 1, read_at: datetime = READ_AT) -> Window:
    return Window(DayRange(first, first + timedelta(days=days - 1)), ZoneInfo(zone), 4, read_at)


@cache
def _tables() -> dict[str, ir.Table]:
    tables = {table.name: unbound_table(table) for table in metadata.tables.values()}
    parameters = Parameters(_window(date(2026, 3, 8)), customer_secret=CUSTOMER_SECRET).tables
    return tables | {key: unbound_parameter(key, rows) for key, rows in parameters.items()}


def _built(name: str, part: str, window: Window) -> ir.Table:
    """Return the expression that is built for the window itself."""
    built: ir.Table = getattr(METRICS[name], part).__wrapped__(_tables(), window)
    return built


def _bare(sql: str) -> str:
    return re.sub(r"\s+", "", sql)


@given(
    first=st.dates(date(2025, 1, 5), date(2026, 12, 1)),
    days=st.sampled_from((1, 1, 2, 3, 31, 400)),
    zone=st.sampled_from(ZONES),
    settle_days=st.sampled_from((4, 30)),
    read_at=st.integers(0, 10**14).map(lambda at: READ_AT + timedelta(microseconds=at)),
    reply_minutes=st.sampled_from((5, 90)),
    usage_by_time=st.booleans(),
)
@example(  # The day before has 23 hours.
    first=date(2026, 3, 9), days=1, zone="America/New_York", settle_days=4, read_at=READ_AT, reply_minutes=5,
    usage_by_time=False,
)  # fmt: skip
@settings(max_examples=200 if SOAK else 4)
@pytest.mark.parametrize(("name", "part"), PARTS)
def test_an_expression_of_the_usual_window_becomes_that_of_any(name: str, part: str, **values: Any) -> None:
    days = DayRange(values["first"], values["first"] + timedelta(days=values["days"] - 1))
    window = Window(
        days,
        ZoneInfo(values["zone"]),
        values["settle_days"],
        values["read_at"],
        reply_minutes=values["reply_minutes"],
        usage_by_time=values["usage_by_time"],
    )
    _check_moved(getattr(METRICS[name], part), window)


def _check_moved(build: Any, window: Window) -> None:
    op = build(_tables(), window).usual.op()
    times = {each: ops.Literal(moved(each.value, window), each.dtype) for each in compiled._times(op)}
    zones = {each: ops.Literal(str(window.zone), each.dtype) for each in compiled._zones(op)}
    assert op.replace({**times, **zones}) == build.__wrapped__(_tables(), window).op()


@given(read_at=st.integers(0, 10**14).map(lambda at: READ_AT + timedelta(microseconds=at)), zone=st.sampled_from(ZONES))
@settings(max_examples=100 if SOAK else 3)
@pytest.mark.parametrize(
    "build",
    [
        now._over_each(missed_calls._counted, (60, 1440)),
        now._over_each(owner_alert_failures._counted, (5,)),
        recent_texts._attempted,
        measure.repeated,
    ],
    ids=["calls", "owner alerts", "texts", "repeated"],
)
def test_an_expression_of_the_minutes_before_one_time_becomes_that_before_any(
    build: Any, read_at: datetime, zone: str
) -> None:
    place = Place(ZoneInfo(zone), 4)
    for length in (timedelta(minutes=5, microseconds=3), timedelta(days=14)):
        _check_moved(build, recent_window(place, read_at, length))


@SQL
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("days", [1, 3])
def test_a_statement_of_a_shape_is_the_one_that_its_own_expression_gives(
    name: str, days: int, sql: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [_window(date(2026, 3, 7) + timedelta(days=at), ZONES[at], days) for at in (1, 2)]
    kept = [_bare(sql(METRICS[name].rows(_tables(), window))) for window in windows]
    shapes = dict(compiled._shapes)
    assert [_bare(sql(METRICS[name].rows(_tables(), window))) for window in windows] == kept
    assert compiled._shapes == shapes, "compiled once"
    monkeypatch.setattr(compiled, "_times", lambda _: [])
    monkeypatch.setattr(compiled, "_zones", lambda _: [])
    monkeypatch.setattr(compiled, "_shapes", {})
    monkeypatch.setattr(compiled, "_latest", {})
    assert [_bare(sql(_built(name, "rows", window))) for window in windows] == kept
    assert kept[0] != kept[1]


@SQL
@pytest.mark.parametrize("name", ["sms_outcomes", "spend"])
def test_the_times_and_zone_of_another_expression_are_put_into_the_same_text(
    name: str, sql: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_shapes", {})
    windows = [_window(date(2026, 3, 8) + timedelta(days=50 * at), ZONES[at], 3) for at in range(2)]
    kept = [_bare(sql(_built(name, "rows", window))) for window in windows]
    assert len(compiled._shapes) == 1, "compiled once"
    assert not compiled._LEFT.search("".join(kept))
    monkeypatch.setattr(compiled, "_times", lambda _: [])
    monkeypatch.setattr(compiled, "_zones", lambda _: [])
    monkeypatch.setattr(compiled, "_latest", {})
    assert [_bare(sql(_built(name, "rows", window))) for window in windows] == kept


def test_a_statement_that_is_not_kept_is_the_same_but_for_line_breaks_and_leaves_nothing_behind() -> None:
    rows = _built("missed_call_replies", "rows", _window(date(2026, 3, 8), "UTC"))
    compiled._latest.clear()
    before = len(compiled._shapes)
    once = PostgresEngine.sql(rows, is_kept=False)
    assert len(compiled._shapes) == before
    compiled._latest.clear()
    assert _bare(once) == _bare(PostgresEngine.sql(rows))


def test_a_time_of_the_usual_window_that_cannot_be_marked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_shapes", {})
    monkeypatch.setattr(compiled, "_times", lambda _: [])
    with pytest.raises(ValueError, match="of the usual window in an unexpected form"):
        PostgresEngine.sql(METRICS["spend"].rows(_tables(), _window(date(2026, 3, 8))))


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
