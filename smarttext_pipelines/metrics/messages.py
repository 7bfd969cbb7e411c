"""Outbound messages: from the rows of ``sms_events`` to one row per message.

Only minima, maxima, sums and counts, so that partial results merge in any order, on any engine.
"""

from collections.abc import Callable, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import (
    CODE_PATTERN,
    INBOUND_STATUSES,
    OWNER_REQUEST_SUFFIX,
    PLACEHOLDER_REQUESTS,
    RANK,
    REPORT_REQUEST_ID,
    UNKNOWN,
    WORDS_FOR_NO_CODE,
)
from smarttext_pipelines.metrics.keyed import REPEATED, Keyed, Measures, is_none_of, is_sid, per_key
from smarttext_pipelines.metrics.metric import Window, byte_order, days_after
from smarttext_pipelines.metrics.numbers import businesses_by_number, compared_number
from smarttext_pipelines.metrics.repeated import repeated_keys
from smarttext_pipelines.metrics.windowed import Tables

PerKey = Callable[[Keyed, Window, Measures], ir.Table]

TEXTS = "window_texts"
"""Table of the result of ``texts``, where several statements read the same window."""

STATUS_NAMES = sorted(RANK, key=lambda status: (RANK[status], status))
"""Statuses in ascending order; equal ranks by name."""


def keyed_rows(tables: Tables) -> Keyed:
    """Return every row of ``sms_events`` with the columns that identify its message.

    The length in front of the request id keeps two texts apart that would read alike when joined.
    """
    t = tables["sms_events"]
    id_ = t.id.cast("string")
    by_sid, by_request = is_sid(t.message_sid), is_none_of(t.request_id, PLACEHOLDER_REQUESTS)
    request = "r" + t.request_id.length().cast("string") + ":" + t.request_id + t.to_number.fill_null("")
    key = ibis.cases((by_sid, "s" + t.message_sid), (by_request, request), else_="i" + id_)
    key_hash = ibis.cases((by_sid, t.message_sid.hash()), (by_request, t.request_id.hash()), else_=id_.hash())
    rows = t.select(
        "business_id",
        "from_number",
        "status",
        "error_code",
        "request_id",
        key=byte_order(key),
        key_hash=key_hash,
        part=byte_order(ibis.ifelse(by_sid & by_request, request, "")),
        row_key=byte_order("i" + id_),
        number=t.to_number,
        at=t.created_at,
    )
    return Keyed(rows, tables.get(REPEATED))


def repeated(tables: Tables, window: Window) -> ir.Table:
    """Return the sids and requests that identify no message on a day."""
    return repeated_keys(keyed_rows(tables).rows, window)


def texts(
    tables: Tables,
    window: Window,
    group: PerKey = per_key,
    *,
    only_to: ir.Table | None = None,
    days: Sequence[Window] = (),
) -> ir.Table:
    """Return one row per message: key, day, first_at, recipient, business (text), audience, sender and what it became.

    Args:
        tables: The inputs.
        window: The days.
        group: Groups the rows.
        only_to: Table with the ``recipient`` of the messages that are wanted; all by default.
        days: Days, where ``group`` groups no others of a range.
    """

    def measures(rows: ir.Table) -> dict[str, ir.Value]:
        return _measures(rows) | {"recipient": byte_order(rows.number.nullif("")).min()}

    found = group(keyed_rows(tables), window, measures)
    found = found.mutate(recipient=compared_number(found.recipient))
    found = found.semi_join(only_to, "recipient") if only_to is not None else found
    found = _with_number(with_alerts(found, tables, window, days), tables)
    return found.select(
        "key",
        "first_at",
        "recipient",
        day=window.literal_day() if window.is_one_day else found.day,
        business=ibis.coalesce(found.business, found.alert_business, found.owner_id),
        **_described(found),
    )


def window_texts(tables: Tables, window: Window) -> ir.Table:
    """Return ``texts``: those that were found before, which stand in ``tables`` under ``TEXTS``, if there are any."""
    return tables[TEXTS] if TEXTS in tables else texts(tables, window)


def attempted(found: ir.Table) -> ir.Table:
    """Return those of ``texts`` that the platform tried to send, with ``business_id``."""
    found = found.filter(~found.is_inbound & ~found.is_report)
    return found.mutate(business_id=found.business.cast("uuid")).drop("business")


def attempts(tables: Tables, window: Window) -> ir.Table:
    """Return one row per message attempted in the window."""
    return attempted(window_texts(tables, window))


def _described(found: ir.Table) -> dict[str, ir.Value]:
    return {
        "audience": ibis.ifelse(found.to_owner | found.alert_business.notnull(), "owner", "customer"),
        "sender": found.sender,
        "status_order": found.status_order,
        "error_code": found.ranked_error.substr(2),
        "is_inbound": found.is_inbound,
        "is_report": found.is_report,
    }


def status_name(order: ir.IntegerValue) -> ir.StringValue:
    """Return the status of a ``status_order``."""
    return order.cases(*enumerate(STATUS_NAMES), else_=UNKNOWN)


def _measures(rows: ir.Table) -> dict[str, ir.Value]:
    status = rows.status.lower()
    rank = status.cases(*[(name, chr(ord("a") + RANK[name])) for name in STATUS_NAMES if RANK[name]], else_="a")
    order = status.cases(*[(name, place) for place, name in enumerate(STATUS_NAMES) if place], else_=0)
    return {
        "business": byte_order(rows.business_id.cast("string")).min(),
        "sender": byte_order(rows.from_number.nullif("")).min(),
        "status_order": order.max(),
        "ranked_error": byte_order(rank + _told_code(rows.error_code)).max(),
        "to_owner": rows.request_id.endswith(OWNER_REQUEST_SUFFIX).fill_null(False).any(),
        "is_inbound": status.isin(INBOUND_STATUSES).fill_null(False).all(),
        "is_report": (rows.request_id.fill_null("") == REPORT_REQUEST_ID).all(),
    }


def _told_code(code: Any) -> ir.StringValue:
    """Return how much a code says, a digit, and what it counts as; see ``core.statuses.counted_code``."""
    number = code.re_extract(CODE_PATTERN, 2).nullif("")
    says_none = code.lower().replace(" ", "").isin(("", *WORDS_FOR_NO_CODE))

    counted: ir.StringValue = ibis.cases(
        (code.fill_null("") == "", "0"), (number.notnull(), "2" + number), (says_none, "0"), else_="1" + code
    )
    return counted


def with_alerts(found: ir.Table, tables: Tables, window: Window, days: Sequence[Window] = ()) -> ir.Table:
    """Return rows by ``key`` (and ``day``, for a range) with ``alert_business``, NULL where no owner alert has it."""
    alerts = tables["owner_alerts"]
    alerts = alerts.filter(
        is_sid(alerts.message_sid),
        window.between(alerts.created_at, window.search_start_at, window.search_end_at),
    )
    alerts = alerts.select(
        key=byte_order("s" + alerts.message_sid),
        at=alerts.created_at,
        named=byte_order(alerts.business_id.cast("string")),
    )
    if days:
        of_days = [alerts.filter(w.between(alerts.at, w.search_start_at, w.search_end_at)) for w in days]
        stacked = ibis.union(
            *[near.select("key", "named", day=w.literal_day()) for near, w in zip(of_days, days, strict=True)]
        )
        by_key = stacked.group_by("key", "day").agg(alert_business=stacked.named.min())
        return found.left_join(by_key, ["key", "day"])
    if window.is_one_day:
        by_key = alerts.group_by("key").agg(alert_business=alerts.named.min())
        return found.left_join(by_key, "key")
    by_day = alerts.group_by("key", alert_day=window.day(alerts.at)).agg(named=alerts.named.min())
    # An equality for each day that is looked at: a comparison would meet every day of a key with each other.
    offsets = range(-window.settle_days, window.settle_days + 1)
    near = ibis.union(*[by_day.select("key", "named", day=days_after(by_day.alert_day, n)) for n in offsets])
    by_key = near.group_by("key", "day").agg(alert_business=near.named.min())
    return found.left_join(by_key, ["key", "day"])


def _with_number(found: ir.Table, tables: Tables) -> ir.Table:
    owners = businesses_by_number(tables, ("twilio_phone",))
    return found.left_join(owners, found.sender == owners.number)
