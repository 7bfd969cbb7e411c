"""Stats ``daily_stats``: one row per business and day, summed from the facts and nothing else."""

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.metrics import call_volume, owner_alerts, replies, sms_outcomes, spend
from smarttext_pipelines.metrics.metric import Metric, Window
from smarttext_pipelines.metrics.windowed import Tables

_FACTS = {each.METRIC.name: each.METRIC for each in (sms_outcomes, spend, call_volume, owner_alerts, replies)}
_SUMMED = [name for metric in _FACTS.values() for name in metric.daily]
_TYPES = {"openai_tokens_used": "int64", "openai_cost_estimate": "decimal(38, 6)"}
"""What is wider than a count; every other column is summed as int64 and kept as int32."""


def _within(table: ir.Table, window: Window) -> ir.Table:
    first, last = (ibis.literal(day, type="date") for day in (window.days.first, window.days.last))
    return table.filter(table.day >= first, table.day <= last)


def _part(table: ir.Table, metric: Metric) -> ir.Table:
    """Return a fact's share of every column, zero where it has none."""
    shares = {name: added(table) for name, added in metric.daily.items()}
    zero = ibis.literal(0)
    return table.select(
        "day", "business_id", **{name: shares.get(name, zero).cast(_TYPES.get(name, "int64")) for name in _SUMMED}
    )


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the stats of every business with any event on the day, and of what has no business."""
    facts = {name: _within(tables[name], window) for name in _FACTS}
    facts["sms_outcomes"] = facts["sms_outcomes"].filter(facts["sms_outcomes"].message_count > 0)
    parts = ibis.union(*[_part(facts[name], metric) for name, metric in _FACTS.items()])
    summed = parts.group_by("day", "business_id").agg(
        **{name: parts[name].sum().cast(_TYPES.get(name, "int32")) for name in _SUMMED}
    )
    # Where the fact does not know all missed calls, as on days older than it, all of them are unknown.
    is_known = sum(summed[name] for name in replies.DAILY) == summed.calls_missed
    replied = {name: ibis.ifelse(is_known, summed[name], ibis.null("int32")) for name in replies.DAILY}
    summed = summed.mutate(calls_answered=summed.calls_total - summed.calls_missed, **replied)
    return summed.inner_join(tables["window_days"], "day").rename(date="day")


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return messages, calls, tokens, cost and alerts of each day, fact by fact."""
    sms, usage, calls, alerts, _ = (_within(tables[name], window) for name in _FACTS)
    openai = usage.filter(usage.service == "openai")
    names = ("messages_sent", "calls_total", "openai_tokens_used", "openai_cost_estimate", "alerts")
    parts = [
        (sms, "messages_sent", sms.message_count),
        (calls, "calls_total", calls.calls_total),
        (openai, "openai_tokens_used", openai.tokens_used),
        (openai, "openai_cost_estimate", openai.cost_usd),
        (alerts, "alerts", alerts.sent_count + alerts.failed_count),
    ]
    zero = ibis.literal(0)
    stacked = ibis.union(
        *[
            fact.select(date="day", **{n: (value if n == name else zero).cast("decimal(38, 6)") for n in names})
            for fact, name, value in parts
        ]
    )
    return stacked.group_by("date").agg(**{name: stacked[name].sum() for name in names})


METRIC = Metric(
    name="daily_stats",
    inputs=(*_FACTS, "window_days"),
    source=None,
    reads_neighbours=False,
    dimensions=("date", "business_id"),
    rows=rows,
    totals={
        "messages_sent": ("messages_sent",),
        "calls_total": ("calls_total",),
        "openai_tokens_used": ("openai_tokens_used",),
        "openai_cost_estimate": ("openai_cost_estimate",),
        "alerts": ("owner_alerts_sent", "owner_alerts_failed"),
    },
    source_totals=source_totals,
    day="date",
)
