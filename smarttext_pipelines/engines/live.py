"""Live rows near a window as Arrow, read in the caller's transaction: what the archive or the lake is merged with."""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis.expr.datatypes as dt
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import sql
from sqlalchemy import Column, Connection, Table

from smarttext_pipelines.core.days import FIRST_INSTANT, LAST_INSTANT, DayRange
from smarttext_pipelines.engines.engine import SourceDay
from smarttext_pipelines.engines.unbound import ibis_type
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.schema.sources import source_columns, source_schema

_BLOCK_BYTES = 16 << 20


def live_rows(connection: Connection, table: Table, window: Window, without: Collection[date] = ()) -> pa.Table:
    """Return the rows of the window and its neighbours; of a table that has no days, all.

    Values that every metric treats like NULL become NULL: NaN, and times that Python cannot represent.

    Args:
        connection: The transaction.
        table: Which rows.
        window: Near what.
        without: Days of the lake whose rows are left out.
    """
    columns = [c for c in source_columns(table) if ibis_type(c.type)]
    source = sql.Identifier(str(source_schema(table.name, table.schema)), table.name)
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(map(_told, columns)), source, _near(table, window, without)
    )
    with TemporaryDirectory(prefix="smarttext-") as folder:
        path = Path(folder) / "rows.csv"
        driver: Any = connection.connection.driver_connection
        with path.open("wb") as file, driver.cursor() as cursor, cursor.copy(query) as copy:
            for part in copy:
                file.write(part)
        return _read(path, columns)


def _read(path: Path, columns: list[Column[Any]]) -> pa.Table:
    kinds = {c.name: arrow_type(c) for c in columns}
    if not path.stat().st_size:
        return pa.schema(kinds).empty_table()
    as_written = {name: pa.int64() if pa.types.is_timestamp(kind) else kind for name, kind in kinds.items()}
    rows = pacsv.read_csv(
        path,
        pacsv.ReadOptions(column_names=list(kinds), block_size=_BLOCK_BYTES),
        pacsv.ParseOptions(newlines_in_values=True),
        pacsv.ConvertOptions(
            column_types=as_written, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    return rows.cast(pa.schema(kinds))


def arrow_type(column: Column[Any]) -> pa.DataType:
    """Return the type of a column in Arrow; a uuid is a text."""
    kind = ibis_type(column.type)
    if isinstance(kind, dt.Decimal):
        return pa.decimal128(38, kind.scale)
    if isinstance(kind, dt.Timestamp):
        return pa.timestamp("us", tz="UTC")
    found: pa.DataType = dt.string.to_pyarrow() if kind is None or kind.is_uuid() else kind.to_pyarrow()
    return found


def _told(column: Column[Any]) -> sql.Composable:
    name, kind = sql.Identifier(column.name), ibis_type(column.type)
    if isinstance(kind, dt.Decimal):
        return sql.SQL("CASE WHEN abs({0}) < 1e30 THEN round({0}, {1}) END").format(name, sql.Literal(kind.scale))
    if isinstance(kind, dt.Timestamp):
        within = (
            "CASE WHEN {0} BETWEEN '0001-01-02' AND '9999-12-30' THEN (extract(epoch FROM {0}) * 1000000)::bigint END"
        )
        return sql.SQL(within).format(name)
    if isinstance(kind, dt.Date):
        return sql.SQL("CASE WHEN {0} BETWEEN '0001-01-02' AND '9999-12-30' THEN {0} END").format(name)
    return sql.SQL("{}::text").format(name) if kind is not None and kind.is_boolean() else name


def held_days(connection: Connection, table: str, days: DayRange) -> dict[date, SourceDay]:
    """Return what the database holds of days of the lake; a row without a day is on none."""
    at, whole = sql.Identifier(SOURCE_TIMES[table]), (days.first, days.last + timedelta(days=1))
    bounds = [sql.Literal(datetime.combine(day, time.min, UTC).isoformat()) for day in whole]
    within = sql.SQL("{0} >= {1} AND {0} < {2}").format(at, *bounds)
    if table == "api_usage":
        dated = sql.SQL("reset_date BETWEEN {} AND {}").format(*(sql.Literal(f"{d}") for d in (days.first, days.last)))
        within = sql.SQL("{} OR reset_date IS NULL AND {}").format(dated, within)
    query = sql.SQL(
        "SELECT {day}, count(*), max({at}) FILTER (WHERE {at} BETWEEN '0001-01-02' AND '9999-12-30')"
        " FROM {table} WHERE {within} GROUP BY 1"
    ).format(day=_lake_day(table), at=at, table=sql.Identifier(*_place(table)), within=within)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        return {day: SourceDay(rows, newest) for day, rows, newest in cursor.execute(query)}


def _place(table: str) -> tuple[str, str]:
    return str(source_schema(table, None)), table


def _lake_day(table: str) -> sql.Composable:
    day = sql.SQL("({} AT TIME ZONE 'UTC')::date").format(sql.Identifier(SOURCE_TIMES[table]))
    return sql.SQL("coalesce(reset_date, {})").format(day) if table == "api_usage" else day


def _near(table: Table, window: Window, without: Collection[date]) -> sql.Composable:
    if table.name not in SOURCE_TIMES:
        return sql.SQL("")
    near = sql.SQL(" WHERE ({})").format(_within(table, window))
    if not without:
        return near
    days = sql.SQL(", ").join(sql.Literal(f"{day}") for day in sorted(without))
    return sql.SQL("{} AND ({} IN ({})) IS NOT TRUE").format(near, _lake_day(table.name), days)


def _within(table: Table, window: Window) -> sql.Composable:
    at = sql.Identifier(SOURCE_TIMES[table.name])
    bounds = (sql.Literal(window.search_start_at.isoformat()), sql.Literal(window.search_end_at.isoformat()))
    timed = sql.SQL("({} >= {} AND {} < {})").format(at, bounds[0], at, bounds[1])
    if table.name != "api_usage":
        return timed
    days = window.days.widen(window.settle_days)
    is_timed = sql.SQL("created_at >= {} AND created_at < {}").format(
        sql.Literal(FIRST_INSTANT.isoformat()), sql.Literal(LAST_INSTANT.isoformat())
    )
    return sql.SQL(
        "reset_date BETWEEN {} AND {} AND ({by_time}) IS NOT TRUE OR (reset_date IS NULL OR {by_time}) AND {}"
    ).format(
        sql.Literal(days.first.isoformat()),
        sql.Literal(days.last.isoformat()),
        timed,
        by_time=is_timed if window.usage_by_time else sql.SQL("false"),
    )
