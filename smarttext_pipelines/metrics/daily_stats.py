"""Stats ``daily_stats``: one row per business and day, summed from the facts and nothing else."""

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import DELIVERED_STATUSES
from smarttext_pipelines.metrics.metric import Metric, Tables, Window

_TOKENS = ("openai_tokens_used",)
_MONEY = ("openai_cost_estimate",)
_REPLIES = ("missed_calls_replied", "missed_calls_unreplied", "missed_calls_reply_unknown")
_COUNTS = (
    "calls_total",
    "calls_missed",
    "messages_received",
    "messages_sent",
    "sms_success_count",
    "sms_failure_count",
    "owner_alerts_sent",
    "sms_delivered_count",
    "sms_in_flight_count",
    "sms_suppressed_count",
    "sms_unknown_count",
    "openai_requests",
    "openai_unpriced_requests",
    "owner_alerts_failed",
    *_REPLIES,
)
_FACTS = ("sms_outcomes", "spend", "call_volume", "owner_alert_delivery", "missed_call_replies")


def _within(table: ir.Table, window: Window) -> ir.Table:
    first, last = (ibis.literal(day, type="date") for day in (window.days.first, window.days.last))
    return table.filter(table.day >= first, table.day <= last)


def _messages(t: ir.Table) -> dict[str, ir.IntegerValue]:
    def of(name: str) -> ir.IntegerValue:
        return ibis.ifelse(t.status_class == name, t.message_count, 0)

    return {
        "messages_sent": t.message_count,
        "sms_success_count": of("successful"),
        "sms_failure_count": of("failed"),
        "sms_in_flight_count": of("in_flight"),
        "sms_suppressed_count": of("suppressed"),
        "sms_unknown_count": of("unknown"),
        "sms_delivered_count": ibis.ifelse(t.status.isin(DELIVERED_STATUSES), t.message_count, 0),
    }


def _usage(t: ir.Table) -> dict[str, ir.NumericValue]:
    measures = {
        "openai_tokens_used": t.tokens_used,
        "openai_cost_estimate": t.cost_usd,
        "openai_requests": t.request_count,
        "openai_unpriced_requests": t.unpriced_requests,
    }
    return {name: ibis.ifelse(t.service == "openai", value, 0) for name, value in measures.items()}


def _part(table: ir.Table, measures: dict[str, ir.NumericValue]) -> ir.Table:
    """Return a fact's share of every measure, zero where it has none."""
    types = dict.fromkeys((*_COUNTS, *_TOKENS), "int64") | dict.fromkeys(_MONEY, "decimal(38, 6)")
    zero = ibis.literal(0)
    return table.select(
        "day", "business_id", **{name: measures.get(name, zero).cast(type_) for name, type_ in types.items()}
    )


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the stats of every business with any event on the day, and of what has no business."""
    facts = {name: _within(tables[name], window) for name in _FACTS}
    sms = facts["sms_outcomes"].filter(facts["sms_outcomes"].message_count > 0)
    calls, alerts, replies = facts["call_volume"], facts["owner_alert_delivery"], facts["missed_call_replies"]
    parts = ibis.union(
        _part(sms, _messages(sms)),
        _part(facts["spend"], _usage(facts["spend"])),
        _part(calls, {name: calls[name] for name in ("calls_total", "calls_missed", "messages_received")}),
        _part(alerts, {"owner_alerts_sent": alerts.sent_count, "owner_alerts_failed": alerts.failed_count}),
        _part(
            replies,
            {
                "missed_calls_replied": replies.replied_in_time_count + replies.replied_late_count,
                "missed_calls_unreplied": replies.unreplied_count,
                "missed_calls_reply_unknown": replies.reply_unknown_count,
            },
        ),
    )
    summed = parts.group_by("day", "business_id").agg(
        **{name: parts[name].sum().cast("int32") for name in _COUNTS},
        **{name: parts[name].sum().cast("int64") for name in _TOKENS},
        **{name: parts[name].sum().cast("decimal(38, 6)") for name in _MONEY},
    )
    # Where the fact does not know all missed calls, as on days that are older than it, nothing is told of any.
    is_known = sum(summed[name] for name in _REPLIES) == summed.calls_missed
    replied = {name: ibis.ifelse(is_known, summed[name], ibis.null("int32")) for name in _REPLIES}
    summed = summed.mutate(calls_answered=summed.calls_total - summed.calls_missed, **replied)
    return summed.inner_join(tables["window_days"], "day").rename(date="day")


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return messages, calls, tokens, cost and alerts of each day, fact by fact."""
    sms, spend, calls, alerts, _ = (_within(tables[name], window) for name in _FACTS)
    openai = spend.filter(spend.service == "openai")
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
