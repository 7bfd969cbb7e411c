"""Every column of daily_stats follows from a fact: what nobody computes, means or explains is named here."""

from datetime import UTC, date, datetime
from typing import get_args, get_type_hints

import pytest

from smarttext_pipelines.explain.column import explain_column, window_of
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines_tests import reference
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.reference import UTC_ZONE

DAY = date(2026, 3, 10)
DERIVED = {"calls_answered", "data_through", "is_final"}
"""Columns that follow from others of the row, or from when it was read."""

UPPER_ESTIMATES = {"unpriced_cost_upper_usd"}
"""Of a dated table of prices, which the reference does not repeat."""

KEPT = {"id", "updated_at"}
SUMMED = {column: name for name, metric in METRICS.items() for column in metric.daily}


def test_every_column_of_daily_stats_is_summed_from_one_fact() -> None:
    columns = {column.name for column in table_named("daily_stats").columns}
    columns -= KEPT | DERIVED | set(METRICS["daily_stats"].dimensions)
    assert columns - set(SUMMED) == set(), "in the table, but in no fact's DAILY"
    assert set(SUMMED) - columns == set(), "in a fact's DAILY, but not in the table"
    assert len(SUMMED) == sum(len(metric.daily) for metric in METRICS.values()), "two facts claim one column"


@pytest.mark.parametrize("name", METRICS)
def test_every_column_of_a_table_has_a_meaning(name: str) -> None:
    silent = [column.name for column in table_named(name).columns if not column.comment and column.name != "id"]
    assert not silent, f"{name}: say what these mean: {silent}"


@pytest.mark.parametrize("name", METRICS)
def test_every_fact_has_a_reference(name: str) -> None:
    assert hasattr(reference, name), f"write reference.{name}: the definition in plain Python"


@pytest.mark.parametrize("column", sorted(SUMMED))
def test_every_column_of_daily_stats_is_explained(column: str, database: Database) -> None:
    window = window_of(DAY, UTC_ZONE, 4, datetime(2026, 4, 1, tzinfo=UTC), 5)
    with database.engine.connect() as connection:
        assert explain_column(connection, column, None, window) == []


@pytest.mark.parametrize(
    "name",
    ["sms_outcomes", "spend", "call_volume", "missed_call_replies", "owner_alert_delivery", "customer_days"],
)
def test_the_reference_names_its_values_as_the_table_of_the_fact_does(name: str) -> None:
    key, values = get_args(get_type_hints(getattr(reference, name))["return"])
    columns = {column.name for column in table_named(name).columns}
    assert ("day", *getattr(key, "_fields", ("business_id",))) == METRICS[name].dimensions
    measures = columns - {*METRICS[name].dimensions, "id", "updated_at"} - UPPER_ESTIMATES
    assert set(values._fields) == measures, f"reference.{values.__name__} lacks a column of {name}, or has one too many"
