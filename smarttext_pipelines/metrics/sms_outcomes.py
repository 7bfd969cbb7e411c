"""Fact ``sms_outcomes``: messages by day, business, audience, sender, status, class and error code."""

import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import STATUS_CLASS, TEXT_LIMIT
from smarttext_pipelines.metrics.keyed import first_days
from smarttext_pipelines.metrics.messages import keyed_rows, messages, repeated, status_name
from smarttext_pipelines.metrics.metric import Metric, Tables, Window

_DIMENSIONS = ("day", "business_id", "audience", "sender", "status", "status_class", "error_code")


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact; a message is in exactly one of its three counts."""
    found = messages(tables, window)
    counted = found.group_by(
        "day",
        "business_id",
        "audience",
        "status_order",
        sender=found.sender.left(TEXT_LIMIT),
        error_code=found.error_code.left(TEXT_LIMIT).nullif(""),
    ).agg(
        message_count=found.count(where=~found.is_inbound & ~found.is_report),
        late_report_count=found.count(where=~found.is_inbound & found.is_report),
        inbound_count=found.count(where=found.is_inbound),
    )
    named = counted.mutate(status=status_name(counted.status_order), business_id=counted.business_id.cast("uuid"))
    named = named.mutate(status_class=named.status.cases(*STATUS_CLASS.items()))
    return named.select(*_DIMENSIONS, "message_count", "late_report_count", "inbound_count")


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return how many messages begin on each day, whatever they are."""
    heads = first_days(keyed_rows(tables), window)
    if window.is_one_day:
        return heads.agg(keys=heads.count()).mutate(day=window.literal_day())
    return heads.group_by("day").agg(keys=heads.count())


METRIC = Metric(
    name="sms_outcomes",
    inputs=("businesses", "sms_events", "owner_alerts", "shared_senders"),
    source="sms_events",
    looked_up=("owner_alerts",),
    repeated=repeated,
    reads_neighbours=True,
    dimensions=_DIMENSIONS,
    rows=rows,
    totals={"keys": ("message_count", "late_report_count", "inbound_count")},
    source_totals=source_totals,
)
