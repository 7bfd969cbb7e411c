"""Outbound messages: from the rows of ``sms_events`` to one row per message.

Only minima, maxima, sums and counts, so that partial results merge in any order, on any engine.
"""

from collections.abc import Callable

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import (
    INBOUND_STATUSES,
    OWNER_REQUEST_SUFFIX,
    RANK,
    REPORT_REQUEST_ID,
    UNKNOWN,
)
from smarttext_pipelines.metrics.base import Tables, Window, byte_order
from smarttext_pipelines.metrics.keyed import (
    businesses_by_number,
    first_days,
    grouping,
    has_text,
    is_sid,
    per_key,
    rows_of,
)

_STATUSES = sorted(RANK, key=lambda status: (RANK[status], status))
"""Statuses in ascending order; equal ranks by name."""


def keyed_rows(tables: Tables, *more: str) -> ir.Table:
    """Return every row of ``sms_events`` with the ``key`` of its message, a hash for that, and its time ``at``.

    The length in front of the request id keeps two texts apart that would read alike when joined.
    """
    t = tables["sms_events"]
    request = t.request_id.length().cast("string") + ":" + t.request_id + t.to_number.fill_null("")
    id_ = t.id.cast("string")
    by_sid, by_request = is_sid(t.message_sid), has_text(t.request_id)
    key = ibis.cases((by_sid, "s" + t.message_sid), (by_request, "r" + request), else_="i" + id_)
    key_hash = ibis.cases((by_sid, t.message_sid.hash()), (by_request, t.request_id.hash()), else_=id_.hash())
    columns = ("business_id", "from_number", "status", "error_code", "request_id", *more)
    return t.select(*columns, key=byte_order(key), key_hash=key_hash, at=t.created_at)


def messages(tables: Tables, window: Window) -> ir.Table:
    """Return one row per message: day, business_id, audience, sender, status, error_code, is_inbound, is_report."""
    found = _found(keyed_rows(tables), _measures, tables, window)
    return found.select(
        day=window.literal_day() if window.is_one_day else found.day,
        business_id=ibis.coalesce(found.business, found.alert_business, found.owner_id),
        **_described(found),
    )


def recent_attempts(tables: Tables, window: Window) -> ir.Table:
    """Return one row per message attempted within one day or less, with ``first_at`` and ``recipient``."""

    def measures(rows: ir.Table) -> dict[str, ir.Value]:
        return _measures(rows) | {"recipient": byte_order(rows.to_number).min()}

    found = _found(keyed_rows(tables, "to_number"), measures, tables, window)
    found = found.filter(~found.is_inbound & ~found.is_report)
    return found.select(
        "first_at",
        "recipient",
        business_id=ibis.coalesce(found.business, found.alert_business, found.owner_id).cast("uuid"),
        **_described(found),
    )


def _found(
    rows: ir.Table, measures: Callable[[ir.Table], dict[str, ir.Value]], tables: Tables, window: Window
) -> ir.Table:
    found = per_key(rows, window, measures)
    found = _with_alerts(found, rows, tables, window)
    return _with_number(found, tables)


def _described(found: ir.Table) -> dict[str, ir.Value]:
    return {
        "audience": ibis.ifelse(found.to_owner | found.alert_business.notnull(), "owner", "customer"),
        "sender": found.sender,
        "status_order": found.status_order,
        "error_code": found.ranked_error.substr(1),
        "is_inbound": found.is_inbound,
        "is_report": found.is_report,
    }


def status_name(order: ir.IntegerValue) -> ir.StringValue:
    """Return the status of a ``status_order``."""
    return order.cases(*enumerate(_STATUSES), else_=UNKNOWN)


def _measures(rows: ir.Table) -> dict[str, ir.Value]:
    status = rows.status.lower()
    rank = status.cases(*[(name, chr(ord("a") + RANK[name])) for name in _STATUSES if RANK[name]], else_="a")
    order = status.cases(*[(name, place) for place, name in enumerate(_STATUSES) if place], else_=0)
    return {
        "business": byte_order(rows.business_id.cast("string")).min(),
        "sender": byte_order(rows.from_number.nullif("")).min(),
        "status_order": order.max(),
        "ranked_error": byte_order(rank + rows.error_code.fill_null("")).max(),
        "to_owner": rows.request_id.endswith(OWNER_REQUEST_SUFFIX).fill_null(False).any(),
        "is_inbound": status.isin(INBOUND_STATUSES).fill_null(False).all(),
        "is_report": (rows.request_id.fill_null("") == REPORT_REQUEST_ID).all(),
    }


def _with_alerts(found: ir.Table, rows: ir.Table, tables: Tables, window: Window) -> ir.Table:
    alerts = tables["owner_alerts"]
    alerts = alerts.filter(is_sid(alerts.message_sid))
    alerts = alerts.select(
        key=byte_order("s" + alerts.message_sid),
        at=alerts.created_at,
        named=byte_order(alerts.business_id.cast("string")),
    )
    if window.is_one_day:
        near = alerts.filter(window.between(alerts.at, window.search_start_at, window.search_end_at))
    else:
        near = rows_of(first_days(rows, window), alerts, window, before=True)
    by_key = near.group_by(grouping(window)).agg(alert_business=near.named.min())
    return found.left_join(by_key, grouping(window))


def _with_number(found: ir.Table, tables: Tables) -> ir.Table:
    owners = businesses_by_number(tables, ("twilio_phone",))
    return found.left_join(owners, found.sender == owners.number)
