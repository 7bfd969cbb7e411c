"""The interface of every engine, and the small parameter tables that statements read in addition to the events."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, Protocol

import ibis.expr.types as ir
import pyarrow as pa

from smarttext_pipelines.core.days import day_end, day_start, is_final
from smarttext_pipelines.core.openai_prices import upper_prices
from smarttext_pipelines.metrics.keyed import REPEATED
from smarttext_pipelines.metrics.metric import Window

OPEN_END = date(9999, 12, 31)


class Engine(Protocol):
    """Runs expressions over the tables it offers."""

    name: str
    tables: dict[str, ir.Table]

    def stage(self, expression: ir.Table, into: str) -> str:
        """Put the result into a new temporary table of the caller's PostgreSQL transaction; return the statement."""

    def fetch(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Return the result as rows; for totals and counts, which are small."""

    def add(self, name: str, rows: pa.Table) -> None:
        """Add another parameter table."""


def add_repeated_keys(engine: Engine, repeated: Sequence[ir.Table]) -> dict[date, int]:
    """Give the engine's statements the keys that identify nothing on a day; return how many there are by day.

    Args:
        engine: Where statements that group by keys will run.
        repeated: Results of ``metrics.repeated``.
    """
    found = [row for expression in repeated for row in engine.fetch(expression)]
    if found:
        engine.add(REPEATED, repeated_rows(found))
    return Counter(row["day"] for row in found if not row["part"])


def repeated_rows(found: Sequence[Mapping[Any, Any]]) -> pa.Table:
    """Return keys that identify nothing on a day as the parameter table ``REPEATED``."""
    return pa.table(
        {
            "key": pa.array([row["key"] for row in found], pa.string()),
            "part": pa.array([row["part"] for row in found], pa.string()),
            "day": _dates(row["day"] for row in found),
        }
    )


@dataclass(frozen=True)
class Parameters:
    """The parameters of a statement, as tables, so that its text contains no telephone number.

    Attributes:
        window: The days that are computed.
        shared_senders: Numbers that send for several businesses.
        read_at: When the events of a day were read, for days that are not read now.
    """

    window: Window
    shared_senders: Sequence[str] = ()
    read_at: Mapping[date, datetime] = field(default_factory=dict)

    @cached_property
    def tables(self) -> dict[str, pa.Table]:
        """``window_days``, ``search_days``, ``shared_senders`` and ``openai_prices``."""
        return {
            "window_days": self._days(),
            "search_days": self._search_days(),
            "shared_senders": self._senders(),
            "openai_prices": _prices(),
        }

    def _days(self) -> pa.Table:
        w = self.window
        read_at = {day: self.read_at.get(day, w.as_of) for day in w.days}
        through = [min(day_end(day, w.zone), at) for day, at in read_at.items()]
        final = [is_final(day, w.zone, w.settle_days, at) for day, at in read_at.items()]
        return pa.table(
            {"day": _dates(w.days), "data_through": _instants(through), "is_final": pa.array(final, pa.bool_())}
        )

    def _search_days(self) -> pa.Table:
        w = self.window
        days = list(w.days.widen(w.settle_days))
        starts, ends = [day_start(day, w.zone) for day in days], [day_end(day, w.zone) for day in days]
        return pa.table({"day": _dates(days), "start_at": _instants(starts), "end_at": _instants(ends)})

    def _senders(self) -> pa.Table:
        return pa.table({"number": pa.array(sorted(set(self.shared_senders)), pa.string())})


def _dates(days: Iterable[date]) -> "pa.Array[Any]":
    return pa.array(list(days), pa.date32())


def _instants(instants: Iterable[datetime]) -> "pa.Array[Any]":
    return pa.array(list(instants), pa.timestamp("us", tz="UTC"))


def _prices() -> pa.Table:
    """Return the dated price table: the highest price per token of a model, in nano-USD, from a day on."""
    prices = upper_prices()
    ends = [
        following.valid_from if following is not None and following.model == price.model else OPEN_END
        for price, following in zip(prices, [*prices[1:], None], strict=True)
    ]
    return pa.table(
        {
            "price_model": pa.array([price.model for price in prices], pa.string()),
            "valid_from": pa.array([price.valid_from for price in prices], pa.date32()),
            "valid_until": pa.array(ends, pa.date32()),
            "upper_nano_usd_per_token": pa.array([price.nano_usd_per_token for price in prices], pa.int64()),
        }
    )
