"""Live rows near a window as Arrow, read in the caller's transaction: what the archive is merged with."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis.expr.datatypes as dt
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import sql
from sqlalchemy import Column, Connection, Table

from smarttext_pipelines.core.days import FIRST_INSTANT, LAST_INSTANT
from smarttext_pipelines.engines.unbound import ibis_type
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.schema.sources import source_columns, source_schema

_BLOCK_BYTES = 16 << 20


def live_rows(connection: Connection, table: Table, window: Window) -> pa.Table:
    """Return the rows of the window and its neighbours; of a table that has no days, all.

    Values that every metric treats like NULL become NULL: NaN, and times that Python cannot represent.
    """
    columns = [c for c in source_columns(table) if ibis_type(c.type)]
    source = sql.Identifier(str(source_schema(table.name, table.schema)), table.name)
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(map(_told, columns)), source, _near(table, window)
    )
    with TemporaryDirectory(prefix="smarttext-") as folder:
        path = Path(folder) / "rows.csv"
        driver: Any = connection.connection.driver_connection
        with path.open("wb") as file, driver.cursor() as cursor, cursor.copy(query) as copy:
            for part in copy:
                file.write(part)
        return _read(path, columns)


def _read(path: Path, columns: list[Column[Any]]) -> pa.Table:
    kinds = {c.name: _arrow(c) for c in columns}
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


def _arrow(column: Column[Any]) -> pa.DataType:
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


def _near(table: Table, window: Window) -> sql.Composable:
    if table.name not in SOURCE_TIMES:
        return sql.SQL("")
    at = sql.Identifier(SOURCE_TIMES[table.name])
    bounds = (sql.Literal(window.search_start_at.isoformat()), sql.Literal(window.search_end_at.isoformat()))
    timed = sql.SQL("({} >= {} AND {} < {})").format(at, bounds[0], at, bounds[1])
    if table.name != "api_usage":
        return sql.SQL(" WHERE {}").format(timed)
    days = window.days.widen(window.settle_days)
    is_timed = sql.SQL("created_at >= {} AND created_at < {}").format(
        sql.Literal(FIRST_INSTANT.isoformat()), sql.Literal(LAST_INSTANT.isoformat())
    )
    return sql.SQL(
        " WHERE reset_date BETWEEN {} AND {} AND ({by_time}) IS NOT TRUE OR (reset_date IS NULL OR {by_time}) AND {}"
    ).format(
        sql.Literal(days.first.isoformat()),
        sql.Literal(days.last.isoformat()),
        timed,
        by_time=is_timed if window.usage_by_time else sql.SQL("false"),
    )
