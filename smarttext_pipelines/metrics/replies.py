"""Fact ``missed_call_replies``: what became of the promise that every missed call gets a text, by day and business.

A call is answered by a text to its caller, of its business, that names the call (its request id is the call's sid) and
began at most 24 hours before or after it, or that began from 5 seconds before the call's first row until 24 hours after
the call was missed; as far as that is known when the settle window of the call's day ends. The texts are those of the
call's day, of the day before and of the next. A text that failed or was suppressed is no answer. Where no answer is
known, a text whose outcome is open or that has no business, a caller without a number and a call without a business
make it unknown, never answered and never unanswered.
"""

from dataclasses import replace

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.statuses import WITHHELD_CALLERS
from smarttext_pipelines.metrics import call_volume, messages
from smarttext_pipelines.metrics.keyed import Keyed, grouping, rows_of
from smarttext_pipelines.metrics.metric import Daily, Metric, RecentWindow, Window, elapsed_ms
from smarttext_pipelines.metrics.numbers import compared_number
from smarttext_pipelines.metrics.reply_texts import REPLY_HOURS, TOGETHER_SECONDS, neighbours
from smarttext_pipelines.metrics.reply_texts import find as find_texts
from smarttext_pipelines.metrics.windowed import Tables

REPLIES = "window_replies"
"""Table of the result of ``replied_calls``, where several statements read the same window."""


def missed_calls(tables: Tables, window: Window) -> ir.Table:
    """Return one row per missed call: key, day, sid, business and caller (text), started_at, missed_at."""
    is_found = call_volume.CALLS in tables
    found = tables[call_volume.CALLS] if is_found else call_volume.calls_among(_voice_rows(tables), tables, window)
    found = found.mutate(caller=compared_number(found.caller))
    is_withheld = found.caller.lower().isin(WITHHELD_CALLERS)
    calls = found.select(
        "key",
        "day",
        "missed_at",
        business="business_id",
        started_at=found.first_at,
        # Of calls with a sid of their own alone: the key says which.
        sid=ibis.ifelse(found.key.startswith("cs"), found.key.substr(2), ibis.null("string")),
        caller=ibis.ifelse(is_withheld, ibis.null("string"), found.caller),
    )
    return calls.filter(calls.missed_at.notnull())


def replied_calls(tables: Tables, window: Window) -> ir.Table:
    """Return one row per missed call: key, day, business (text), caller, missed_at, replied_at, ``state``, ``wait_ms``.

    The state is in_time, late, never or unknown; without a known answer the wait is NULL. What was found before stands
    in ``tables`` under ``REPLIES``.
    """
    if REPLIES in tables:
        return tables[REPLIES]
    calls = missed_calls(tables, window)
    texts, naming = find_texts(tables, window, calls)
    found = _answered(calls, texts, _named(calls, naming, window), window)
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


def _voice_rows(tables: Tables) -> Keyed:
    keyed = call_volume.keyed_rows(tables)
    return replace(keyed, rows=keyed.rows.filter(~keyed.rows.is_text))


def _answered(calls: ir.Table, texts: ir.Table, named: ir.Table, window: Window) -> ir.Table:
    """Return the calls with ``replied_at``, and ``is_open``: whether a text may yet turn out to have answered it.

    Calls and texts are sorted together, and the first text from a call on is taken, so that a call is not joined
    with each of the thousands of texts that its caller may have.
    """
    at = {name: ibis.null("timestamp('UTC')") for name in ("successful_at", "open_at", "unnamed_at")}
    may_answer = texts.is_open | texts.is_successful
    columns = ("key", "day", "business", "caller", "started_at", "missed_at")
    asked = calls.select(*columns, at=calls.started_at - ibis.interval(seconds=TOGETHER_SECONDS), **at)
    answers = texts.select(
        key=ibis.null("string"),
        day="call_day",
        business="text_business",
        caller="recipient",
        started_at=ibis.null("timestamp('UTC')"),
        missed_at=ibis.null("timestamp('UTC')"),
        at="first_at",
        successful_at=ibis.ifelse(texts.is_successful, texts.first_at, at["successful_at"]),
        open_at=ibis.ifelse(texts.is_open, texts.first_at, at["open_at"]),
        unnamed_at=ibis.ifelse(texts.text_business.isnull() & may_answer, texts.first_at, at["unnamed_at"]),
    )
    both = asked.union(answers)
    of_business, of_any = (
        ibis.range_window(group_by=group, order_by=both["at"].desc(), following=0)
        for group in (["day", "caller", "business"], ["day", "caller"])
    )
    both = both.mutate(
        successful_at=both.successful_at.min().over(of_business),
        open_at=both.open_at.min().over(of_business),
        unnamed_at=both.unnamed_at.min().over(of_any),
    )
    found = both.filter(both.key.notnull()).left_join(named, grouping(window))
    latest = found.missed_at + ibis.interval(hours=REPLY_HOURS)
    is_answer = found.business.notnull() & found.caller.notnull() & (found.successful_at <= latest)
    replied_at = ibis.ifelse(is_answer, found.successful_at, at["successful_at"])
    is_open = found.caller.notnull() & ((found.open_at <= latest).fill_null(False) | (found.unnamed_at <= latest))
    return found.select(
        "key",
        "day",
        "business",
        "caller",
        "missed_at",
        replied_at=ibis.least(
            ibis.coalesce(replied_at, found.named_replied_at), ibis.coalesce(found.named_replied_at, replied_at)
        ),
        is_open=is_open.fill_null(False) | found.named_is_open.fill_null(False),
    )


def _named(calls: ir.Table, texts: ir.Table, window: Window) -> ir.Table:
    """Return, for the calls that texts name, ``named_replied_at`` and ``named_is_open``."""
    hours = ibis.interval(hours=REPLY_HOURS)
    joined = calls.inner_join(
        texts,
        [
            calls.sid == texts.request_id,
            calls.day == texts.call_day,
            calls.caller == texts.recipient,
            texts.first_at >= calls.started_at - hours,
            texts.first_at <= calls.missed_at + hours,
        ],
    )
    is_same, is_unnamed = joined.text_business == joined.business, joined.text_business.isnull()
    is_open = (joined.is_open & (is_same | is_unnamed)) | (joined.is_successful & is_unnamed)
    return joined.group_by(grouping(window)).agg(
        named_replied_at=joined.first_at.min(where=is_same & joined.is_successful),
        named_is_open=is_open.fill_null(False).any(),
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


def repeated(tables: Tables, window: Window) -> ir.Table:
    """Return the keys of calls and of the searched texts that identify nothing on a day."""
    near = [window]
    if not isinstance(window, RecentWindow):
        around = neighbours(window)
        near = [replace(window, days=DayRange(day, day)) for day in around.days] if window.is_one_day else [around]
    return ibis.union(call_volume.repeated(tables, window), *(messages.repeated(tables, each) for each in near))


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return how many missed calls begin on each day."""
    near = rows_of(_voice_rows(tables), window)
    missed = near.filter(near.event_type == "voice.missed").select(grouping(window)).distinct()
    if window.is_one_day:
        return missed.agg(missed=missed.count()).mutate(day=window.literal_day())
    return missed.group_by("day").agg(missed=missed.count())


DAILY: Daily = {
    "missed_calls_replied": lambda t: t.replied_in_time_count + t.replied_late_count,
    "missed_calls_unreplied": lambda t: t.unreplied_count,
    "missed_calls_reply_unknown": lambda t: t.reply_unknown_count,
}

METRIC = Metric(
    name="missed_call_replies",
    inputs=("businesses", "call_events", "sms_events", "owner_alerts", "shared_senders"),
    source="call_events",
    shares_source=True,
    looked_up=("sms_events", "owner_alerts"),
    repeated=repeated,
    window_tables=(call_volume.CALLS, messages.TEXTS, REPLIES),
    reads_neighbours=True,
    dimensions=("day", "business_id"),
    rows=rows,
    totals={"missed": ("replied_in_time_count", "replied_late_count", "unreplied_count", "reply_unknown_count")},
    source_totals=source_totals,
    daily=DAILY,
)
