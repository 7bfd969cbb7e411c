"""Fact ``missed_call_replies``: what became of the promise that every missed call gets a text, by day and business.

A call is answered by a text to its caller, of its business, that began after the call did and at most 24 hours after it
was missed, as far as that is known when the settle window of the call's day ends. A text that failed or was suppressed
is no answer. Where no answer is known, a text whose outcome is open or that has no business, a caller without a number
and a call without a business make it unknown, never answered and never unanswered.
"""

from dataclasses import replace
from datetime import timedelta

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.statuses import STATUS_CLASS, WITHHELD_CALLERS
from smarttext_pipelines.metrics.base import Metric, RecentWindow, Tables, Window, byte_order, elapsed_ms
from smarttext_pipelines.metrics.calls import keyed_rows
from smarttext_pipelines.metrics.keyed import businesses_by_number, first_days, grouping, rows_of
from smarttext_pipelines.metrics.messages import attempts, status_name

REPLY_HOURS = 24
"""A text later than that is about something else; one day, so that the settle window covers its reports."""


def missed_calls(tables: Tables, window: Window) -> ir.Table:
    """Return one row per missed call: key, day, business (text), caller, started_at, missed_at, latest_at."""
    near = _voice_rows(tables, window)
    found = near.group_by(grouping(window)).agg(
        named=byte_order(near.business_id.cast("string")).min(),
        number=byte_order(near.to_number.nullif("")).min(),
        caller=byte_order(near.from_number.nullif("")).min(),
        started_at=near.at.min(),
        missed_at=near.at.min(where=near.event_type == "voice.missed"),
    )
    found = found.mutate(day=window.literal_day()) if window.is_one_day else found
    found = found.left_join(businesses_by_number(tables, ("twilio_phone", "public_phone")), "number")
    is_withheld = found.caller.lower().isin(WITHHELD_CALLERS)
    calls = found.select(
        "key",
        "day",
        "started_at",
        "missed_at",
        latest_at=found.missed_at + ibis.interval(hours=REPLY_HOURS),
        business=ibis.coalesce(found.named, found.owner_id),
        caller=ibis.ifelse(is_withheld, ibis.null("string"), found.caller),
    )
    return calls.filter(calls.missed_at.notnull())


def replied_calls(tables: Tables, window: Window) -> ir.Table:
    """Return one row per missed call: key, day, business (text), caller, missed_at, replied_at, ``state``, ``wait_ms``.

    The state is in_time, late, never or unknown; without a known answer the wait is NULL.
    """
    calls, texts = missed_calls(tables, window), _texts(tables, window)
    joined = calls.left_join(
        texts,
        [
            calls.caller == texts.recipient,
            calls.day == texts.call_day,
            texts.first_at >= calls.started_at,
            texts.first_at <= calls.latest_at,
        ],
    )
    is_same = joined.text_business == joined.business
    is_open = (joined.status_class.isin(("in_flight", "unknown")) & (is_same | joined.text_business.isnull())) | (
        (joined.status_class == "successful") & joined.text_business.isnull()
    )
    found = joined.group_by("key", "day", "business", "caller", "missed_at").agg(
        replied_at=joined.first_at.min(where=is_same & (joined.status_class == "successful")),
        is_open=is_open.fill_null(False).any(),
    )
    promised = found.missed_at + ibis.interval(minutes=window.reply_minutes)
    is_waiting = promised > ibis.literal(window.as_of)
    is_unknown = found.business.isnull() | found.caller.isnull() | found.is_open | is_waiting
    wait = elapsed_ms(found.replied_at, found.missed_at)
    return found.select(
        "key",
        "day",
        "business",
        "caller",
        "missed_at",
        "replied_at",
        "is_open",
        state=ibis.cases(
            (found.replied_at <= promised, "in_time"),
            (found.replied_at.notnull(), "late"),
            (is_unknown, "unknown"),
            else_="never",
        ),
        wait_ms=ibis.ifelse(wait < 0, 0, wait),
    )


def _voice_rows(tables: Tables, window: Window) -> ir.Table:
    events = keyed_rows(tables)
    events = events.filter(~events.is_text)
    return rows_of(first_days(events, window), events, window)


def _texts(tables: Tables, window: Window) -> ir.Table:
    """Return the texts to customers that began on the day of a call (``call_day``) or on the next."""
    if isinstance(window, RecentWindow):
        return _texts_of(tables, window, window)
    following = replace(
        window,
        days=DayRange(window.days.first + timedelta(days=1), window.days.last + timedelta(days=1)),
        # The last day that is looked at stays that of the call's settle window.
        settle_days=window.settle_days - 1,
    )
    return ibis.union(*[_texts_of(tables, window, each) for each in (window, following)])


def _texts_of(tables: Tables, window: Window, began: Window) -> ir.Table:
    t = attempts(tables, began)
    t = t.filter(t.audience == "customer")
    delay = (began.days.first - window.days.first).days
    return t.select(
        "recipient",
        "first_at",
        call_day=window.literal_day() if window.is_one_day else (t.day - ibis.interval(days=delay)).cast("date"),
        text_business=byte_order(t.business_id.cast("string")),
        status_class=status_name(t.status_order).cases(*STATUS_CLASS.items()),
    )


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the fact; waits are nearest-rank percentiles of the calls whose answer is known."""
    calls = replied_calls(tables, window)
    group = ["day", "business"]
    ordered = ibis.window(group_by=group, order_by=calls.wait_ms.fill_null(2**62))
    ranked = calls.mutate(
        place=(ibis.row_number().over(ordered) + 1) * 100,
        answered=calls.wait_ms.count().over(ibis.window(group_by=group)),
    )
    counted = ranked.group_by(group).agg(
        **{
            f"{name}_count": ranked.count(where=ranked.state == state)
            for name, state in (
                ("replied_in_time", "in_time"),
                ("replied_late", "late"),
                ("unreplied", "never"),
                ("reply_unknown", "unknown"),
            )
        },
        wait_p50_ms=ranked.wait_ms.min(where=ranked.place >= ranked.answered * 50),
        wait_p95_ms=ranked.wait_ms.min(where=ranked.place >= ranked.answered * 95),
    )
    return counted.mutate(
        business_id=counted.business.cast("uuid"), reply_minutes=ibis.literal(window.reply_minutes, type="int32")
    ).drop("business")


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return how many missed calls begin on each day."""
    near = _voice_rows(tables, window)
    missed = near.filter(near.event_type == "voice.missed").select(grouping(window)).distinct()
    if window.is_one_day:
        return missed.agg(missed=missed.count()).mutate(day=window.literal_day())
    return missed.group_by("day").agg(missed=missed.count())


METRIC = Metric(
    name="missed_call_replies",
    inputs=("businesses", "call_events", "sms_events", "owner_alerts", "shared_senders"),
    source="call_events",
    shares_source=True,
    looked_up=("sms_events", "owner_alerts"),
    reads_neighbours=True,
    dimensions=("day", "business_id"),
    rows=rows,
    totals={"missed": ("replied_in_time_count", "replied_late_count", "unreplied_count", "reply_unknown_count")},
    source_totals=source_totals,
)
