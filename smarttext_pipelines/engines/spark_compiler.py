"""Ibis' compiler for Spark, as text that Apache Spark and Sail read alike, without Ibis' backend and PySpark.

Views of a session have no schema, and Sail takes the type of ``IF(x = 0, 0, amount)`` from its first branch: so tables
are named without one, and an outer SELECT gives every column the type of the expression.
"""

import re
from functools import partial
from typing import Any

import ibis.expr.datatypes as dt
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from ibis.backends.sql.compilers.pyspark import SQLGlotCompiler as BaseCompiler

from smarttext_pipelines.engines.compiled import Spelling, compile_sql
from smarttext_pipelines.metrics.windowed import Expression


class SparkCompiler(PySparkCompiler):  # type: ignore[misc]
    """Without what asks for the options of ``ibis.backends.pyspark``, whose NaN no metric has."""

    __slots__ = ()

    def visit_NonNullLiteral(self, op: Any, *, value: Any, dtype: dt.DataType) -> Any:  # noqa: N802, D102
        return None if dtype.is_floating() else super().visit_NonNullLiteral(op, value=value, dtype=dtype)

    def visit_Field(self, op: Any, *, rel: Any, name: str) -> Any:  # noqa: N802, D102
        return BaseCompiler.visit_Field(self, op, rel=rel, name=name)

    def visit_RegexReplace(self, op: Any, *, arg: Any, pattern: Any, replacement: Any) -> Any:  # noqa: N802
        """Name groups as Java does, where a backslash only makes the digit after it a digit."""
        if isinstance(replacement, sge.Literal):
            replacement = sge.convert(re.sub(r"\\([0-9])", r"$\1", replacement.this))
        return super().visit_RegexReplace(op, arg=arg, pattern=pattern, replacement=replacement)

    def visit_FloorDivide(self, op: Any, *, left: Any, right: Any) -> Any:  # noqa: N802
        """Divide whole numbers as such: Ibis goes by way of a double, which loses the last digits of large ones."""
        if not (op.left.dtype.is_integer() and op.right.dtype.is_integer()):
            return BaseCompiler.visit_FloorDivide(self, op, left=left, right=right)
        rest = sge.Anonymous(this="pmod", expressions=[left, right])
        return sge.IntDiv(this=sge.paren(sge.Sub(this=left, expression=rest)), expression=sge.paren(right))


_COMPILER = SparkCompiler()


def spark_sql(expression: Expression) -> str:
    """Return the statement, with line breaks, for a session whose time zone is UTC; Spark compares text by bytes."""
    spelling: Spelling = {"reporting_day": _day, "byte_order": lambda text: text, "elapsed_ms": _elapsed}
    return compile_sql(
        _COMPILER, expression, spelling, _COMPILER.dialect, finish=partial(_portable, schema=expression.schema())
    )


def spark_type(kind: dt.DataType) -> str:
    """Return how Spark calls a type; a uuid is a text there."""
    return str(_COMPILER.type_mapper.to_string(kind))


def _day(at: sge.Expression, zone: sge.Expression) -> sge.Expression:
    return sge.Cast(this=_call("from_utc_timestamp", at, zone), to=sge.DataType.build("date"))


def _elapsed(later: sge.Expression, earlier: sge.Expression) -> sge.Expression:
    between = sge.paren(sge.Sub(this=_call("unix_micros", later), expression=_call("unix_micros", earlier)))
    thousand = sge.Literal.number(1000)
    rest = _call("pmod", between, thousand)
    return sge.IntDiv(this=sge.paren(sge.Sub(this=between.copy(), expression=rest)), expression=thousand.copy())


def _call(name: str, *arguments: sge.Expression) -> sge.Expression:
    return sge.Anonymous(this=name, expressions=list(arguments))


def _portable(statement: sge.Expression, schema: Any) -> sge.Expression:
    for table in statement.find_all(sge.Table):
        table.set("db", None)
        table.set("catalog", None)
    columns = [
        sge.Cast(this=sge.column(name, quoted=True), to=sge.DataType.build(spark_type(kind), dialect="spark")).as_(
            name, quoted=True
        )
        for name, kind in schema.items()
    ]
    return sge.select(*columns).from_(statement.subquery("result"))  # type: ignore[attr-defined]
