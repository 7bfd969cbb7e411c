"""Fact ``sms_outcomes``: messages by day, business, audience, sender, status, class and error code."""

from collections.abc import Callable, Mapping

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import DELIVERED_STATUSES, STATUS_CLASS, TEXT_LIMIT
from smarttext_pipelines.metrics.keyed import first_days
from smarttext_pipelines.metrics.messages import TEXTS, keyed_rows, repeated, status_name, window_texts
from smarttext_pipelines.metrics.metric import Daily, Metric, Window
from smarttext_pipelines.metrics.windowed import Tables

_DIMENSIONS = ("day", "business_id", "audience", "sender", "status", "status_class", "error_code")

COUNTS: Mapping[str, Callable[[ir.Table], ir.BooleanValue]] = {
    "message_count": lambda m: ~m.is_inbound & ~m.is_report,
    "late_report_count": lambda m: ~m.is_inbound & m.is_report,
    "inbound_count": lambda m: m.is_inbound,
}
"""Count of the fact → which messages it counts."""


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact; a message is in exactly one of the three counts of ``totals``."""
    found = window_texts(tables, window)
    counted = found.group_by(
        "day",
        "business",
        "audience",
        "status_order",
        sender=found.sender.left(TEXT_LIMIT),
        error_code=found.error_code.left(TEXT_LIMIT).nullif(""),
    ).agg(**{name: found.count(where=counts(found)) for name, counts in COUNTS.items()})
    named = counted.mutate(status=status_name(counted.status_order), business_id=counted.business.cast("uuid"))
    named = named.mutate(status_class=named.status.cases(*STATUS_CLASS.items()))
    return named.select(*_DIMENSIONS, *COUNTS)


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return how many messages of any kind begin on each day."""
    heads = first_days(keyed_rows(tables), window)
    if window.is_one_day:
        return heads.agg(keys=heads.count()).mutate(day=window.literal_day())
    return heads.group_by("day").agg(keys=heads.count())


def _of_class(name: str) -> Callable[[ir.Table], ir.IntegerValue]:
    def added(t: ir.Table) -> ir.IntegerValue:
        return ibis.ifelse(t.status_class == name, t.message_count, 0)

    return added


DAILY: Daily = {
    "messages_sent": lambda t: t.message_count,
    "sms_success_count": _of_class("successful"),
    "sms_failure_count": _of_class("failed"),
    "sms_in_flight_count": _of_class("in_flight"),
    "sms_suppressed_count": _of_class("suppressed"),
    "sms_unknown_count": _of_class("unknown"),
    "sms_delivered_count": lambda t: ibis.ifelse(t.status.isin(DELIVERED_STATUSES), t.message_count, 0),
}
"""A message alone is a row with counts of one or zero, so the same expressions find the rows behind a column."""

METRIC = Metric(
    name="sms_outcomes",
    inputs=("businesses", "sms_events", "owner_alerts", "shared_senders"),
    source="sms_events",
    looked_up=("owner_alerts",),
    repeated=repeated,
    window_tables=(TEXTS,),
    reads_neighbours=True,
    dimensions=_DIMENSIONS,
    rows=rows,
    totals={"keys": ("message_count", "late_report_count", "inbound_count")},
    source_totals=source_totals,
    daily=DAILY,
)
