"""From an expression to a statement: each shape is compiled once; times and zone of a window are put into its text.

Compiling takes a third of a second, which is most of what a day of few rows costs, and an evaluation of the alert rules
each minute. Two windows of one shape differ in their dates, instants and zone alone.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir
import sqlglot.expressions as sge

from smarttext_pipelines.metrics.metric import reporting_day

Spelling = Mapping[str, Callable[..., Any]]
"""For each function of ``metrics.metric``, what an engine writes instead of a call of it."""

_MAX_KEPT, _MAX_LATEST = 512, 128
_FIRST = datetime(9100, 1, 1, 0, 0, 0, 7, tzinfo=UTC)
"""Placeholder of the first instant of an expression; no event has that time."""

_ZONE = "zone_of_the_window"
_LEFT = ("9100", "9101", _ZONE)
"""What reveals a placeholder that was written in an unexpected form."""

_statements: dict[Any, str] = {}
"""By shape, with marks for the times."""

_latest: dict[Any, str] = {}
"""Of the last expressions, as they are."""


def compile_sql(
    compiler: Any,
    expression: ir.Table,
    spelling: Spelling,
    dialect: Any,
    finish: Callable[[sge.Expression], sge.Expression] = lambda statement: statement,
    *,
    is_kept: bool = True,
) -> str:
    """Compile an expression and write the functions of ``metrics.metric`` in the dialect of one engine.

    Args:
        compiler: Ibis' compiler of the engine.
        expression: What to compile.
        spelling: What to write for the functions of ``metrics.metric``.
        dialect: Dialect to write.
        finish: Last change to the whole statement.
        is_kept: Whether a shape like it may come again; else no shape is looked for, and nothing
            makes the statement easy to read.
    """
    # What is not kept is written over the tables of an answer, which are unbound already.
    op = (expression.unbind() if is_kept else expression).op()
    known = _latest.get((type(compiler), op))
    if known is not None:
        return known
    made = _compiled if is_kept else partial(_compile, marks={}, is_read=False)
    text = made(compiler, op, spelling, dialect, finish)
    _keep(_latest, (type(compiler), op), text, _MAX_LATEST)
    return text


def _compiled(
    compiler: Any,
    op: Any,
    spelling: Spelling,
    dialect: Any,
    finish: Callable[[sge.Expression], sge.Expression],
) -> str:
    times, zones = _times(op), _zones(op)
    stand_ins = [_stand_in(literal, place) for place, literal in enumerate(times)]
    named = [ops.Literal(_zone(place), literal.dtype) for place, literal in enumerate(zones)]
    shape = op.replace(dict(zip([*times, *zones], [*stand_ins, *named], strict=True)))
    key = (type(compiler), shape)
    text = _statements.get(key)
    if text is None:
        marks = {written(compiler, each): sge.Var(this=_mark(place)) for place, each in enumerate(stand_ins)}
        text = _compile(compiler, shape, spelling, dialect, finish, marks)
        bare = text
        for place in range(len(zones)):
            bare = bare.replace(f"'{_zone(place)}'", "")
        if any(left in bare for left in _LEFT):
            return _compile(compiler, op, spelling, dialect, finish, {})
        _keep(_statements, key, text, _MAX_KEPT)
    # From the last on: the mark of the first is the beginning of that of the tenth.
    for place in reversed(range(len(times))):
        text = text.replace(_mark(place), written(compiler, times[place]).sql(dialect=dialect))
    for place, literal in enumerate(zones):
        text = text.replace(f"'{_zone(place)}'", written(compiler, literal).sql(dialect=dialect))
    return text


def _keep(kept: dict[Any, str], key: Any, text: str, most: int) -> None:
    kept[key] = text
    while len(kept) > most:
        # The list of a dictionary is made at once; another thread may have taken the oldest meanwhile.
        kept.pop(next(iter(list(kept)), key), None)


def _mark(place: int) -> str:
    return f"time_{place}_of_the_window"


def _times(op: ops.Node) -> list[ops.Literal]:
    """Return the different dates and instants of an expression, in an order that its shape alone decides."""
    found = op.find(ops.Literal)
    return list(dict.fromkeys(each for each in found if isinstance(each.value, date)))


def _zones(op: ops.Node) -> list[ops.Literal]:
    """Return the different zones that days are told by, in an order that the shape alone decides."""
    functions = op.find(ops.ScalarUDF)
    zones = [each.zone for each in functions if each.__func_name__ == reporting_day.__name__]
    return [zone for zone in dict.fromkeys(zones) if isinstance(zone, ops.Literal)]


def _zone(place: int) -> str:
    return f"{_ZONE}_{place}"


def _stand_in(literal: ops.Literal, place: int) -> ops.Literal:
    at = _FIRST + timedelta(days=place)
    return ops.Literal(at if isinstance(literal.value, datetime) else at.date(), literal.dtype)


def written(compiler: Any, literal: ops.Literal) -> sge.Expression:
    """Return how a compiler writes a literal."""
    expression: sge.Expression = compiler.visit_Literal(literal, value=literal.value, dtype=literal.dtype)
    return expression


def _compile(
    compiler: Any,
    op: ops.Node,
    spelling: Spelling,
    dialect: Any,
    finish: Callable[[sge.Expression], sge.Expression],
    marks: Mapping[sge.Expression, sge.Expression],
    *,
    is_read: bool = True,
) -> str:
    def rewrite(node: sge.Expression) -> sge.Expression:
        if marks and node in marks:
            return marks[node].copy()
        spelled = spelling.get(node.name.lower()) if isinstance(node, sge.Anonymous) else None
        return spelled(*node.expressions) if spelled else node

    statement: sge.Expression = compiler.to_sqlglot(op.to_expr())
    return str(finish(statement.transform(rewrite)).sql(dialect=dialect, pretty=is_read, copy=False))
