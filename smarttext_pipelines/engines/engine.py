"""The interface of every engine, and the small parameter tables that statements read in addition to the events."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import ibis.expr.types as ir

from smarttext_pipelines.metrics.keyed import REPEATED
from smarttext_pipelines.metrics.metric import Window
from smarttext_pipelines.metrics.windowed import Expression

if TYPE_CHECKING:
    import pyarrow as pa


class Engine(Protocol):
    """Runs expressions over the tables it offers."""

    name: str
    tables: dict[str, ir.Table]

    def stage(self, expression: Expression, into: str) -> str:
        """Put the result into a new temporary table of the caller's PostgreSQL transaction; return the statement."""

    def fetch(self, expression: Expression) -> list[dict[str, Any]]:
        """Return the result as rows; for totals and counts, which are small."""

    def add(self, name: str, rows: "pa.Table") -> None:
        """Add another parameter table."""


@dataclass(frozen=True)
class SourceDay:
    """Rows of a source on one day that can be read, and the newest time among them."""

    rows: int = 0
    newest_event_at: datetime | None = None


def add_repeated_keys(engine: Engine, repeated: Sequence[Expression]) -> dict[date, int]:
    """Give the engine's statements the keys that identify nothing on a day; return how many there are by day.

    Args:
        engine: Where statements that group by keys will run.
        repeated: Results of ``metrics.repeated``.
    """
    return give_repeated_keys(engine, [row for expression in repeated for row in engine.fetch(expression)])


def give_repeated_keys(engine: Engine, found: Sequence[Mapping[str, Any]]) -> dict[date, int]:
    """Do what ``add_repeated_keys`` does with rows that were fetched already."""
    if found:
        from smarttext_pipelines.engines.parameter_tables import repeated_rows

        engine.add(REPEATED, repeated_rows(found))
    return Counter(row["day"] for row in found if not row["part"])


@dataclass(frozen=True)
class Parameters:
    """The parameters of a statement, as tables, so that its text contains no telephone number.

    Attributes:
        window: The days that are computed.
        shared_senders: Numbers that send for several businesses.
        read_at: When the events of a day were read, for days that are not read now.
        customer_secret: Secret of the keys of customers; None for statements that compute none.
    """

    window: Window
    shared_senders: Sequence[str] = ()
    read_at: Mapping[date, datetime] = field(default_factory=dict)
    customer_secret: bytes | None = field(default=None, repr=False)

    @cached_property
    def tables(self) -> "dict[str, pa.Table]":
        """``window_days``, ``search_days``, ``shared_senders``, ``openai_prices``, ``customer_key_blocks`` if known."""
        from smarttext_pipelines.engines.parameter_tables import key_blocks, parameter_tables

        tables = parameter_tables(self.window, self.shared_senders, self.read_at)
        return tables if self.customer_secret is None else {**tables, **key_blocks(self.customer_secret)}
