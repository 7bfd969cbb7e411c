"""The rows of ``api_usage`` behind tokens and costs."""

from collections.abc import Callable, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
from sqlalchemy import Connection

from smarttext_pipelines.explain.behind_texts import is_of
from smarttext_pipelines.explain.near import Kind, Wanted, usage_engine
from smarttext_pipelines.metrics.spend import is_unpriced, usage

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


def read(connection: Connection, column: str, wanted: Wanted) -> list[Row]:
    """Return the rows that a column counts."""
    service, condition = COLUMNS[column]
    engine, window = usage_engine(connection, wanted)
    found = usage(engine.tables, window)
    found = found.filter(condition(found))
    if service:
        found = found.filter(found.service == service)
    if wanted.kind is not Kind.all:
        found = found.filter(is_of(found.business_id, wanted))
    rows = engine.fetch(found.order_by("created_at", "id").select(*_SHOWN))
    return [{"business" if name == "business_id" else name: row[name] for name in _SHOWN} for row in rows]
