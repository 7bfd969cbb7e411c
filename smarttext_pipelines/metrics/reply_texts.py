"""Texts that may answer missed calls: those of the call's day and of the next, and some of the day before.

The windows of neighbouring days are a day shorter on both sides, so that nothing is outside the window of the
call's own day, and a settled day stays settled.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import STATUS_CLASS
from smarttext_pipelines.metrics.keyed import Keyed, Measures, belonging, ends_of, grouping, per_key, per_key_of_ends
from smarttext_pipelines.metrics.messages import TEXTS, PerKey, attempted, keyed_rows, status_name, texts
from smarttext_pipelines.metrics.metric import RecentWindow, Window, byte_order, days_after
from smarttext_pipelines.metrics.windowed import Tables

REPLY_HOURS = 24
"""A text later than that is about something else; one day, so that the settle window covers its reports."""

TOGETHER_SECONDS = 5
"""How far apart a call and its text are written at most, in any order."""


def find(tables: Tables, window: Window, calls: ir.Table) -> tuple[ir.Table, ir.Table]:
    """Return the texts to the callers that may answer them, and which of the calls they name.

    Args:
        tables: The inputs.
        window: The days of the calls.
        calls: Calls with ``sid`` and ``caller``.

    Returns:
        Texts: recipient, first_at, call_day (the day of the calls that it may answer), text_business, is_successful,
        is_open. The same with ``request_id`` for each call that a text names.
    """
    callers = calls.filter(calls.caller.notnull()).select(recipient="caller").distinct()
    sids = calls.filter(calls.sid.notnull()).select(request_id="sid").distinct()
    keyed = keyed_rows(tables)
    rows = keyed.rows.filter(window.between(keyed.rows.at, _earliest(window), window.search_end_at))
    # Distinct, which they are, so that PostgreSQL looks for them once.
    naming = rows.semi_join(sids, "request_id").select("key", "key_hash", "part", "row_key", "at", "request_id")
    naming = naming.distinct()
    parts = [
        _call_days(_texts(tables, window, began, group, callers), replace(keyed, rows=naming), window, began)
        for began, group in _passes(window, naming)
    ]
    found, named = zip(*parts, strict=True)
    return ibis.union(*found), ibis.union(*named)


def neighbours(window: Window) -> Window:
    """Return the days around those of a window, whose own windows are a day shorter on both sides."""
    return replace(window, days=window.days.widen(1), settle_days=window.settle_days - 1)


def _before(window: RecentWindow) -> RecentWindow:
    return replace(window, ago=window.ago + window.length, length=timedelta(hours=REPLY_HOURS))


def _earliest(window: Window) -> datetime:
    return _before(window).search_start_at if isinstance(window, RecentWindow) else window.search_start_at


def _passes(window: Window, naming: ir.Table) -> list[tuple[Window, PerKey]]:
    """Return the windows in which texts are looked for, and what groups their rows.

    Of earlier texts, only those that name a call, or were written at the same time, are worth grouping.
    """
    together = timedelta(seconds=TOGETHER_SECONDS)
    if isinstance(window, RecentWindow):
        before = _before(window)

        def of_before(keyed: Keyed, began: Window, measures: Measures) -> ir.Table:
            rows = keyed.rows.filter(began.between(keyed.rows.at, began.search_start_at, began.search_end_at))
            last = rows.filter(began.between(rows.at, began.end_at - together, began.end_at))
            wanted = naming.select("key_hash").union(last.select("key_hash"))
            return per_key(replace(keyed, rows=rows.semi_join(wanted.distinct(), "key_hash")), began, measures)

        return [(window, per_key), (before, of_before)]
    if not window.is_one_day:
        return [(window, per_key), (neighbours(window), per_key)]

    def of_neighbours(keyed: Keyed, began: Window, measures: Measures) -> ir.Table:
        before, after = ends_of(began)
        rows = keyed.rows
        concurrent = rows.filter(began.between(rows.at, before.end_at - together, before.end_at))
        later = rows.filter(began.between(rows.at, after.start_at, after.end_at))
        first = naming.select("key_hash").union(concurrent.select("key_hash"))
        return per_key_of_ends(keyed, first, later.select("key_hash"), began, measures)

    return [(window, per_key), (neighbours(window), of_neighbours)]


def _texts(tables: Tables, window: Window, began: Window, group: PerKey, callers: ir.Table) -> ir.Table:
    days = ends_of(began) if window.is_one_day and not began.is_one_day else []
    if began is window and TEXTS in tables:
        t = tables[TEXTS].semi_join(callers, "recipient")
    else:
        t = texts(tables, began, group, only_to=callers, days=days)
    t = attempted(t)
    t = t.filter(t.audience == "customer")
    status_class = status_name(t.status_order).cases(*STATUS_CLASS.items())
    return t.select(
        *grouping(began),
        "recipient",
        "first_at",
        text_business=byte_order(t.business_id.cast("string")),
        is_successful=status_class == "successful",
        is_open=status_class.isin(("in_flight", "unknown")),
    )


def _call_days(found: ir.Table, naming: Keyed, window: Window, began: Window) -> tuple[ir.Table, ir.Table]:
    """Return the texts, and the calls they name, with the day of the calls that they may answer."""
    pairs = belonging(naming, began).select(*grouping(began), "request_id").distinct()
    named = pairs.inner_join(found, grouping(began))

    def on(table: ir.Table) -> ir.Table:
        columns = [name for name in table.columns if name not in ("key", "day")]
        if window.is_one_day:
            return table.select(*columns, call_day=window.literal_day())
        if began.days == window.days:
            return table.select(*columns, call_day="day")
        return ibis.union(*[table.select(*columns, call_day=days_after(table.day, by)) for by in (-1, 1)])

    return on(found), on(named)
