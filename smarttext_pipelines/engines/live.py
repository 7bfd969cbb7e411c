"""Live rows near a window as Arrow, read in the caller's transaction: what the archive or the lake is merged with."""

from collections.abc import Collection
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis.expr.datatypes as dt
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import sql
from sqlalchemy import Column, Connection, Table

from smarttext_pipelines.core.days import FIRST_INSTANT, LAST_INSTANT
from smarttext_pipelines.engines.near_files import archive_days
from smarttext_pipelines.engines.unbound import ibis_type
from smarttext_pipelines.lake.lake_days import days_besides
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.schema.sources import source_columns, source_schema
from smarttext_pipelines.schema.sources.bounded import bounded

_BLOCK_BYTES = 16 << 20


def live_rows(connection: Connection, table: Table, window: Window, without: Collection[date] = ()) -> pa.Table:
    """Return the rows of the window and its neighbours; of a table that has no days, all.

    Values that every metric treats like NULL become NULL: NaN, and times that Python cannot represent.

    Args:
        connection: The transaction that reads.
        table: Table of the schema.
        window: The days.
        without: Days of the lake whose rows are read from there.
    """
    columns = [c for c in source_columns(table) if ibis_type(c.type)]
    source = sql.Identifier(str(source_schema(table.name, table.schema)), table.name)
    conditions = [_near(table, window), *([days_besides(table.name, archive_days(window), without)] if without else [])]
    query = sql.SQL("COPY (SELECT {} FROM {} AS t WHERE {}) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(map(_told, columns)), source, sql.SQL(" AND ").join(conditions)
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
    kind, held = ibis_type(column.type), bounded(column)
    if isinstance(kind, dt.Timestamp):
        return sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint").format(held)
    return sql.SQL("{}::text").format(held) if kind is not None and kind.is_boolean() else held


def _near(table: Table, window: Window) -> sql.Composable:
    if table.name not in SOURCE_TIMES:
        return sql.SQL("true")
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
        "(reset_date BETWEEN {} AND {} AND ({by_time}) IS NOT TRUE OR (reset_date IS NULL OR {by_time}) AND {})"
    ).format(
        sql.Literal(days.first.isoformat()),
        sql.Literal(days.last.isoformat()),
        timed,
        by_time=is_timed if window.usage_by_time else sql.SQL("false"),
    )
