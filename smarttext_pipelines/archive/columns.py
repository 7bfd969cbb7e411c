"""How a row is read, stored and hashed: by the columns the table really has, also those the application added.

The hash of a row is the MD5 of a text of all its columns. PostgreSQL computes it from the live row, DuckDB from the
file; a value that the file does not hold exactly has another hash, and its row is never deleted.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection, text

from smarttext_pipelines.core.errors import SchemaError
from smarttext_pipelines.core.number_patterns import NUMBER_COLUMNS, hinted_pattern, mentioned_pattern, spelled_pattern
from smarttext_pipelines.core.wording import quoted
from smarttext_pipelines.database.connect import ROW_SECURITY

TIME_COLUMNS = {
    "sms_events": "created_at",
    "call_events": "ts",
    "api_usage": "created_at",
    "owner_alerts": "created_at",
}
"""Tables that are archived, and the column that says when a row happened."""

SESSION = (
    "SET timezone = 'UTC'",
    "SET datestyle = 'ISO, YMD'",
    "SET intervalstyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
    ROW_SECURITY,
)
"""How every session that reads or hashes rows writes values as text."""

_APART = "|"
"""Between texts that are searched together; part of no number."""

_PLAIN: dict[str, pa.DataType] = {
    "uuid": pa.string(),
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}
"""Types whose text has no comma; every other type is archived as its text, and read back from it."""

_DECIMAL = re.compile(r"numeric\((\d+),(\d+)\)")

_CATALOG = text(
    """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '' AS is_generated
    FROM pg_attribute AS a
    WHERE a.attrelid = to_regclass('public.' || quote_ident(:name)) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
    """
)
_IS_TABLE = text("SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = to_regclass('public.' || quote_ident(:name))")
_ENCODING = text("SELECT current_setting('server_encoding')")


@dataclass(frozen=True)
class Column:
    """A column of an archived table.

    Attributes:
        name: Its name.
        kind: Its type as PostgreSQL writes it.
        is_generated: Whether the table computes it, so that it cannot be inserted.
    """

    name: str
    kind: str
    is_generated: bool = False

    @property
    def arrow(self) -> pa.DataType:
        """Type in the file."""
        decimal = _DECIMAL.fullmatch(self.kind)
        if decimal and int(decimal[2]) <= int(decimal[1]) <= 38:
            return pa.decimal128(int(decimal[1]), int(decimal[2]))
        return _PLAIN.get(self.kind, pa.string())

    @property
    def is_plain(self) -> bool:
        """Whether its text needs no length in front."""
        return self.kind in _PLAIN or pa.types.is_decimal(self.arrow)


@dataclass(frozen=True)
class Shape:
    """The columns of one table in the order in which they are hashed.

    Attributes:
        table: The table.
        columns: Its columns.
        is_text: Whether the file holds every value as its text, as it does where times may be infinite.
    """

    table: str
    columns: tuple[Column, ...]
    is_text: bool = False

    def has_no_zone(self, name: str) -> bool:
        """Return whether a column is an instant without a zone, which is of UTC."""
        return any(c.name == name and c.kind.startswith("timestamp") and "without" in c.kind for c in self.columns)

    @property
    def version(self) -> str:
        """Digest of the names and types."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def arrow(self) -> pa.Schema:
        """Schema of the file; it says itself what its columns were."""
        fields = [pa.field(c.name, pa.string() if self.is_text else c.arrow) for c in self.columns]
        return pa.schema(fields, metadata={"smarttext": self.to_json()})

    def mentions(self, digits: str, search: str) -> str:
        """Return the condition, never NULL, of a row that has a number in any text; no index answers it.

        A column of numbers has it in a spelling, so that a row of a longer number is not taken for one of this; other
        texts may mention it among anything.

        Args:
            digits: The number in E.164 without its plus.
            search: Function that says whether a text has a pattern in it.
        """
        texts = [c.name for c in self.columns if not c.is_plain]
        numbers = [name for name in texts if name in NUMBER_COLUMNS]
        others = [name for name in texts if name not in NUMBER_COLUMNS]

        def has(names: Sequence[str], pattern: str) -> str:
            values = ", ".join(f"CAST({quoted(name)} AS text)" for name in names)
            return f"{search}(concat_ws('{_APART}', {values}), '{pattern}')" if names else "false"

        is_it = f"{has(numbers, spelled_pattern(digits))} OR {has(others, mentioned_pattern(digits))}"
        return f"({has(texts, hinted_pattern(digits))} AND ({is_it}))"

    def to_json(self) -> str:
        """Return the table, names and types as the file keeps them, and at the end whether all are texts."""
        columns = [[c.name, c.kind, c.is_generated] for c in self.columns]
        return json.dumps([self.table, columns, *([True] if self.is_text else [])])

    def hash_in_postgres(self) -> sql.Composable:
        """Return the hash of the row ``t``."""
        plain = [
            sql.SQL("coalesce(t.{}::text, '~')").format(sql.Identifier(c.name)) for c in self.columns if c.is_plain
        ]
        texts = [sql.SQL("t.{}::text").format(sql.Identifier(c.name)) for c in self.columns if not c.is_plain]
        lengths = [sql.SQL("coalesce(octet_length({})::text, '~')").format(value) for value in texts]
        head = sql.SQL(", ',', ").join([*plain, *lengths])
        return sql.SQL("md5(concat({}))").format(sql.SQL(", ").join([head, sql.SQL("';'"), *texts]))

    def hash_in_duckdb(self) -> str:
        """Return the hash of a row of the file."""
        plain = [f"coalesce(CAST({quoted(c.name)} AS VARCHAR), '~')" for c in self.columns if c.is_plain]
        texts = [quoted(c.name) for c in self.columns if not c.is_plain]
        lengths = [f"coalesce(CAST(strlen({name}) AS VARCHAR), '~')" for name in texts]
        return f"md5(concat({', '.join([*_between(plain + lengths), chr(39) + ';' + chr(39), *texts])}))"


def _between(parts: Sequence[str]) -> list[str]:
    return [piece for n, part in enumerate(parts) for piece in (["','", part] if n else [part])]


def read_shape(connection: Connection, table: str) -> Shape:
    """Return the columns that a table has now.

    Raises:
        SchemaError: There is no such table with an ``id`` of type uuid, or the database is not in UTF-8.
    """
    if connection.scalar(_ENCODING) != "UTF8":
        msg = "rows are compared with the archive byte by byte, which needs a database in UTF-8"
        raise SchemaError(msg)
    columns = tuple(
        Column(name, kind, generated) for name, kind, generated in connection.execute(_CATALOG, {"name": table})
    )
    if not any(c.name == "id" and c.kind == "uuid" for c in columns):
        msg = f"public.{table} has no column id of type uuid; run `smarttext migrate --check`"
        raise SchemaError(msg)
    return Shape(table, columns)


def is_table(connection: Connection, table: str) -> bool:
    """Return whether rows can be archived: a view in the place of a table is only read."""
    return bool(connection.scalar(_IS_TABLE, {"name": table}))


def shape_of(schema: pa.Schema) -> Shape:
    """Return the shape that a file says it has."""
    table, columns, *is_text = json.loads((schema.metadata or {})[b"smarttext"])
    return Shape(table, tuple(Column(*column) for column in columns), is_text=bool(is_text))


def run(connection: Connection, statement: sql.Composable, **values: Any) -> Any:
    """Run a composed statement in the transaction of a connection; values are written as ``%(name)s``."""
    return connection.exec_driver_sql(statement.as_string(None), values or None)
