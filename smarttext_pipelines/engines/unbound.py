"""The tables of the schema as unbound Ibis tables, which a metric builds its expression over."""

from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, Numeric, Table, Text, Uuid
from sqlalchemy.types import TypeEngine

from smarttext_pipelines.schema.sources import source_columns, source_schema

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES: tuple[tuple[type[Any], dt.DataType], ...] = (
    (Uuid, dt.uuid),
    (Text, dt.string),
    (DateTime, dt.Timestamp(timezone="UTC")),
    (Date, dt.date),
    (BigInteger, dt.int64),
    (Integer, dt.int32),
    (Boolean, dt.boolean),
)


def ibis_type(type_: TypeEngine[object]) -> dt.DataType | None:
    """Return the Ibis type of a column, or None for one that no metric may read (jsonb)."""
    if isinstance(type_, Numeric):
        return dt.Decimal(type_.precision, type_.scale)
    return next((target for kind, target in _TYPES if isinstance(type_, kind)), None)


def unbound_table(table: Table) -> ir.Table:
    """Return a table of the schema as an unbound Ibis table."""
    types = {c.name: ibis_type(c.type) for c in source_columns(table)}
    schema = source_schema(table.name, table.schema)
    return ibis.table({name: kind for name, kind in types.items() if kind}, name=table.name, database=schema)


def unbound_parameter(name: str, rows: "pa.Table") -> ir.Table:
    """Return a parameter table, a temporary table of the session, as an unbound Ibis table."""
    return ibis.table(ibis.Schema.from_pyarrow(rows.schema), name=name)
