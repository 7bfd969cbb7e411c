"""Rows that repeat: one message or call is all rows with one key, and belongs to the day of its earliest row.

A key exists on a day when it has a row there and none in the ``settle_days`` before; its rows are those of that day and
of the ``settle_days`` after. A range of days gives exactly what its days give one by one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import PLACEHOLDER_SIDS
from smarttext_pipelines.metrics.base import Tables, Window, byte_order


def has_text(column: Any) -> ir.BooleanValue:
    """Return whether a text is neither NULL nor empty."""
    return column.fill_null("") != ""


def is_sid(column: Any) -> ir.BooleanValue:
    """Return whether a text is a sid of its own: neither NULL, empty nor a placeholder."""
    # Comparisons one by one: PostgreSQL takes several times as long to look into an array, for every row of the window.
    return ibis.and_(*[column != other for other in ("", *PLACEHOLDER_SIDS)]).fill_null(False)


def first_days(rows: ir.Table, window: Window) -> ir.Table:
    """Return the distinct ``key`` (and ``day``, for a range) of what begins within the window.

    Args:
        rows: Table with ``key`` and ``at``.
        window: The days.
    """
    seen = rows.filter(window.between(rows.at, window.start_at, window.end_at))
    if window.is_one_day:
        earlier = rows.filter(window.between(rows.at, window.search_start_at, window.start_at))
        return seen.select("key").distinct().anti_join(earlier, "key")
    earlier = rows.filter(window.between(rows.at, window.search_start_at, window.end_at))
    earlier = earlier.select("key", seen_day=window.day(earlier.at))
    heads = seen.select("key", day=window.day(seen.at)).distinct()
    settle = ibis.interval(days=window.settle_days)
    return heads.anti_join(
        earlier, [heads.key == earlier.key, earlier.seen_day < heads.day, earlier.seen_day >= heads.day - settle]
    )


def per_key(rows: ir.Table, window: Window, measures: Callable[[ir.Table], Mapping[str, ir.Value]]) -> ir.Table:
    """Return one row for each ``key`` (and ``day``, for a range) that begins within the window.

    For one day each has its ``first_at``.

    Args:
        rows: Table with ``key``, ``key_hash`` (equal for equal keys), ``at`` and what the measures read.
        window: The days.
        measures: Builds the aggregates of the rows of a key.
    """
    if not window.is_one_day:
        near = rows_of(first_days(rows, window), rows, window)
        return near.group_by("key", "day").agg(**measures(near))
    near = _rows_near(rows, window)
    found = near.group_by("key").agg(first_at=near.at.min(), **measures(near))
    return found.filter(window.between(found.first_at, window.start_at, window.end_at))


def _rows_near(rows: ir.Table, window: Window) -> ir.Table:
    """Return the rows of whatever has a row on the only day, and a few more whose hashes are equal."""
    # One pass, cut down by small hashes. That times are near holds anyway; it keeps PostgreSQL from sorting out
    # repeated hashes first, once in each parallel worker.
    seen = rows.filter(window.between(rows.at, window.start_at, window.end_at)).select("key_hash", "at")
    near = rows.filter(window.between(rows.at, window.search_start_at, window.search_end_at))
    span = ibis.interval(hours=24 * (window.settle_days + 2))
    return near.semi_join(seen, [near.key_hash == seen.key_hash, near.at < seen.at + span])


def grouping(window: Window) -> list[str]:
    """Return the columns that tell one message or call from another within a window."""
    return ["key"] if window.is_one_day else ["key", "day"]


def rows_of(heads: ir.Table, rows: ir.Table, window: Window, *, before: bool = False) -> ir.Table:
    """Return the rows that belong to what ``first_days`` found, with its ``day`` for a range.

    Args:
        heads: Result of ``first_days``.
        rows: Table with ``key``, ``at`` and whatever is aggregated later.
        window: The days.
        before: Whether rows of the settle window before the day count too (for rows of another table).
    """
    start = window.search_start_at if before else window.start_at
    near = rows.filter(window.between(rows.at, start, window.search_end_at))
    if window.is_one_day:
        return near.semi_join(heads, "key")
    settle = ibis.interval(days=window.settle_days)
    near = near.mutate(seen_day=window.day(near.at))
    earliest = heads.day - settle if before else heads.day
    return near.inner_join(
        heads, [near.key == heads.key, near.seen_day >= earliest, near.seen_day <= heads.day + settle]
    ).drop("key_right")


def businesses_by_number(tables: Tables, columns: tuple[str, ...]) -> ir.Table:
    """Return ``number`` and ``owner_id`` (text) of every number that exactly one business has and nobody shares.

    Args:
        tables: Needs ``businesses`` and ``shared_senders``.
        columns: Columns of ``businesses`` that count as having the number.
    """
    businesses = tables["businesses"]
    numbers = (
        ibis.union(*[_numbers(businesses, name) for name in columns])
        if len(columns) > 1
        else _numbers(businesses, columns[0])
    )
    owners = numbers.group_by("number").agg(owner_id=numbers.owner_id.min(), owner_count=numbers.owner_id.nunique())
    owners = owners.filter(owners.owner_count == 1).select("number", "owner_id")
    return owners.anti_join(tables["shared_senders"], "number")


def _numbers(businesses: ir.Table, column: str) -> ir.Table:
    named = businesses.filter(has_text(businesses[column]))
    return named.select(number=named[column], owner_id=byte_order(named.id.cast("string")))
