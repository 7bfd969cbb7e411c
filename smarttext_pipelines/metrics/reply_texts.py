"""Texts that may answer missed calls: those of the call's day and of the next, and some of the day before.

Of a neighbour's texts one day less is looked at in both directions, so that nothing lies outside the window of the
call's own day, and a settled day stays settled.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.statuses import STATUS_CLASS
from smarttext_pipelines.metrics.base import RecentWindow, Tables, Window, byte_order
from smarttext_pipelines.metrics.keyed import Keyed, rows_of
from smarttext_pipelines.metrics.messages import attempts, keyed_rows, status_name

REPLY_HOURS = 24
"""A text later than that is about something else; one day, so that the settle window covers its reports."""

TOGETHER_SECONDS = 5
"""A call and its text are written side by side, in any order; so far apart at most."""

Condition = Callable[[ir.Table], ir.BooleanValue]


def find(tables: Tables, window: Window, sids: ir.Table) -> tuple[ir.Table, ir.Table]:
    """Return the texts to customers that may answer calls of the window, and which of the calls they name.

    Args:
        tables: The inputs.
        window: The days of the calls.
        sids: Distinct sids of the calls as ``request_id``.

    Returns:
        Texts: key, recipient, first_at, call_day (the day of the calls that it may answer), text_business,
        is_successful, is_open. The same with ``request_id`` for each call that a text names.
    """
    keyed = keyed_rows(tables)
    texts, named = [], []
    for began, only in windows_of_texts(window):
        near = keyed.rows.filter(began.between(keyed.rows.at, began.search_start_at, began.search_end_at))
        naming = near.semi_join(sids, "request_id").select("key_hash")
        part = keyed
        if only is not None:
            seen = near.filter(began.between(near.at, began.start_at, began.end_at))
            part = _part(keyed, naming.union(seen.filter(only(seen)).select("key_hash")))
        found = _texts(tables, window, began, part)
        texts.append(found)
        if began.start_at <= window.start_at:
            # Only a text from before its call must name it.
            pairs = rows_of(_part(keyed, naming), began).semi_join(sids, "request_id")
            pairs = pairs.select("key", "request_id", call_day=_call_day(pairs, window, began)).distinct()
            named.append(pairs.inner_join(found, ["key", "call_day"]))
    return _union(texts), _union(named)


def windows_of_texts(window: Window) -> list[tuple[Window, Condition | None]]:
    """Return where texts are looked for; with a condition, only those of which a row fulfils it or names a call."""
    together = ibis.interval(seconds=TOGETHER_SECONDS)
    before: Window
    if isinstance(window, RecentWindow):
        before = replace(window, ago=window.ago + window.length, length=timedelta(hours=REPLY_HOURS))
    else:
        before, after = (
            replace(window, days=_shifted(window.days, by), settle_days=window.settle_days - 1) for by in (-1, 1)
        )

    def is_last(rows: ir.Table) -> ir.BooleanValue:
        if window.is_one_day:
            return rows.at >= ibis.literal(before.end_at) - together
        return before.day(rows.at + together) > before.day(rows.at)

    found: list[tuple[Window, Condition | None]] = [(window, None), (before, is_last)]
    return found if isinstance(window, RecentWindow) else [*found, (after, None)]


def _shifted(days: DayRange, by: int) -> DayRange:
    return DayRange(days.first + timedelta(days=by), days.last + timedelta(days=by))


def _part(keyed: Keyed, hashes: ir.Table) -> Keyed:
    return replace(keyed, rows=keyed.rows.semi_join(hashes.distinct(), "key_hash"))


def _texts(tables: Tables, window: Window, began: Window, keyed: Keyed) -> ir.Table:
    t = attempts(tables, began, keyed)
    t = t.filter(t.audience == "customer")
    status_class = status_name(t.status_order).cases(*STATUS_CLASS.items())
    return t.select(
        "key",
        "recipient",
        "first_at",
        call_day=_call_day(t, window, began),
        text_business=byte_order(t.business_id.cast("string")),
        is_successful=status_class == "successful",
        is_open=status_class.isin(("in_flight", "unknown")),
    )


def _call_day(rows: ir.Table, window: Window, began: Window) -> ir.DateValue:
    if window.is_one_day:
        return window.literal_day()
    return (rows.day - ibis.interval(days=(began.days.first - window.days.first).days)).cast("date")


def _union(parts: Iterable[ir.Table]) -> ir.Table:
    first, *others = parts
    return ibis.union(first, *others) if others else first
