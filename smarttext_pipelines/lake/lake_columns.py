"""What a file of the lake holds of a row: the columns that metrics read, as every engine can hold them.

No payload and no text of a message is among them. Integers have 64 bits, whatever the table has.
"""

from collections.abc import Mapping
from typing import Any

from psycopg import sql
from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, Numeric, Uuid
from sqlalchemy import Column as TableColumn

from smarttext_pipelines.archive.columns import Column, Shape
from smarttext_pipelines.core.wording import quoted
from smarttext_pipelines.schema.sources import source_schema
from smarttext_pipelines.schema.sources.bounded import bounded
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines.schema.tables.source_tables import READ_COLUMNS

_KINDS: tuple[tuple[type[Any], str], ...] = (
    (Uuid, "uuid"),
    (DateTime, "timestamp with time zone"),
    (Date, "date"),
    (BigInteger, "bigint"),
    (Integer, "bigint"),
    (Boolean, "boolean"),
)
_NO_DAY = sql.SQL("coalesce({}, CASE WHEN t.reset_date IS NOT NULL THEN date '9999-12-31' END)")
"""A date that only PostgreSQL holds stays one that no day has, and is not taken for a missing one."""


def lake_shape(table: str) -> Shape:
    """Return the columns of the files of a table."""
    return Shape(table, tuple(Column(c.name, _kind(c)) for c in _columns(table)))


def select_rows(table: str, condition: sql.Composable) -> str:
    """Return the statement that reads rows ``t`` of a table as its files hold them."""
    fields = [sql.SQL("{} AS {}").format(_read(table, c), sql.Identifier(c.name)) for c in _columns(table)]
    query = sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(sql.SQL(", ").join(fields), source(table), condition)
    return query.as_string(None)


def source(table: str) -> sql.Composable:
    """Return the relation that the pipeline reads in the place of a table."""
    declared = table_named(table)
    return sql.Identifier(str(source_schema(table, declared.schema)), table)


def held(table: str, name: str) -> sql.Composable:
    """Return a column of a row ``t`` as a file holds it."""
    return bounded(table_named(table).columns[name])


def of_archive(column: Column, stored: Mapping[str, str]) -> str:
    """Return, for DuckDB, a column of the lake from a file of the archive.

    Args:
        column: The column.
        stored: Types of the file's columns by name; a file may be older than a column.
    """
    name = quoted(column.name)
    if column.name not in stored:
        return f"NULL AS {name}"
    if column.kind == "timestamp with time zone" and stored[column.name] == "VARCHAR":
        return f"TRY_CAST({name} AS TIMESTAMP) AT TIME ZONE 'UTC' AS {name}"
    kinds = {"uuid": "VARCHAR", "text": "VARCHAR", "timestamp with time zone": "TIMESTAMPTZ"}
    kind = kinds.get(column.kind, column.kind.replace("numeric", "decimal"))
    return f"TRY_CAST({name} AS {kind}) AS {name}"


def _columns(table: str) -> list[TableColumn[Any]]:
    declared = table_named(table)
    return [declared.columns[name] for name in READ_COLUMNS[table]]


def _kind(column: TableColumn[Any]) -> str:
    if isinstance(column.type, Numeric):
        return f"numeric(38,{column.type.scale})"
    return next((kind for type_, kind in _KINDS if isinstance(column.type, type_)), "text")


def _read(table: str, column: TableColumn[Any]) -> sql.Composable:
    if (table, column.name) == ("api_usage", "reset_date"):
        return _NO_DAY.format(bounded(column))
    return sql.SQL("{}::text").format(bounded(column)) if isinstance(column.type, Uuid) else bounded(column)
