"""Arrow into a temporary table of an open PostgreSQL transaction, through binary-safe COPY."""

import io
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
from sqlalchemy import Connection

from smarttext_pipelines.core.wording import quoted


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision}, {kind.scale})"
    names = {pa.date32(): "date", pa.bool_(): "boolean", pa.int32(): "integer", pa.int64(): "bigint"}
    if pa.types.is_timestamp(kind):
        return "timestamptz"
    return names.get(kind, "text")


def copy_into_temporary_table(
    connection: Connection, name: str, rows: pa.Table, *, uuids: Collection[str] = ()
) -> None:
    """Create the temporary table ``name`` with the rows; it is dropped when the transaction ends.

    Args:
        connection: The transaction.
        name: Name of the table.
        rows: What it holds.
        uuids: Text columns that are of type uuid there.
    """
    columns = ", ".join(
        f"{quoted(field.name)} {'uuid' if field.name in uuids else _sql_type(field.type)}" for field in rows.schema
    )
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {quoted(name)} ({columns}) ON COMMIT DROP")
    if not rows.num_rows:
        return
    buffer = io.BytesIO()
    pacsv.write_csv(rows, buffer, pacsv.WriteOptions(include_header=False))
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {quoted(name)} FROM STDIN (FORMAT csv)") as copy:
        copy.write(buffer.getvalue())
