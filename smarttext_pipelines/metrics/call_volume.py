"""Fact ``call_volume``: distinct calls and inbound texts by day and business."""

from operator import itemgetter

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import WORDS_FOR_NONE
from smarttext_pipelines.metrics.keyed import REPEATED, Keyed, first_days, is_none_of, per_key
from smarttext_pipelines.metrics.metric import Daily, Metric, Window, byte_order
from smarttext_pipelines.metrics.numbers import businesses_by_number
from smarttext_pipelines.metrics.repeated import repeated_keys
from smarttext_pipelines.metrics.windowed import Tables

CALLS = "window_calls"
"""Table of the result of ``calls``, where several statements read the same window."""


def keyed_rows(tables: Tables) -> Keyed:
    """Return the rows that are calls or inbound texts; ``sid`` is that of its own, tests are left out."""
    t = tables["call_events"]
    is_text = t.event_type == "sms.inbound"
    t = t.mutate(is_text=is_text).filter(is_text | (t.event_type.startswith("voice.") & (t.event_type != "voice.test")))
    kind, id_ = ibis.ifelse(t.is_text, "t", "c"), t.id.cast("string")
    has_sid = is_none_of(t.call_sid, WORDS_FOR_NONE)
    rows = t.select(
        "business_id",
        "to_number",
        "is_text",
        "event_type",
        key=byte_order(kind + ibis.ifelse(has_sid, "s" + t.call_sid, "i" + id_)),
        key_hash=ibis.ifelse(has_sid, t.call_sid.hash(), id_.hash()),
        part=byte_order(ibis.literal("")),
        row_key=byte_order(kind + "i" + id_),
        number=t.from_number,
        at=t.ts,
    )
    return Keyed(rows, tables.get(REPEATED))


def repeated(tables: Tables, window: Window) -> ir.Table:
    """Return the sids that identify no call on a day."""
    return repeated_keys(keyed_rows(tables).rows, window)


def _measures(rows: ir.Table) -> dict[str, ir.Value]:
    return {
        "business": byte_order(rows.business_id.cast("string")).min(),
        "called": byte_order(rows.to_number.nullif("")).min(),
        "is_text": rows.is_text.any(),
        "caller": byte_order(rows.number.nullif("")).min(),
        "missed_at": rows.at.min(where=rows.event_type == "voice.missed"),
    }


def calls(tables: Tables, window: Window) -> ir.Table:
    """Return one row per call or inbound text: key, day, first_at, business_id, caller, is_text, is_missed, missed_at.

    What was found before stands in ``tables`` under ``CALLS``.
    """
    return tables[CALLS] if CALLS in tables else calls_among(keyed_rows(tables), tables, window)


def calls_among(keyed: Keyed, tables: Tables, window: Window) -> ir.Table:
    """Return ``calls`` among some of ``keyed_rows``."""
    found = per_key(keyed, window, _measures)
    found = found.mutate(day=window.literal_day()) if window.is_one_day else found
    owners = businesses_by_number(tables, ("twilio_phone", "public_phone"))
    found = found.left_join(owners, found.called == owners.number)
    return found.select(
        "key",
        "day",
        "first_at",
        "caller",
        "is_text",
        "missed_at",
        business_id=ibis.coalesce(found.business, found.owner_id),
        is_missed=found.missed_at.notnull(),
    )


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact."""
    found = calls(tables, window)
    counted = found.group_by("day", "business_id").agg(
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


DAILY: Daily = {name: itemgetter(name) for name in ("calls_total", "calls_missed", "messages_received")}

METRIC = Metric(
    name="call_volume",
    inputs=("businesses", "call_events", "shared_senders"),
    source="call_events",
    window_tables=(CALLS,),
    reads_neighbours=True,
    repeated=repeated,
    dimensions=("day", "business_id"),
    rows=rows,
    totals={"keys": ("calls_total", "messages_received")},
    source_totals=source_totals,
    daily=DAILY,
)
