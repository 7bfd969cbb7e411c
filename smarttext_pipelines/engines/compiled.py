"""From an expression to a statement: each shape is compiled once; times and zone of a window are put into its text.

Compiling takes up to a second, which is most of what a day of few rows costs, and an evaluation of the alert rules
each minute. Two windows of one shape differ in their dates, instants and zone alone.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import sqlglot.expressions as sge

from smarttext_pipelines.engines.statement_cache import find_kept, keep
from smarttext_pipelines.metrics.metric import reporting_day
from smarttext_pipelines.metrics.usual_window import moved
from smarttext_pipelines.metrics.windowed import Expression, Shape, Windowed

Spelling = Mapping[str, Callable[..., Any]]
"""For each function of ``metrics.metric``, what an engine writes instead of a call of it."""

_MAX_KEPT, _MAX_LATEST = 512, 128
_FIRST = datetime(9100, 1, 1, 0, 0, 0, 7, tzinfo=UTC)
"""Placeholder of the first instant of an expression; no event has that time."""

_ZONE = "zone_of_the_window"
_LEFT = re.compile(rf"9(?:09[5-9]|1[0-2][0-9])-|{_ZONE}")
"""What reveals a placeholder, or a time of the usual window, that was written in an unexpected form."""

_shapes: dict[Any, "_Compiled"] = {}
"""By kind of writer and expression with placeholders, or what an expression over the usual window follows from."""

_latest: dict[Any, str] = {}
"""Of the last expressions, as they are."""


@dataclass(frozen=True)
class _Compiled:
    """A compiled statement with marks, the times and zones of the expression that they stand for, and its columns."""

    text: str
    times: Sequence[ops.Literal]
    zones: Sequence[ops.Literal]
    schema: ibis.Schema

    def to_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "times": [[each.value.isoformat(), str(each.dtype)] for each in self.times],
            "zones": [[each.value, str(each.dtype)] for each in self.zones],
            "schema": {name: str(kind) for name, kind in self.schema.items()},
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "_Compiled":
        times = [(value, dt.dtype(kind)) for value, kind in kept["times"]]
        return cls(
            kept["text"],
            [ops.Literal((date if kind.is_date() else datetime).fromisoformat(value), kind) for value, kind in times],
            [ops.Literal(value, dt.dtype(kind)) for value, kind in kept["zones"]],
            ibis.schema(kept["schema"]),
        )


@dataclass(frozen=True)
class _Writer:
    """How one engine writes an expression."""

    compiler: Any
    spelling: Spelling
    dialect: Any
    finish: Callable[[sge.Expression], sge.Expression]
    is_read: bool
    """Whether people read it, so that lines are broken."""

    @property
    def kind(self) -> str:
        """What else than the expression decides how a statement is written."""
        compiler = type(self.compiler)
        return f"{compiler.__module__}.{compiler.__qualname__} {ibis.options.sql.fuse_selects} {self.is_read}"

    def write(self, op: ops.Node, marks: Mapping[sge.Expression, str]) -> str:
        def rewrite(node: sge.Expression) -> sge.Expression:
            if marks and node in marks:
                return sge.Var(this=marks[node])
            spelled = self.spelling.get(node.name.lower()) if isinstance(node, sge.Anonymous) else None
            return spelled(*node.expressions) if spelled else node

        statement: sge.Expression = self.compiler.to_sqlglot(op.to_expr())
        finished = self.finish(statement.transform(rewrite))
        return str(finished.sql(dialect=self.dialect, pretty=self.is_read, copy=False))

    def shape(self, op: ops.Node) -> _Compiled | None:
        """Compile an expression in whose statement its times and zones can be told from everything else."""
        times, zones = _times(op), _zones(op)
        marks = {written(self.compiler, each): _mark(place) for place, each in enumerate(times)}
        named = [ops.Literal(_zone(place), each.dtype) for place, each in enumerate(zones)]
        text = self.write(op.replace(dict(zip(zones, named, strict=True))), marks)
        bare = text
        for place in range(len(zones)):
            bare = bare.replace(f"'{_zone(place)}'", "")
        return None if _LEFT.search(bare) else _Compiled(text, times, zones, op.to_expr().schema())

    def fill(self, shape: _Compiled, times: Sequence[ops.Literal], zones: Sequence[ops.Literal]) -> str:
        text = shape.text
        # From the last on: the mark of the first is the beginning of that of the tenth.
        for place in reversed(range(len(times))):
            text = text.replace(_mark(place), written(self.compiler, times[place]).sql(dialect=self.dialect))
        for place, literal in enumerate(zones):
            text = text.replace(f"'{_zone(place)}'", written(self.compiler, literal).sql(dialect=self.dialect))
        return text


def compile_sql(
    compiler: Any,
    expression: Expression,
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
        is_kept: Whether it is shown, and an expression like it may come again; else lines are not broken, and
            a shape is looked for only of an expression for a window.
    """
    writer = _Writer(compiler, spelling, dialect, finish, is_kept)
    if isinstance(expression, Windowed):
        return _of_window(writer, expression)
    # What is not kept is written over the tables of an answer, which are unbound already.
    op = (expression.unbind() if is_kept else expression).op()
    known = _latest.get((writer.kind, op))
    if known is not None:
        return known
    text = _of_times(writer, op) if is_kept else writer.write(op, {})
    _keep(_latest, (writer.kind, op), text, _MAX_LATEST)
    return text


def _of_window(writer: _Writer, expression: Windowed) -> str:
    window, shape = expression.window, _of_shape(writer, expression.shape)
    times = [ops.Literal(moved(each.value, window), each.dtype) for each in shape.times]
    return writer.fill(shape, times, [ops.Literal(str(window.zone), each.dtype) for each in shape.zones])


def _of_shape(writer: _Writer, shape: Shape) -> _Compiled:
    name = f"{writer.kind} {shape.name}" if shape.name else None
    known = _shapes.get(name) if name else None
    if known is None:
        kept = find_kept(name) if name else None
        known = _Compiled.from_json(kept) if kept else _shape(writer, shape.expression.op())
        if known is None:
            msg = "the statement holds a time or zone of the usual window in an unexpected form"
            raise ValueError(msg)
        if name:
            _keep(_shapes, name, known, _MAX_KEPT)
            if not kept:
                keep(name, known.to_json())
    shape.knows(known.schema)
    return known


def _of_times(writer: _Writer, op: ops.Node) -> str:
    times, zones = _times(op), _zones(op)
    stand_ins = [_stand_in(literal, place) for place, literal in enumerate(times)]
    named = [ops.Literal(_zone(place), each.dtype) for place, each in enumerate(zones)]
    shape = _shape(writer, op.replace(dict(zip([*times, *zones], [*stand_ins, *named], strict=True))))
    return writer.fill(shape, times, zones) if shape else writer.write(op, {})


def _shape(writer: _Writer, op: ops.Node) -> _Compiled | None:
    key = (writer.kind, op)
    shape = _shapes.get(key)
    if shape is None:
        shape = writer.shape(op)
        if shape is not None:
            _keep(_shapes, key, shape, _MAX_KEPT)
    return shape


def _keep(kept: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    kept[key] = value
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
