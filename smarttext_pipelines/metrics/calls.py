"""Fact ``call_volume``: distinct calls and inbound texts by day and business."""

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.metrics.base import Metric, Tables, Window, byte_order
from smarttext_pipelines.metrics.keyed import businesses_by_number, first_days, grouping, has_text, rows_of

_MEASURES = ("calls_total", "calls_missed", "messages_received")


def keyed_rows(tables: Tables) -> ir.Table:
    """Return the rows that are calls or inbound texts with ``key``, ``at`` and ``is_text``; tests are left out."""
    t = tables["call_events"]
    is_text = t.event_type == "sms.inbound"
    t = t.mutate(is_text=is_text).filter(is_text | (t.event_type.startswith("voice.") & (t.event_type != "voice.test")))
    sid = ibis.ifelse(has_text(t.call_sid), "s" + t.call_sid, "i" + t.id.cast("string"))
    return t.select(
        "business_id",
        "from_number",
        "to_number",
        "is_text",
        "event_type",
        key=byte_order(ibis.ifelse(t.is_text, "t", "c") + sid),
        at=t.ts,
    )


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact."""
    events = keyed_rows(tables)
    near = rows_of(first_days(events, window), events, window)
    found = near.group_by(grouping(window)).agg(
        business=byte_order(near.business_id.cast("string")).min(),
        number=byte_order(near.to_number.nullif("")).min(),
        is_text=near.is_text.any(),
        is_missed=(near.event_type == "voice.missed").any(),
    )
    found = found.mutate(day=window.literal_day()) if window.is_one_day else found
    found = found.left_join(businesses_by_number(tables, ("twilio_phone", "public_phone")), "number")
    counted = found.group_by("day", business_id=ibis.coalesce(found.business, found.owner_id)).agg(
        calls_total=found.count(where=~found.is_text),
        calls_missed=found.count(where=found.is_missed),
        messages_received=found.count(where=found.is_text),
    )
    return counted.mutate(business_id=counted.business_id.cast("uuid"))


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return how many calls and inbound texts begin on each day."""
    heads = first_days(keyed_rows(tables), window)
    if window.is_one_day:
        return heads.agg(keys=heads.count()).mutate(day=window.literal_day())
    return heads.group_by("day").agg(keys=heads.count())


METRIC = Metric(
    name="call_volume",
    inputs=("businesses", "call_events", "shared_senders"),
    source="call_events",
    reads_neighbours=True,
    dimensions=("day", "business_id"),
    rows=rows,
    totals={"keys": ("calls_total", "messages_received")},
    source_totals=source_totals,
)
