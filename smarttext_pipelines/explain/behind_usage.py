"""The rows of ``api_usage`` behind tokens and costs."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import ibis
import ibis.expr.types as ir
from sqlalchemy import Connection

from smarttext_pipelines.explain.behind_texts import is_of
from smarttext_pipelines.explain.near import Wanted, usage_engine
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.spend import is_unpriced, usage
from smarttext_pipelines.metrics.windowed import Tables, Windowed, remembered

Row = dict[str, Any]
Condition = Callable[[ir.Table], ir.BooleanValue]

_SHOWN = ("created_at", "service", "endpoint", "model", "tokens_used", "cost_estimate", "business_id")


def _any(_: ir.Table) -> ir.BooleanValue:
    # A sum shows what adds nothing to it, too: the request without a cost is what people look for.
    return ibis.literal(True)


def _request(t: ir.Table) -> ir.BooleanValue:
    return t.is_request


COLUMNS: Mapping[str, tuple[str | None, Condition]] = {
    "openai_tokens_used": ("openai", _any),
    "openai_cost_estimate": ("openai", _any),
    "openai_requests": ("openai", _request),
    "openai_unpriced_requests": ("openai", is_unpriced),
    "sms_cost_usd": ("twilio", _any),
    "cost_usd": (None, _any),
    "tokens_used": (None, _any),
    "request_count": (None, _request),
    "unpriced_requests": (None, is_unpriced),
    "unpriced_tokens": (None, is_unpriced),
    "unpriced_cost_upper_usd": (None, is_unpriced),
}
"""Column → the service whose rows it counts (None: all), and which of them."""


@cache
def _counted_by(column: str) -> Callable[[Tables, Window], Windowed]:
    service, condition = COLUMNS[column]

    def build(tables: Tables, window: Window) -> ir.Table:
        found = usage(tables, window)
        found = found.filter(condition(found))
        found = found.filter(found.service == service) if service else found
        return found.order_by("created_at", "id").select(*_SHOWN)

    return remembered(build)


def read(connection: Connection, column: str, wanted: Wanted) -> list[Row]:
    """Return the rows that a column counts."""
    engine, window = usage_engine(connection, wanted)
    rows = engine.fetch(_counted_by(column)(engine.tables, window))
    of_wanted = [row for row in rows if is_of(row["business_id"], wanted)]
    return [{"business" if name == "business_id" else name: row[name] for name in _SHOWN} for row in of_wanted]
