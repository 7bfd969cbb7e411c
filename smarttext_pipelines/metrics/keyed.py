"""Rows that repeat: one message or call is all rows with one key, and belongs to the day of its earliest row.

A key exists on a day when it has a row there and none in the ``settle_days`` before; its rows are those of that day and
of the ``settle_days`` after. A range of days gives exactly what its days give one by one, in a time that grows with the
rows and not with how often a key repeats. Where a key identifies nothing on a day (``metrics.repeated``), its rows take
finer ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.statuses import PLACEHOLDER_SIDS
from smarttext_pipelines.metrics.metric import Window, byte_order, days_after

Measures = Callable[[ir.Table], Mapping[str, ir.Value]]
"""Builds the aggregates of the rows of a key."""

REPEATED = "repeated_keys"
"""Parameter table of the keys that identify nothing on a day: ``key``, ``part`` (or empty), ``day``."""


@dataclass(frozen=True)
class Keyed:
    """Rows and the columns that identify their message or call.

    Attributes:
        rows: Table with ``key``, ``key_hash`` (equal for equal keys), ``part`` (what distinguishes rows of an
            invalid key; empty where only the row itself does), ``row_key``, ``number``, ``at`` and what is aggregated.
        repeated: The parameter table ``REPEATED``; None where no key is in it.
    """

    rows: ir.Table
    repeated: ir.Table | None = None


def is_none_of(column: Any, values: tuple[str, ...]) -> ir.BooleanValue:
    """Return whether a text is neither NULL, nor empty, nor one of the values."""
    # Comparisons one by one: PostgreSQL takes several times as long to look into an array, for every row of the window.
    return ibis.and_(*[column != other for other in ("", *values)]).fill_null(False)


def is_sid(column: Any) -> ir.BooleanValue:
    """Return whether a text is a message sid of its own: neither NULL, empty nor a placeholder."""
    return is_none_of(column, PLACEHOLDER_SIDS)


def first_days(keyed: Keyed, window: Window) -> ir.Table:
    """Return the distinct ``key`` (and ``day``, for a range) of what begins within the window."""
    found = _first_days(keyed.rows, window)
    if keyed.repeated is None:
        return found
    finer = _finer(keyed, window)
    firsts = finer.group_by(grouping(window)).agg(first_at=finer.at.min())
    return _without_repeated(found, keyed, window).union(_of_their_day(firsts, window).select(grouping(window)))


def _first_days(rows: ir.Table, window: Window) -> ir.Table:
    if window.is_one_day:
        seen = rows.filter(window.between(rows.at, window.start_at, window.end_at))
        earlier = rows.filter(window.between(rows.at, window.search_start_at, window.start_at))
        return seen.select("key").distinct().anti_join(earlier, "key")
    seen = rows.filter(window.between(rows.at, window.search_start_at, window.end_at))
    days = seen.select("key", day=window.day(seen.at)).distinct()
    days = days.mutate(before=days.day.lag().over(ibis.window(group_by="key", order_by="day")))
    begins = days.before.isnull() | (days.before < days.day - ibis.interval(days=window.settle_days))
    return days.filter(begins, days.day >= window.literal_day()).select("key", "day")


def per_key(keyed: Keyed, window: Window, measures: Measures) -> ir.Table:
    """Return one row for each ``key`` (and ``day``, for a range) that begins within the window, with its ``first_at``.

    Args:
        keyed: Rows with what the measures read.
        window: The days.
        measures: Builds the aggregates of the rows of a key.
    """

    def aggregated(rows: ir.Table) -> ir.Table:
        return rows.group_by(grouping(window)).agg(first_at=rows.at.min(), **measures(rows))

    if window.is_one_day:
        found = _of_their_day(aggregated(_rows_near(keyed.rows, window)), window)
    else:
        found = aggregated(_rows_of_range(keyed.rows, window))
    if keyed.repeated is None:
        return found
    finer = _of_their_day(aggregated(_finer(keyed, window)), window)
    return _without_repeated(found, keyed, window).union(finer)


def per_key_of_ends(keyed: Keyed, first: ir.Table, last: ir.Table, window: Window, measures: Measures) -> ir.Table:
    """Return what ``per_key`` does for the first and the last day of a range, in one pass with fixed bounds.

    Args:
        keyed: Rows with what the measures read.
        first: Table with the ``key_hash`` of what is wanted of the first day; few.
        last: The same of the last day.
        window: The range.
        measures: Builds the aggregates of the rows of a key.
    """
    rows = keyed.rows.filter(window.between(keyed.rows.at, window.search_start_at, window.search_end_at))
    wanted = first.select("key_hash", is_first=True).union(last.select("key_hash", is_first=False))
    wanted = wanted.group_by("key_hash").agg(is_first=wanted.is_first.any())
    near = rows.inner_join(wanted, "key_hash")
    days = ends_of(window)
    both = [w.literal_day() for w in days]
    near = near.mutate(day=ibis.ifelse(near.is_first, ibis.array(both), ibis.array(both[1:])).unnest())

    def on_its_day(day: ir.DateValue, *bounds: ir.BooleanValue) -> ir.BooleanValue:
        return ibis.or_(*[(day == w.literal_day()) & bound for w, bound in zip(days, bounds, strict=True)])

    near = near.filter(on_its_day(near.day, *[w.between(near.at, w.search_start_at, w.search_end_at) for w in days]))
    found = near.group_by("key", "day").agg(first_at=near.at.min(), **measures(near))
    found = found.filter(on_its_day(found.day, *[w.between(found.first_at, w.start_at, w.end_at) for w in days]))
    if keyed.repeated is None:
        return found
    finer = _finer(keyed, window)
    finer = finer.filter(finer.day.isin([w.literal_day() for w in days]))
    finer = _of_their_day(finer.group_by("key", "day").agg(first_at=finer.at.min(), **measures(finer)), window)
    return _without_repeated(found, keyed, window).union(finer)


def ends_of(window: Window) -> list[Window]:
    """Return the first and the last day of a range as windows of one day."""
    return [replace(window, days=DayRange(day, day)) for day in (window.days.first, window.days.last)]


def belonging(keyed: Keyed, window: Window) -> ir.Table:
    """Return the rows under each ``key`` (and ``day``, for a range) that they belong to if it begins then."""
    rows, columns = keyed.rows, [*keyed.rows.columns, *grouping(window)[1:]]
    if window.is_one_day:
        own = rows.filter(window.between(rows.at, window.start_at, window.search_end_at))
    else:
        rows = rows.mutate(seen_day=window.day(rows.at))
        offsets = range(window.settle_days + 1)
        own = ibis.union(*[rows.mutate(day=days_after(rows.seen_day, -n)).select(columns) for n in offsets])
    if keyed.repeated is None:
        return own
    finer = _finer(keyed, window)
    begun = finer.at >= ibis.literal(window.start_at) if window.is_one_day else window.day(finer.at) >= finer.day
    return own.union(finer.filter(begun).select(columns))


def rows_of(keyed: Keyed, window: Window) -> ir.Table:
    """Return the rows of what begins within the window, joined with ``first_days``, with its ``day`` for a range."""
    if window.is_one_day:
        near = keyed.rows.filter(window.between(keyed.rows.at, window.start_at, window.search_end_at))
        found = near.semi_join(_first_days(keyed.rows, window), "key")
    else:
        found = _rows_of_range(keyed.rows, window)
    if keyed.repeated is None:
        return found
    finer = _finer(keyed, window)
    begun = finer.semi_join(first_days(keyed, window), grouping(window)).select(found.columns)
    return _without_repeated(found, keyed, window).union(begun)


def _rows_near(rows: ir.Table, window: Window) -> ir.Table:
    """Return the rows of all keys that have a row on the only day, and a few more whose hashes are equal."""
    # One pass, cut down by small hashes. That times are near holds anyway; it keeps PostgreSQL from sorting out
    # repeated hashes first, once in each parallel worker.
    seen = rows.filter(window.between(rows.at, window.start_at, window.end_at)).select("key_hash", "at")
    near = rows.filter(window.between(rows.at, window.search_start_at, window.search_end_at))
    span = ibis.interval(hours=24 * (window.settle_days + 2))
    return near.semi_join(seen, [near.key_hash == seen.key_hash, near.at < seen.at + span])


def _rows_of_range(rows: ir.Table, window: Window) -> ir.Table:
    """Return the rows of what begins within a range, with its ``day``: one sort, however often a key repeats."""
    near = rows.filter(window.between(rows.at, window.search_start_at, window.search_end_at))
    near = near.mutate(seen_day=window.day(near.at))
    settle = ibis.interval(days=window.settle_days)
    before = near.seen_day.lag().over(ibis.window(group_by="key", order_by="seen_day"))
    near = near.mutate(before=before)
    begins = near.before.isnull() | (near.before < near.seen_day - settle)
    near = near.mutate(began=ibis.ifelse(begins, near.seen_day, ibis.null("date")))
    # Rows of one day are peers, so that it does not matter which of them came first.
    latest = near.began.max().over(ibis.range_window(group_by="key", order_by="seen_day", following=0))
    near = near.mutate(day=latest)
    first, last = (ibis.literal(day, type="date") for day in (window.days.first, window.days.last))
    of_days = near.filter(near.day >= first, near.day <= last, near.seen_day <= near.day + settle)
    return of_days.drop("seen_day", "before", "began")


def _of_their_day(found: ir.Table, window: Window) -> ir.Table:
    """Return what has its earliest row on its day, among what has any row near it."""
    if window.is_one_day:
        return found.filter(window.between(found.first_at, window.start_at, window.end_at))
    return found.filter(window.day(found.first_at) == found.day)


def _without_repeated(found: ir.Table, keyed: Keyed, window: Window) -> ir.Table:
    return found.anti_join(_repeated(keyed, window, ""), grouping(window))


def _repeated(keyed: Keyed, window: Window, part: str | None = None) -> ir.Table:
    """Return the keys that identify nothing on days of the window: the keys themselves, or the finer ones."""
    repeated: Any = keyed.repeated
    first, last = (ibis.literal(day, type="date") for day in (window.days.first, window.days.last))
    of_days = repeated.filter(repeated.day >= first, repeated.day <= last)
    return of_days.filter(of_days.part == "" if part is not None else of_days.part != "")


def _finer(keyed: Keyed, window: Window) -> ir.Table:
    """Return the rows near each day on which their key identifies nothing, under finer keys, with that ``day``."""
    near = keyed.rows.filter(window.between(keyed.rows.at, window.search_start_at, window.search_end_at))
    days = _repeated(keyed, window, "").select("key", "day")
    if window.is_one_day:
        near = near.inner_join(days, "key")
    else:
        # An equality for each day that is looked at: a comparison would meet every row of a key with each of its days.
        near = near.mutate(seen_day=window.day(near.at))
        offsets = range(-window.settle_days, window.settle_days + 1)
        seen = ibis.union(*[days.mutate(seen_day=days_after(days.day, n)) for n in offsets])
        near = near.inner_join(seen, ["key", "seen_day"]).drop("seen_day")
    within = "w" + near.key.length().cast("string") + ":" + near.key + near.part
    near = near.mutate(within=byte_order(within))
    none_either = _repeated(keyed, window).select("key", "part", "day", is_repeated=True)
    near = near.left_join(none_either, ["key", "part", "day"])
    is_alone = (near.part == "") | near.is_repeated.fill_null(False)
    return near.mutate(key=ibis.ifelse(is_alone, near.row_key, near.within))


def grouping(window: Window) -> list[str]:
    """Return the columns that identify one message or call within a window."""
    return ["key"] if window.is_one_day else ["key", "day"]
