"""How many rows of a source a day has, and how new they are: what a rollup records and later compares."""

from collections.abc import Mapping
from datetime import UTC, datetime

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.days import FIRST_INSTANT, LAST_INSTANT
from smarttext_pipelines.metrics.metric import Window
from smarttext_pipelines.metrics.windowed import Tables

SOURCE_TIMES: Mapping[str, str] = {
    "sms_events": "created_at",
    "call_events": "ts",
    "api_usage": "created_at",
    "owner_alerts": "created_at",
}
"""Event tables and the column that says when a row happened."""


_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def counts_by_date(usage: ir.Table, window: Window) -> ir.BooleanValue:
    """Return the condition of rows of ``api_usage`` whose day is their ``reset_date``; that of others is their time's.

    Where ``reset_date`` holds days of another zone than the reporting zone, it decides only for rows without a time.
    """
    if not window.usage_by_time:
        return usage.reset_date.notnull()
    at = usage.created_at
    is_timed = ((at >= ibis.literal(FIRST_INSTANT)) & (at < ibis.literal(LAST_INSTANT))).fill_null(False)
    return usage.reset_date.notnull() & ~is_timed


def source_days(source: str, tables: Tables, window: Window) -> ir.Table:
    """Return ``day``, ``rows`` and ``newest_event_at`` of every day of ``search_days`` that has a row.

    Args:
        source: One of ``SOURCE_TIMES``.
        tables: Needs the source and the parameter table ``search_days``.
        window: What ``search_days`` was made of.
    """
    events, days = tables[source], tables["search_days"]
    at = events[SOURCE_TIMES[source]]
    if source == "api_usage":
        is_dated = counts_by_date(events, window)
        dated = events.filter(is_dated).select(day="reset_date", at=at).inner_join(days.select("day"), "day")
        timed = events.filter(~is_dated).select(at=at)
        found = dated.select("day", "at").union(_of_days(timed, days))
    else:
        found = _of_days(events.select(at=at), days)
    at = found["at"]
    # PostgreSQL holds times that Python cannot; a row with a reset_date may have any of them.
    return found.group_by("day").agg(
        rows=found.count(), newest_event_at=at.max(where=(at >= _EARLIEST) & (at < _LATEST))
    )


def _of_days(events: ir.Table, days: ir.Table) -> ir.Table:
    # Bounds instead of a conversion per row: an index scan per day, and no time zone arithmetic.
    joined = events.inner_join(days, [events["at"] >= days.start_at, events["at"] < days.end_at])
    return joined.select("day", "at")
