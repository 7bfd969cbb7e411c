"""DuckDB over Arrow or Parquet: for days whose events have left the database. Results are staged in PostgreSQL."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import ibis.expr.types as ir
import pyarrow as pa
import sqlglot.expressions as sge
from ibis.backends.sql.compilers import DuckDBCompiler
from sqlalchemy import Connection

from smarttext_pipelines.engines.base import Parameters, Spelling, compile_sql, quoted
from smarttext_pipelines.engines.staging import copy_into_temporary_table
from smarttext_pipelines.engines.unbound import unbound_parameter, unbound_table
from smarttext_pipelines.storage.schema import metadata

_COMPILER = DuckDBCompiler()


def _day(at: sge.Expression, zone: sge.Expression) -> sge.Expression:
    return sge.Cast(this=sge.func("timezone", zone, at), to=sge.DataType.build("date"))


def _bytes(text: sge.Expression) -> sge.Expression:
    return text


def _elapsed(later: sge.Expression, earlier: sge.Expression) -> sge.Expression:
    end, start = (sge.Anonymous(this="epoch_us", expressions=[at]) for at in (later, earlier))
    return sge.IntDiv(this=sge.paren(sge.Sub(this=end, expression=start)), expression=sge.Literal.number(1000))


class ArchiveEngine:
    """Runs metrics over Parquet files, one view per table, in an in-memory DuckDB."""

    name = "archive"

    def __init__(self, connection: Connection | None, parameters: Parameters, files: Mapping[str, list[Path]]) -> None:
        """Open the files.

        Args:
            connection: PostgreSQL transaction to stage into; None when results are only fetched.
            parameters: What statements know beside the events.
            files: Parquet files by table name.
        """
        self._connection = connection
        self._duckdb = duckdb.connect()
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self.tables: dict[str, ir.Table] = {}
        for table in metadata.tables.values():
            if table.name in files:
                self._duckdb.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.schema or 'main')}")
                view = self._duckdb.read_parquet([str(path) for path in files[table.name]])
                view.create_view(f"{table.name}_files")
                self._duckdb.execute(
                    f"CREATE VIEW {quoted(table.schema or 'main')}.{quoted(table.name)} AS"  # noqa: S608
                    f" SELECT * FROM main.{quoted(table.name + '_files')}"
                )
                self.tables[table.name] = unbound_table(table)
        for name, rows in parameters.tables.items():
            self._duckdb.register(name, rows)
            self.tables[name] = unbound_parameter(name, rows)

    def stage(self, expression: ir.Table, into: str) -> str:
        """Copy the result into the temporary table ``into`` of the PostgreSQL transaction."""
        if self._connection is None:
            message = "this engine was opened without a PostgreSQL transaction to stage into"
            raise ValueError(message)
        copy_into_temporary_table(self._connection, into, self.arrow(expression))
        return self.sql(expression)

    def fetch(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Return the result as rows."""
        return self.arrow(expression).to_pylist()

    def arrow(self, expression: ir.Table) -> pa.Table:
        """Return the result as an Arrow table of the expression's own types (DuckDB sums integers to 128 bits)."""
        kinds = expression.schema().to_pyarrow()
        kinds = pa.schema([(f.name, pa.string() if f.type == pa.uuid() else f.type) for f in kinds])
        found: pa.Table = self._duckdb.sql(self.sql(expression)).to_arrow_table()
        return found.cast(kinds)

    @staticmethod
    def sql(expression: ir.Table) -> str:
        """Return the statement, with line breaks; DuckDB compares text by bytes already."""
        spelling: Spelling = {"reporting_day": _day, "byte_order": _bytes, "elapsed_ms": _elapsed}
        return compile_sql(_COMPILER, expression, spelling, _COMPILER.dialect)
