"""Spark Connect over files of the event lake and live rows, for what outgrows a machine. Staged in PostgreSQL."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
from sqlalchemy import Column, Connection, Table

from smarttext_pipelines.engines.engine import Parameters
from smarttext_pipelines.engines.live import arrow_type
from smarttext_pipelines.engines.spark_compiler import spark_sql, spark_type
from smarttext_pipelines.engines.spark_session import LakeFile, SparkPlace, bounded, open_session
from smarttext_pipelines.engines.staging import copy_into_temporary_table
from smarttext_pipelines.engines.unbound import ibis_type, unbound_parameter, unbound_table
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.metrics.windowed import Expression
from smarttext_pipelines.schema.sources import source_columns
from smarttext_pipelines.schema.tables import metadata

if TYPE_CHECKING:
    from pyspark.sql.dataframe import DataFrame


@dataclass(frozen=True)
class SparkRows:
    """The rows of one table.

    Attributes:
        live: Rows of days that no file holds.
        files: Files of other days.
    """

    live: pa.Table | None = None
    files: Sequence[LakeFile] = ()


class SparkEngine(AbstractContextManager["SparkEngine"]):
    """Runs metrics in a Spark session of its own, which ends with it."""

    name = "spark"

    def __init__(
        self,
        connection: Connection | None,
        parameters: Parameters,
        place: SparkPlace,
        rows: Mapping[str, SparkRows],
    ) -> None:
        """Open a session and name the rows there.

        Args:
            connection: PostgreSQL transaction to stage into; None when results are only fetched.
            parameters: The parameter tables.
            place: Where Spark is.
            rows: Rows by table name.

        Raises:
            SmartTextError: Spark cannot be used; see ``open_session``.
        """
        self._connection, self._place = connection, place
        self.tables: dict[str, ir.Table] = {}
        with ExitStack() as stack:
            self._session = stack.enter_context(open_session(place))
            with bounded(place, self._session):
                for table in metadata.tables.values():
                    if table.name in rows:
                        self._offer(table, rows[table.name])
            for name, parameter in parameters.tables.items():
                self.add(name, parameter)
            self._stack = stack.pop_all()

    def __exit__(self, *_error: object) -> None:
        """End the session."""
        self._stack.close()

    def add(self, name: str, rows: pa.Table) -> None:
        """Send the rows."""
        with bounded(self._place, self._session):
            self._sent(rows).createOrReplaceTempView(name)
        self.tables[name] = unbound_parameter(name, rows)

    def stage(self, expression: Expression, into: str) -> str:
        """Copy the result into the temporary table ``into`` of the PostgreSQL transaction."""
        if self._connection is None:
            message = "this engine was opened without a PostgreSQL transaction to stage into"
            raise ValueError(message)
        uuids = [name for name, kind in expression.schema().items() if kind.is_uuid()]
        copy_into_temporary_table(self._connection, into, self.arrow(expression), uuids=uuids)
        return self.sql(expression)

    def fetch(self, expression: Expression) -> list[dict[str, Any]]:
        """Return the result as rows."""
        return self.arrow(expression).to_pylist()

    def arrow(self, expression: Expression) -> pa.Table:
        """Return the result as an Arrow table of the expression's own types."""
        kinds = expression.schema().to_pyarrow()
        kinds = pa.schema([(f.name, pa.string() if f.type == pa.uuid() else f.type) for f in kinds])
        return self._run(self.sql(expression)).cast(kinds)

    @staticmethod
    def sql(expression: Expression) -> str:
        """Return the statement, with line breaks."""
        return spark_sql(expression)

    def rows_by_day(self, table: str) -> dict[date, int]:
        """Return how many rows the files of a table hold, by day of the lake."""
        at = f"CAST({SOURCE_TIMES[table]} AS DATE)"
        day = f"COALESCE(reset_date, {at})" if table == "api_usage" else at
        found = self._run(f"SELECT {day} AS day, COUNT(*) AS found FROM {table}_files GROUP BY 1")  # noqa: S608
        return {row["day"]: row["found"] for row in found.to_pylist()}

    def _run(self, sql: str) -> pa.Table:
        with bounded(self._place, self._session):
            found: pa.Table = self._session.sql(sql).toArrow()
            return found

    def _offer(self, table: Table, rows: SparkRows) -> None:
        """Make a view of the table: its live rows, and those of files."""
        parts: list[DataFrame] = []
        columns = {c.name: c for c in source_columns(table) if ibis_type(c.type)}
        if rows.files:
            kinds = ", ".join(f"`{name}` {_file_type(c)}" for name, c in columns.items())
            # A file may be older than a column, which is NULL then; the name of its folder is no column.
            read = self._session.read.schema(kinds).parquet(*(file.url for file in rows.files)).select(*columns)
            read.createOrReplaceTempView(f"{table.name}_files")
            parts.append(read)
        if rows.live is not None and (rows.live.num_rows or not parts):
            parts.append(self._sent(_typed(rows.live, columns)))
        view = parts[0] if len(parts) == 1 else parts[0].unionByName(parts[1])
        view.createOrReplaceTempView(table.name)
        self.tables[table.name] = unbound_table(table)

    def _sent(self, rows: pa.Table) -> "DataFrame":
        if rows.num_rows:
            return self._session.createDataFrame(rows)
        # PySpark finds no types in a table without rows.
        kinds = ibis.Schema.from_pyarrow(rows.schema).items()
        nulls = ", ".join(f"CAST(NULL AS {spark_type(kind)}) AS `{name}`" for name, kind in kinds)
        return self._session.sql(f"SELECT {nulls} WHERE false")


def _typed(rows: pa.Table, columns: Mapping[str, Column[Any]]) -> pa.Table:
    kinds: dict[str, pa.DataType] = {name: arrow_type(c) for name, c in columns.items()}
    return rows.select(list(kinds)).cast(pa.schema(kinds))


def _file_type(column: Column[Any]) -> str:
    """Return the type in files, whose whole numbers have 64 bits and whose decimals 38 digits."""
    kind = ibis_type(column.type) or dt.string
    if isinstance(kind, dt.Decimal):
        return spark_type(dt.Decimal(38, kind.scale))
    return spark_type(dt.int64 if kind.is_integer() else kind)
