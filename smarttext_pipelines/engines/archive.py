"""DuckDB over Arrow or Parquet: for days whose events have left the database. Results are staged in PostgreSQL."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import duckdb
import ibis.expr.types as ir
import pyarrow as pa
import sqlglot.expressions as sge
from ibis.backends.sql.compilers import DuckDBCompiler
from sqlalchemy import Column, Connection, Table

from smarttext_pipelines.archive.merged import ArchivedFile, merged_files
from smarttext_pipelines.core.wording import quoted
from smarttext_pipelines.engines.compiled import Spelling, compile_sql
from smarttext_pipelines.engines.engine import Parameters
from smarttext_pipelines.engines.staging import copy_into_temporary_table
from smarttext_pipelines.engines.unbound import ibis_type, unbound_parameter, unbound_table
from smarttext_pipelines.metrics.windowed import Expression
from smarttext_pipelines.schema.sources import source_schema
from smarttext_pipelines.schema.tables import metadata

_COMPILER = DuckDBCompiler()


def _day(at: sge.Expression, zone: sge.Expression) -> sge.Expression:
    return sge.Cast(this=sge.func("timezone", zone, at), to=sge.DataType.build("date"))


def _bytes(text: sge.Expression) -> sge.Expression:
    return text


def _elapsed(later: sge.Expression, earlier: sge.Expression) -> sge.Expression:
    end, start = (sge.Anonymous(this="epoch_us", expressions=[at]) for at in (later, earlier))
    return sge.IntDiv(this=sge.paren(sge.Sub(this=end, expression=start)), expression=sge.Literal.number(1000))


def _digest(text: sge.Expression, inner: sge.Expression, outer: sge.Expression) -> sge.Expression:
    def call(name: str, argument: sge.Expression) -> sge.Expression:
        return sge.Anonymous(this=name, expressions=[argument])

    def hashed(block: sge.Expression, rest: sge.Expression) -> sge.Expression:
        return call("sha256", sge.DPipe(this=call("unhex", block), expression=rest))

    return hashed(outer, call("unhex", hashed(inner, call("encode", text))))


class ArchiveEngine(AbstractContextManager["ArchiveEngine"]):
    """Runs metrics over live rows, files of the archive, or both, in an in-memory DuckDB."""

    name = "archive"

    def __init__(
        self,
        connection: Connection | None,
        parameters: Parameters,
        live: Mapping[str, Sequence[Path] | pa.Table],
        archived: Mapping[str, Sequence[ArchivedFile]] | None = None,
    ) -> None:
        """Open the files.

        Args:
            connection: PostgreSQL transaction to stage into; None when results are only fetched.
            parameters: The parameter tables.
            live: Rows in the database, by table name; as Arrow or as Parquet files.
            archived: Files of the archive, by table name; a live row takes precedence over an archived one with its id.
        """
        self._connection = connection
        self._duckdb = duckdb.connect()
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self.tables: dict[str, ir.Table] = {}
        for table in metadata.tables.values():
            if table.name in live:
                self._offer(table, live[table.name], (archived or {}).get(table.name, ()))
        for name, rows in parameters.tables.items():
            self.add(name, rows)

    def __exit__(self, *_error: object) -> None:
        """Close DuckDB and what it holds."""
        self._duckdb.close()

    def add(self, name: str, rows: pa.Table) -> None:
        """Register the rows."""
        self._duckdb.register(name, rows)
        self.tables[name] = unbound_parameter(name, rows)

    def stage(self, expression: Expression, into: str) -> str:
        """Copy the result into the temporary table ``into`` of the PostgreSQL transaction."""
        if self._connection is None:
            message = "this engine was opened without a PostgreSQL transaction to stage into"
            raise ValueError(message)
        found = self.arrow(expression)
        uuids = [name for name, kind in expression.schema().items() if kind.is_uuid()]
        copy_into_temporary_table(self._connection, into, found, uuids=uuids)
        return self.sql(expression)

    def fetch(self, expression: Expression) -> list[dict[str, Any]]:
        """Return the result as rows."""
        return self.arrow(expression).to_pylist()

    def arrow(self, expression: Expression) -> pa.Table:
        """Return the result as an Arrow table of the expression's own types (DuckDB sums integers to 128 bits)."""
        # A statement that was kept comes with its columns; asked for them first, the expression would be built.
        statement = self.sql(expression)
        kinds = expression.schema().to_pyarrow()
        kinds = pa.schema([(f.name, pa.string() if f.type == pa.uuid() else f.type) for f in kinds])
        found: pa.Table = self._duckdb.sql(statement).to_arrow_table()
        return found.cast(kinds)

    @staticmethod
    def sql(expression: Expression) -> str:
        """Return the statement, with line breaks; DuckDB compares text by bytes already."""
        spelling: Spelling = {
            "reporting_day": _day,
            "byte_order": _bytes,
            "elapsed_ms": _elapsed,
            "keyed_digest": _digest,
        }
        return compile_sql(_COMPILER, expression, spelling, _COMPILER.dialect)

    def _offer(self, table: Table, live: Sequence[Path] | pa.Table, archived: Sequence[ArchivedFile]) -> None:
        """Make a view of the table: its live rows, and archived ones that no live row and no later file replaces."""
        name = quoted(f"{table.name}_live")
        if isinstance(live, pa.Table):
            self._duckdb.register(f"{table.name}_live", live)
        else:
            self._duckdb.read_parquet([str(path) for path in live]).create_view(f"{table.name}_live")
        found = set(self._duckdb.view(f"{table.name}_live").columns)
        columns = [c for c in table.columns if ibis_type(c.type) and c.name in found]
        query = f"SELECT {', '.join(_cast(c) for c in columns)} FROM {name}"  # noqa: S608 - constant names, quoted
        if archived:
            rows = merged_files(self._duckdb, table.name, archived)
            # A file may be older than a column.
            files = self._duckdb.view(f"{table.name}_files")
            stored = dict(zip(files.columns, map(str, files.types), strict=True))
            selected = ", ".join(
                _of_file(c, stored[c.name]) if c.name in stored else f"NULL AS {quoted(c.name)}" for c in columns
            )
            query += f" UNION ALL SELECT {selected} FROM ({rows})"  # noqa: S608
        schema = quoted(source_schema(table.name, table.schema) or "main")
        self._duckdb.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        self._duckdb.execute(f"CREATE VIEW {schema}.{quoted(table.name)} AS {query}")
        self.tables[table.name] = unbound_table(table)


def _of_file(column: Column[Any], stored: str) -> str:
    """Return a column of a file; an instant without a zone is archived as its text, and is of UTC."""
    kind, name = ibis_type(column.type), quoted(column.name)
    if kind is not None and kind.is_timestamp() and stored == "VARCHAR":
        return f"TRY_CAST({name} AS TIMESTAMP) AT TIME ZONE 'UTC' AS {name}"
    return _cast(column)


def _cast(column: Column[Any]) -> str:
    kind, name = ibis_type(column.type), column.name
    if kind is None or kind.is_uuid() or kind.is_string():
        return f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}"
    if kind.is_decimal():
        return f"CAST({quoted(name)} AS DECIMAL(38, {kind.scale})) AS {quoted(name)}"
    return quoted(name)
