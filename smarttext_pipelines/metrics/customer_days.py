"""Fact ``customer_days``: calls, texts and OpenAI usage by day, business and customer.

A customer is the other side of a call or text: ``from`` of what comes in, ``to`` of what goes out; texts to owners have
none. Whoever withholds the number, and usage whose request is that of no text or of texts to several people, is in the
row without a customer, so that the sums over customers are those of the other facts.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from smarttext_pipelines.core.customer_key import CHANNEL_PREFIX
from smarttext_pipelines.core.failure_classes import failure_classes
from smarttext_pipelines.core.statuses import (
    INBOUND_STATUSES,
    OWNER_REQUEST_SUFFIX,
    PLACEHOLDER_REQUESTS,
    REPORT_REQUEST_ID,
    STATUS_CLASS,
    WITHHELD_CALLERS,
)
from smarttext_pipelines.metrics import call_volume, replies, spend
from smarttext_pipelines.metrics.keyed import is_none_of, per_key
from smarttext_pipelines.metrics.messages import attempts, status_name
from smarttext_pipelines.metrics.metric import Metric, Tables, Window, byte_order, days_after
from smarttext_pipelines.metrics.numbers import businesses_by_number, compared_number

COUNTS = (
    "calls_total",
    "calls_missed",
    "replied_in_time_count",
    "replied_late_count",
    "unreplied_count",
    "reply_unknown_count",
    "messages_received",
    "texts_sent",
    "texts_successful",
    "texts_failed",
    "texts_in_flight",
    "texts_suppressed",
    "texts_unknown",
    "failed_opted_out",
    "failed_invalid_number",
    "failed_unreachable",
    "openai_requests",
    "openai_tokens_used",
)
"""Measures that are whole numbers, in the order of the table; ``openai_cost_usd`` comes after them."""

_GROUP = ["day", "business", "number"]
_STATES = {"replied_in_time": "in_time", "replied_late": "late", "unreplied": "never", "reply_unknown": "unknown"}
_FAILURES = ("opted_out", "invalid_number", "unreachable")


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def keyed_hash(text: str, inner: str, outer: str) -> dt.uuid:
    """Return the first 128 bits of HMAC-SHA-256, from its padded blocks; each engine writes it in its own words."""


def customer_number(column: Any) -> ir.StringValue:
    """Return a number as customers are told apart by; NULL where nothing is left or the number is withheld."""
    bare = compared_number(column)
    bare = ibis.ifelse(bare.contains(":"), bare.re_replace(CHANNEL_PREFIX, ""), bare).nullif("")
    return ibis.ifelse(bare.lower().isin(WITHHELD_CALLERS), ibis.null("string"), bare)


def _calls(tables: Tables, window: Window) -> ir.Table:
    """Return calls and inbound texts by caller."""

    def measures(rows: ir.Table) -> Mapping[str, ir.Value]:
        return {
            "named": byte_order(rows.business_id.cast("string")).min(),
            "called": byte_order(rows.to_number.nullif("")).min(),
            "caller": byte_order(rows.number.nullif("")).min(),
            "is_text": rows.is_text.any(),
            "is_missed": (rows.event_type == "voice.missed").any(),
        }

    found = _of_day(per_key(call_volume.keyed_rows(tables), window, measures), window)
    owners = businesses_by_number(tables, ("twilio_phone", "public_phone"))
    found = found.left_join(owners, found.called == owners.number).drop("number")
    found = found.mutate(business=ibis.coalesce(found.named, found.owner_id), number=customer_number(found.caller))
    return found.group_by(_GROUP).agg(
        calls_total=found.count(where=~found.is_text),
        calls_missed=found.count(where=found.is_missed),
        messages_received=found.count(where=found.is_text),
    )


def _replies(tables: Tables, window: Window) -> ir.Table:
    found = replies.replied_calls(tables, window)
    found = found.mutate(number=customer_number(found.caller))
    counts = {f"{name}_count": found.count(where=found.state == state) for name, state in _STATES.items()}
    return found.group_by(_GROUP).agg(**counts)


def _texts(tables: Tables, window: Window) -> ir.Table:
    """Return texts to customers by recipient."""
    found = _of_day(attempts(tables, window), window)
    found = found.filter(found.audience == "customer")
    found = found.mutate(
        business=byte_order(found.business_id.cast("string")),
        number=customer_number(found.recipient),
        status_class=status_name(found.status_order).cases(*STATUS_CLASS.items()),
    )
    classes = ("successful", "failed", "in_flight", "suppressed", "unknown")
    counts = {f"texts_{name}": found.count(where=found.status_class == name) for name in classes}
    for name in _FAILURES:
        is_of_class = (found.status_class == "failed") & found.error_code.isin(failure_classes()[name].codes)
        counts[f"failed_{name}"] = found.count(where=is_of_class.fill_null(False))
    return found.group_by(_GROUP).agg(texts_sent=found.count(), **counts)


def _usage(tables: Tables, window: Window) -> ir.Table:
    """Return OpenAI usage by the recipient of the texts that have its request id."""
    used = spend.usage(tables, window)
    used = used.filter(used.service == "openai")
    keys = ["request_id"] if window.is_one_day else ["request_id", "day"]
    found = used.left_join(_recipients(tables, window), keys)
    found = found.mutate(business=byte_order(found.business_id.cast("string")))
    return found.group_by(_GROUP).agg(
        openai_requests=found.count(where=found.is_request),
        openai_tokens_used=found.tokens.sum().cast("int64"),
        openai_cost_usd=found.cost.sum().cast("decimal(38, 6)"),
    )


def _recipients(tables: Tables, window: Window) -> ir.Table:
    """Return ``request_id`` (and ``day``, for a range) and the ``number`` of the only customer its texts went to.

    Usage and text are written within seconds of each other; texts of the day and of those next to it are looked at.
    """
    t, near = tables["sms_events"], replace(window, days=window.days.widen(1))
    t = t.filter(
        window.between(t.created_at, near.start_at, near.end_at),
        is_none_of(t.request_id, (*PLACEHOLDER_REQUESTS, REPORT_REQUEST_ID)),
        ~t.request_id.endswith(OWNER_REQUEST_SUFFIX),
        ~t.status.lower().isin(INBOUND_STATUSES).fill_null(False),
    )
    rows = t.select("request_id", at=t.created_at, number=byte_order(customer_number(t.to_number)))
    if not window.is_one_day:
        seen = rows.mutate(seen_day=window.day(rows["at"]))
        days = [seen.mutate(day=days_after(seen.seen_day, n)).drop("seen_day") for n in (-1, 0, 1)]
        rows = ibis.union(*days)
    keys = ["request_id"] if window.is_one_day else ["request_id", "day"]
    found = rows.group_by(keys).agg(least=rows.number.min(), greatest=rows.number.max())
    return found.filter(found.least == found.greatest).select(*keys, number="least")


def _of_day(found: ir.Table, window: Window) -> ir.Table:
    return found.mutate(day=window.literal_day()) if window.is_one_day else found


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact; numbers become keys at the end, once for each customer."""
    parts = [part(tables, window) for part in (_calls, _replies, _texts, _usage)]
    both = ibis.union(*[_filled(part) for part in parts])
    keyed = both.group_by(_GROUP).agg(**_sums(both)).cross_join(tables["customer_key"])
    keyed = keyed.mutate(
        business_id=keyed.business.cast("uuid"), customer_key=keyed_hash(keyed.number, keyed.inner, keyed.outer)
    )
    # Without a secret every key is NULL.
    return keyed.group_by("day", "business_id", "customer_key").agg(**_sums(keyed))


def _sums(rows: ir.Table) -> dict[str, ir.Value]:
    sums: dict[str, ir.Value] = {name: rows[name].sum().cast("int64") for name in COUNTS}
    return sums | {"openai_cost_usd": rows.openai_cost_usd.sum().cast("decimal(38, 6)")}


def _filled(part: ir.Table) -> ir.Table:
    """Return a part with the measures that it does not count as zeros."""
    none = ibis.literal(0, type="decimal(38, 6)")
    cost = part.openai_cost_usd if "openai_cost_usd" in part.columns else none
    counts = {name: part[name] if name in part.columns else ibis.literal(0) for name in COUNTS}
    whole = {name: count.cast("int64") for name, count in counts.items()}
    return part.select(*_GROUP, **whole, openai_cost_usd=cost)


_TOTALS: dict[str, tuple[str, ...]] = {
    "keys": ("calls_total", "messages_received"),
    "missed": ("replied_in_time_count", "replied_late_count", "unreplied_count", "reply_unknown_count"),
    "openai_requests": ("openai_requests",),
    "openai_tokens_used": ("openai_tokens_used",),
    "openai_cost_usd": ("openai_cost_usd",),
}


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return calls and inbound texts, missed calls, and OpenAI usage of each day."""
    used = spend.usage(tables, window)
    used = used.filter(used.service == "openai")
    usage = used.group_by("day").agg(
        openai_requests=used.count(where=used.is_request),
        openai_tokens_used=used.tokens.sum(),
        openai_cost_usd=used.cost.sum(),
    )
    parts = (call_volume.source_totals(tables, window), replies.source_totals(tables, window), usage)
    kind = "decimal(38, 6)"
    filled = [
        part.select(
            "day", **{name: (part[name] if name in part.columns else ibis.literal(0)).cast(kind) for name in _TOTALS}
        )
        for part in parts
    ]
    both = ibis.union(*filled)
    return both.group_by("day").agg(**{name: both[name].sum() for name in _TOTALS})


METRIC = Metric(
    name="customer_days",
    inputs=(
        "businesses",
        "call_events",
        "sms_events",
        "owner_alerts",
        "api_usage",
        "shared_senders",
        "customer_key",
    ),
    source="call_events",
    shares_source=True,
    looked_up=("sms_events", "owner_alerts", "api_usage"),
    repeated=replies.repeated,
    reads_neighbours=True,
    dimensions=("day", "business_id", "customer_key"),
    rows=rows,
    totals=_TOTALS,
    source_totals=source_totals,
)
