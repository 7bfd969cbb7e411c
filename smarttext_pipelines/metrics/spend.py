"""Fact ``spend``: requests, tokens and recorded cost by day, business, service, model and endpoint.

Cost is summed as recorded. The upper estimate of unpriced tokens is kept separately and never added.
"""

from collections.abc import Callable

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.openai_prices import FINE_TUNE, LARGEST_COST, PREFIX, VERSION
from smarttext_pipelines.core.statuses import RESET_ENDPOINT, TEXT_LIMIT
from smarttext_pipelines.metrics.event_tables import counts_by_date
from smarttext_pipelines.metrics.metric import Daily, Metric, Window, scaled
from smarttext_pipelines.metrics.windowed import Tables

_DIMENSIONS = ("day", "business_id", "service", "model", "endpoint")


def usage(tables: Tables, window: Window) -> ir.Table:
    """Return the rows that are counted, with ``day``, ``tokens``, ``cost`` and ``is_request``."""
    t = tables["api_usage"]
    first, last = (ibis.literal(day, type="date") for day in (window.days.first, window.days.last))
    is_dated = counts_by_date(t, window)
    dated = is_dated & (t.reset_date >= first) & (t.reset_date <= last)
    timed = ~is_dated & window.between(t.created_at, window.start_at, window.end_at)
    t = t.filter(dated | timed)
    by_row = ibis.ifelse(counts_by_date(t, window), t.reset_date, window.day(t.created_at))
    t = t.mutate(
        day=window.literal_day() if window.is_one_day else by_row,
        tokens=t.tokens_used.fill_null(0).cast("int64"),
        cost=ibis.cases(
            ((t.cost_estimate > -LARGEST_COST) & (t.cost_estimate < LARGEST_COST), t.cost_estimate), else_=0
        )
        .fill_null(0)
        .cast("decimal(38, 6)"),
        is_request=t.endpoint != RESET_ENDPOINT,
    )
    return t.filter(t.is_request | (t.tokens != 0) | (t.cost != 0))


def is_unpriced(t: ir.Table) -> ir.BooleanValue:
    """Return the condition of requests among the rows of ``usage`` that have tokens and no cost."""
    return t.is_request & (t.tokens > 0) & (t.cost == 0)


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact; a marker row is no request, but what it recorded is summed."""
    t = usage(tables, window)
    unpriced = is_unpriced(t)
    found = t.group_by(
        "day",
        "business_id",
        service=t.service.left(TEXT_LIMIT),
        model=t.model.left(TEXT_LIMIT),
        endpoint=t.endpoint.left(TEXT_LIMIT),
    ).agg(
        request_count=t.count(where=t.is_request),
        tokens_used=t.tokens.sum().cast("int64"),
        cost_usd=t.cost.sum().cast("decimal(38, 6)"),
        unpriced_requests=t.count(where=unpriced),
        unpriced_tokens=t.tokens.sum(where=unpriced).fill_null(0).cast("int64"),
    )
    return _with_upper_estimate(found, tables["openai_prices"])


def _with_upper_estimate(found: ir.Table, prices: ir.Table) -> ir.Table:
    """Add what the unpriced tokens cost at most, in USD, at the model's highest price on that day."""
    version = found.model.lower().re_replace(PREFIX, "").re_replace(FINE_TUNE, r"\1")
    joined = found.mutate(version=version, bare=version.re_replace(VERSION, ""))
    for name in ("version", "bare"):
        known = prices.rename({f"{name}_{column}": column for column in prices.columns})
        joined = joined.left_join(
            known,
            [
                joined.service == "openai",
                joined[name] == known[f"{name}_price_model"],
                joined.day >= known[f"{name}_valid_from"],
                joined.day < known[f"{name}_valid_until"],
            ],
        )
    # Prices are whole nano-USD a token; rounding up to micro-USD keeps the estimate an upper one and exact everywhere.
    price = joined.version_upper_nano_usd_per_token.coalesce(joined.bare_upper_nano_usd_per_token)
    micro_usd = (joined.unpriced_tokens * price + 999) // 1000
    upper = scaled(micro_usd, "0.000001", "decimal(38, 6)")
    return joined.select(
        *found.columns,
        unpriced_cost_upper_usd=ibis.ifelse(joined.unpriced_tokens == 0, 0, upper).cast("decimal(38, 6)"),
    )


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return requests, tokens and cost of each day."""
    t = usage(tables, window)
    return t.group_by("day").agg(
        request_count=t.count(where=t.is_request), tokens_used=t.tokens.sum().cast("int64"), cost_usd=t.cost.sum()
    )


def _of_openai(name: str) -> Callable[[ir.Table], ir.NumericValue]:
    def added(t: ir.Table) -> ir.NumericValue:
        return ibis.ifelse(t.service == "openai", t[name], 0)

    return added


DAILY: Daily = {
    "openai_tokens_used": _of_openai("tokens_used"),
    "openai_cost_estimate": _of_openai("cost_usd"),
    "openai_requests": _of_openai("request_count"),
    "openai_unpriced_requests": _of_openai("unpriced_requests"),
}

METRIC = Metric(
    name="spend",
    inputs=("api_usage", "openai_prices"),
    source="api_usage",
    reads_neighbours=False,
    dimensions=_DIMENSIONS,
    rows=rows,
    totals={name: (name,) for name in ("request_count", "tokens_used", "cost_usd")},
    source_totals=source_totals,
    daily=DAILY,
)
