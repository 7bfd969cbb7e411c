"""Fact ``customer_days``: calls, texts and OpenAI requests by day, business and customer.

A customer is the other side of a call or text, known by the key of the number (``core.customer_keys``). What has no
number, or none of a known country, is in the row without a key, and so are the requests that no customer is known to
have caused; so sums over customers are those of the other facts.
"""

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import STATUS_CLASS
from smarttext_pipelines.metrics import call_volume, replies, spend
from smarttext_pipelines.metrics.messages import TEXTS, attempts, status_name, window_texts
from smarttext_pipelines.metrics.metric import Metric, Window, keyed_digest
from smarttext_pipelines.metrics.numbers import compared_number, e164
from smarttext_pipelines.metrics.request_customers import openai_requests
from smarttext_pipelines.metrics.windowed import Tables

KEY_BLOCKS = "customer_key_blocks"
"""Parameter table with one row: the ``inner`` and the ``outer`` block of the secret."""

_CALLS = ("calls_total", "calls_missed", "messages_received")
_STATES = {
    "replied_in_time_count": "in_time",
    "replied_late_count": "late",
    "unreplied_count": "never",
    "reply_unknown_count": "unknown",
}
_CLASSES = {
    "sms_success_count": "successful",
    "sms_failure_count": "failed",
    "sms_in_flight_count": "in_flight",
    "sms_suppressed_count": "suppressed",
    "sms_unknown_count": "unknown",
}
_USAGE = ("openai_requests", "openai_tokens_used", "openai_cost_estimate", "openai_unpriced_requests")
MEASURES = (*_CALLS[:2], *_STATES, _CALLS[2], "messages_sent", *_CLASSES, *_USAGE)
_GROUP = ["day", "business_id", "number"]


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact. Numbers are counted first, and then become keys: once for each customer, not for each text."""
    calls = call_volume.calls(tables, window)
    # Each is named twice below, and found once.
    tables = {**tables, call_volume.CALLS: calls, TEXTS: window_texts(tables, window)}
    parts = (_of_calls(calls), _of_replies(tables, window), _of_texts(tables, window), _of_usage(tables, window))
    counted = ibis.union(*[_widened(part) for part in parts])
    # A counted number stands in for its key while rows of one customer are brought together.
    found = counted.group_by(_GROUP).agg(**{name: _sum(counted, name) for name in MEASURES})
    keyed = found.cross_join(tables[KEY_BLOCKS])
    return keyed.select(
        "day", "business_id", *MEASURES, customer_key=keyed_digest(keyed.number, keyed.inner, keyed.outer)
    )


def _of_calls(calls: ir.Table) -> ir.Table:
    calls = calls.mutate(caller=compared_number(calls.caller), business=calls.business_id)
    found = calls.group_by("day", "business", "caller").agg(
        calls_total=calls.count(where=~calls.is_text),
        calls_missed=calls.missed_at.count(),
        messages_received=calls.count(where=calls.is_text),
    )
    return _named(found, "caller")


def _of_replies(tables: Tables, window: Window) -> ir.Table:
    found = replies.replied_calls(tables, window)
    counted = found.group_by("day", "business", "caller").agg(
        **{name: found.count(where=found.state == state) for name, state in _STATES.items()}
    )
    return _named(counted, "caller")


def _of_texts(tables: Tables, window: Window) -> ir.Table:
    t = attempts(tables, window)
    t = t.filter(t.audience == "customer")
    t = t.mutate(status_class=status_name(t.status_order).cases(*STATUS_CLASS.items()))
    found = t.group_by("day", "business_id", "recipient").agg(
        messages_sent=t.count(),
        **{name: t.count(where=t.status_class == each) for name, each in _CLASSES.items()},
    )
    return _named(found.rename(business="business_id"), "recipient")


def _of_usage(tables: Tables, window: Window) -> ir.Table:
    t = openai_requests(tables, window)
    return t.group_by(_GROUP).agg(
        openai_requests=t.count(where=t.is_request),
        openai_tokens_used=t.tokens.sum(),
        openai_cost_estimate=t.cost.sum(),
        openai_unpriced_requests=t.count(where=spend.is_unpriced(t)),
    )


def _named(found: ir.Table, column: str) -> ir.Table:
    number = e164(found[column])
    return found.mutate(business_id=found.business.cast("uuid"), number=number).drop("business", column)


def _kind(name: str) -> str:
    return "decimal(38, 6)" if name == "openai_cost_estimate" else "int64"


def _widened(part: ir.Table) -> ir.Table:
    """Return the rows with every measure, zero where the part has none."""
    zero = ibis.literal(0)
    return part.select(
        *_GROUP, **{name: (part[name] if name in part.columns else zero).cast(_kind(name)) for name in MEASURES}
    )


def _sum(table: ir.Table, name: str) -> ir.NumericValue:
    total: ir.NumericValue = table[name].sum().cast(_kind(name))
    return total


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return calls and inbound texts, missed calls, and requests, tokens and cost of OpenAI on each day."""
    usage = spend.usage(tables, window)
    usage = usage.filter(usage.service == "openai")
    parts = [
        call_volume.source_totals(tables, window).rename(contacts="keys"),
        replies.source_totals(tables, window),
        usage.group_by("day").agg(
            openai_requests=usage.count(where=usage.is_request),
            openai_tokens_used=usage.tokens.sum(),
            openai_cost_estimate=usage.cost.sum(),
        ),
    ]
    names = [name for part in parts for name in part.columns if name != "day"]
    zero = ibis.literal(0)
    stacked = ibis.union(
        *[
            part.select("day", **{n: (part[n] if n in part.columns else zero).cast("decimal(38, 6)") for n in names})
            for part in parts
        ]
    )
    return stacked.group_by("day").agg(**{name: stacked[name].sum() for name in names})


METRIC = Metric(
    name="customer_days",
    inputs=("businesses", "call_events", "sms_events", "api_usage", "owner_alerts", "shared_senders", KEY_BLOCKS),
    source="call_events",
    also_counted=("sms_events", "api_usage"),
    shares_source=True,
    looked_up=("owner_alerts",),
    repeated=replies.repeated,
    window_tables=(call_volume.CALLS, TEXTS, replies.REPLIES),
    reads_them_twice=True,
    reads_neighbours=True,
    dimensions=("day", "business_id", "customer_key"),
    rows=rows,
    totals={
        "contacts": ("calls_total", "messages_received"),
        "missed": ("calls_missed",),
        **{name: (name,) for name in _USAGE[:3]},
    },
    source_totals=source_totals,
)
