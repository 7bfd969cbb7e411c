"""A small table holds what was given, whatever the texts look like, and importing it takes no pandas."""

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from smarttext_pipelines.engines.small_table import small_table

TYPES = {
    "text": pa.string(),
    "count": pa.int64(),
    "share": pa.decimal128(38, 6),
    "is_final": pa.bool_(),
    "day": pa.date32(),
    "at": pa.timestamp("us", tz="UTC"),
}
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["", " ", "NULL", "NaN", '"', '""', "a,b", "\n", "\r\n", "true", "1"]),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXTS,
    "count": st.integers(-(2**63), 2**63 - 1),
    "share": st.decimals(-(10**20), 10**20, places=6),
    "is_final": st.booleans(),
    "day": st.dates(),
    "at": st.datetimes(timezones=st.just(UTC)),
}
ROWS = st.lists(st.tuples(*(st.none() | VALUES[name] for name in TYPES)), max_size=5)
EXTREMES = (
    "\x00",
    2**63 - 1,
    Decimal("-0.000001"),
    False,
    date(1, 1, 1),
    datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
)


@given(rows=ROWS)
@example(rows=[EXTREMES, (None,) * len(TYPES)])
def test_each_value_is_what_it_was(rows: list[tuple[Any, ...]]) -> None:
    found = small_table(TYPES, rows)
    assert found.schema == pa.schema(TYPES)
    assert [tuple(row.values()) for row in found.to_pylist()] == rows


@given(texts=st.lists(st.none() | TEXTS, max_size=4))
def test_one_column_is_no_different(texts: list[str | None]) -> None:
    assert small_table({"text": pa.string()}, ([text] for text in texts))["text"].to_pylist() == texts


def test_the_parameters_of_a_statement_are_made_without_pandas() -> None:
    program = """
import sys
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo
from smarttext_pipelines.alerting.rules import rule_tables
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import Parameters
from smarttext_pipelines.engines.unbound import unbound_parameter
from smarttext_pipelines.metrics import Window
day = date(2026, 6, 15)
window = Window(DayRange(day, day), ZoneInfo("UTC"), 4, datetime(2026, 7, 1, tzinfo=UTC))
for senders in ([], ["+1"]):
    for name, rows in Parameters(window, senders).tables.items():
        unbound_parameter(name, rows)
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
