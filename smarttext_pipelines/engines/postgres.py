"""The default engine: compiles to SQL and runs inside the caller's transaction; only the result moves."""

from functools import cache
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir
import sqlglot.expressions as sge
from sqlalchemy import Connection

from smarttext_pipelines.core.wording import quoted
from smarttext_pipelines.engines.compiled import Spelling, compile_sql
from smarttext_pipelines.engines.engine import Parameters
from smarttext_pipelines.engines.postgres_compiler import PostgresCompiler
from smarttext_pipelines.engines.unbound import unbound_parameter, unbound_table
from smarttext_pipelines.metrics.windowed import Expression
from smarttext_pipelines.schema.tables import metadata

if TYPE_CHECKING:
    import pyarrow as pa

_COMPILER = PostgresCompiler()

PLANNER = ("SET LOCAL work_mem = '64MB'", "SET LOCAL jit = off", "SET LOCAL enable_nestloop = off")
"""For transactions that compute days: every large join is by equality; where statistics lag behind the rows, a nested
loop takes minutes for seconds."""


def _day(at: sge.Expression, zone: sge.Expression) -> sge.Expression:
    return sge.Cast(this=sge.func("timezone", zone, at), to=sge.DataType.build("date"))


def _bytes(text: sge.Expression) -> sge.Expression:
    return sge.Collate(this=sge.paren(text), expression=sge.to_identifier("C", quoted=True))


def _elapsed(later: sge.Expression, earlier: sge.Expression) -> sge.Expression:
    seconds = sge.Extract(this=sge.Var(this="EPOCH"), expression=sge.paren(sge.Sub(this=later, expression=earlier)))
    return sge.Cast(
        this=sge.func("floor", sge.Mul(this=seconds, expression=sge.Literal.number(1000))),
        to=sge.DataType.build("bigint"),
    )


def _digest(text: sge.Expression, inner: sge.Expression, outer: sge.Expression) -> sge.Expression:
    def hashed(block: sge.Expression, rest: sge.Expression) -> sge.Expression:
        known = sge.func("decode", block, sge.Literal.string("hex"))
        return sge.Anonymous(this="sha256", expressions=[sge.DPipe(this=known, expression=rest)])

    number = sge.Anonymous(this="convert_to", expressions=[text, sge.Literal.string("UTF8")])
    return sge.Anonymous(this="encode", expressions=[hashed(outer, hashed(inner, number)), sge.Literal.string("hex")])


def _read_twice(statement: sge.Expression) -> sge.Expression:
    """Keep PostgreSQL from storing a whole table because a statement names a projection of it twice."""
    for cte in statement.find_all(sge.CTE):
        if not cte.this.find(sge.Join, sge.Group, sge.Distinct, sge.Union, sge.AggFunc):
            cte.set("materialized", False)
    return statement


@cache
def _schema_tables() -> dict[str, ir.Table]:
    """Return the tables of the schema, which are the same for every engine of a process."""
    return {table.name: unbound_table(table) for table in metadata.tables.values()}


class PostgresEngine:
    """Runs metrics where the rows are.

    The session needs time zone UTC only for the text of instants in errors; every day is computed with its zone.
    """

    name = "postgres"

    def __init__(self, connection: Connection, parameters: Parameters | None = None) -> None:
        """Put the parameters, where a statement reads some, into temporary tables of the current transaction."""
        self._connection = connection
        self.tables: dict[str, ir.Table] = dict(_schema_tables())
        self.kept: dict[str, str] = {}
        """Statements of the tables that ``keep`` made, by their names."""
        for name, rows in parameters.tables.items() if parameters else ():
            self.add(name, rows)

    def add(self, name: str, rows: "pa.Table") -> None:
        """Put the rows into a temporary table of the current transaction."""
        from smarttext_pipelines.engines.staging import copy_into_temporary_table

        copy_into_temporary_table(self._connection, name, rows)
        self.tables[name] = unbound_parameter(name, rows)

    def stage(self, expression: Expression, into: str) -> str:
        """Create the temporary table ``into`` from the result; CREATE TABLE AS may run in parallel, INSERT may not."""
        sql = self._written(expression)
        self._run(f"CREATE TEMPORARY TABLE {quoted(into)} ON COMMIT DROP AS {sql}")
        return sql

    def keep(self, expression: Expression, name: str) -> None:
        """Stage the result as a table that later statements of the transaction can read."""
        sql = self.stage(expression, name)
        self.kept[name] = f"CREATE TEMPORARY TABLE {quoted(name)} AS\n{sql}"
        self.tables[name] = ibis.table(expression.schema(), name=name)

    def fetch(self, expression: Expression) -> list[dict[str, Any]]:
        """Return the result as rows."""
        return [dict(row) for row in self._run(self._written(expression)).mappings()]

    def _written(self, expression: Expression) -> str:
        """Return the statement that is run."""
        return self.sql(expression)

    @staticmethod
    def sql(expression: Expression, *, is_kept: bool = True) -> str:
        """Return the statement, with line breaks; ``is_kept``: whether one of its shape may be wanted again."""
        spelling: Spelling = {
            "reporting_day": _day,
            "byte_order": _bytes,
            "elapsed_ms": _elapsed,
            "keyed_digest": _digest,
        }
        return compile_sql(_COMPILER, expression, spelling, _COMPILER.dialect, finish=_read_twice, is_kept=is_kept)

    def _run(self, sql: str) -> Any:
        # Without parameters the driver leaves percent signs alone.
        return self._connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
