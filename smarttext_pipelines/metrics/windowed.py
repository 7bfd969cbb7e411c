"""Expressions for windows, of which only that over the usual window of a shape is ever built, and only if needed.

Building one takes up to half a second; a statement that some process of this version compiled is known without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from inspect import unwrap
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from smarttext_pipelines.metrics.usual_window import usual

if TYPE_CHECKING:
    from smarttext_pipelines.metrics.metric import Window

Tables = Mapping[str, ir.Table]
W = TypeVar("W", bound="Window")
_MAX_REMEMBERED = 16
_OURS = "smarttext_pipelines."


class Shape:
    """What a builder gives for some tables and the usual window of a shape."""

    def __init__(self, build: Callable[[Tables, Any], "Expression"], tables: Tables, window: "Window") -> None:
        """Build nothing yet."""
        self._build, self._tables, self._window = build, dict(tables), window

    @cached_property
    def expression(self) -> ir.Table:
        """The expression over the usual window."""
        built = self._build(self._tables, self._window)
        return built.shape.expression if isinstance(built, Windowed) else built

    @cached_property
    def schema(self) -> ibis.Schema:
        """The columns of the result and their types."""
        return self.expression.schema()

    def knows(self, schema: ibis.Schema) -> None:
        """Take the schema from who knows it, so that it need not be built for it."""
        self.__dict__["schema"] = schema

    @cached_property
    def name(self) -> str | None:
        """What it follows from, the same in every process of a version; None where that cannot be told."""
        builder = _named(self._build)
        tables = [_told(name, table.op()) for name, table in self._tables.items()]
        if builder is None or None in tables:
            return None
        return f"{builder} {type(self._window).__name__} {self._window!r} {tables!r}"


@dataclass(frozen=True)
class Windowed:
    """An expression for a window.

    Attributes:
        shape: The expression over ``usual_window.usual(window)``.
        window: The window, whose times stand in the statement.
    """

    shape: Shape
    window: "Window"

    @property
    def usual(self) -> ir.Table:
        """The expression over the usual window."""
        return self.shape.expression

    def schema(self) -> ibis.Schema:
        """Return the columns of the result and their types."""
        return self.shape.schema


Expression: TypeAlias = ir.Table | Windowed
"""What an engine runs."""


def remembered(build: Callable[[Tables, W], Expression]) -> Callable[[Tables, W], Windowed]:
    """Return a builder that gives the same expression again for the same tables and another window of a shape.

    Args:
        build: A pure function.
    """
    kept: dict[object, Shape] = {}

    @wraps(build)
    def built(tables: Tables, window: W) -> Windowed:
        shape = usual(window)
        key = (tuple((name, table.op()) for name, table in tables.items()), type(shape), shape)
        found = kept.get(key)
        if found is None:
            found = kept[key] = Shape(build, tables, shape)
            while len(kept) > _MAX_REMEMBERED:
                # The list of a dictionary is made at once; another thread may have taken the oldest meanwhile.
                kept.pop(next(iter(list(kept)), key), None)
        return Windowed(found, window)

    return built


def _named(build: Any) -> str | None:
    """Return what tells a builder from every other of this version, and so what it captured; None for an unknown."""
    build = unwrap(build)
    if not hasattr(build, "__code__") or not build.__module__.startswith(_OURS) or "<lambda>" in build.__qualname__:
        return None
    if build.__defaults__ or build.__kwdefaults__:
        return None
    captured = [_captured(cell.cell_contents) for cell in build.__closure__ or ()]
    return None if None in captured else f"{build.__module__}.{build.__qualname__} {captured!r}"


def _captured(value: Any) -> str | None:
    if callable(value):
        return _named(value)
    if isinstance(value, tuple):
        each = [_captured(inner) for inner in value]
        return None if None in each else repr(each)
    return repr(value) if value is None or isinstance(value, str | int) else None


def _told(name: str, op: ops.Node) -> str | None:
    return f"{name} {op.name} {op.namespace!r} {op.schema!r}" if isinstance(op, ops.UnboundTable) else None
