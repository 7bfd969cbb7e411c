"""Reads what protects history: rows that are there, rows that once were, counts that are stored."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, func, select

from smarttext_pipelines.core.days import is_final
from smarttext_pipelines.engines import EngineChoice, SourceDay
from smarttext_pipelines.metrics import METRICS, Metric, Window
from smarttext_pipelines.rollup.frozen_days import DayRecord, days_to_keep, short_days
from smarttext_pipelines.schema.tables.internal import rollup_days
from smarttext_pipelines.schema.tables.lookup import table_named

_COLUMNS_BY_FACT: Mapping[str, tuple[str, ...]] = {
    "sms_outcomes": ("messages_sent",),
    "spend": ("openai_tokens_used", "openai_cost_estimate", "openai_requests"),
    "call_volume": ("calls_total", "messages_received"),
    "missed_call_replies": ("missed_calls_replied", "missed_calls_unreplied", "missed_calls_reply_unknown"),
    "owner_alert_delivery": ("owner_alerts_sent", "owner_alerts_failed"),
}
"""Columns of ``daily_stats`` that each fact accounts for."""


OfSources = Mapping[str, Mapping[date, SourceDay]]


def days_kept(choice: EngineChoice, metric: Metric, window: Window, events: OfSources) -> set[date]:
    """Return the frozen days of the window, whose events are no longer all there.

    Args:
        choice: The engines of the rollup's transaction.
        metric: What is rolled up.
        window: The days.
        events: Rows of each of the metric's sources by day, neighbours included; none for stats.
    """
    if metric.source:
        return _days_kept_of_fact(choice, metric, window, events)
    return _days_kept_of_stats(choice, window) if metric.name == "daily_stats" else set()


def facts_read_at(connection: Connection, metric: Metric, window: Window) -> dict[date, datetime]:
    """Return when the oldest of a stats metric's facts was read, by day; a day that lacks a fact is left out."""
    sources = [METRICS[name].recorded_as for name in metric.inputs if name in METRICS]
    t = rollup_days.c
    read = select(t.row_day, func.min(t.rolled_up_at)).where(
        t.table_name.in_(sources), t.rolled_up_at.is_not(None), _within(t.row_day, window)
    )
    return {day: at for day, at in connection.execute(read.group_by(t.row_day).having(func.count() == len(sources)))}


def _days_kept_of_fact(choice: EngineChoice, metric: Metric, window: Window, events: OfSources) -> set[date]:
    connection = choice.connection
    lost = {
        day
        for other in metric.looked_up
        for day in short_days(_live(choice.source_days(other)), _recorded(connection, other, window))
    }
    stored = _days_with_rows(connection, table_named(metric.name), window)
    kept: set[date] = set()
    for source, found in events.items():
        # A fact of several sources has rows on days that this one lacks; a source that lost them all is short.
        others = {day for name, days in events.items() if name != source for day, read in days.items() if read.rows}
        kept |= days_to_keep(
            window.days,
            live=_live(found),
            recorded=_recorded_of(connection, metric, source, window),
            stored=stored - others,
            neighbour_days=window.settle_days if metric.reads_neighbours else 0,
            short_elsewhere=lost,
        )
    return kept


def _days_kept_of_stats(choice: EngineChoice, window: Window) -> set[date]:
    """Return the days whose stored counts come from events that no fact accounts for."""
    connection = choice.connection
    kept: set[date] = set()
    for fact, columns in _COLUMNS_BY_FACT.items():
        source = str(METRICS[fact].source)
        unaccounted = _days_with_counts(connection, columns, window) - _days_with_rows(
            connection, table_named(fact), window
        )
        if unaccounted:
            live = _live(choice.source_days(source))
            kept |= days_to_keep(
                unaccounted,
                live=live,
                recorded=_recorded(connection, source, window),
                stored=unaccounted,
                neighbour_days=0,
            )
    return kept


def _recorded_of(connection: Connection, metric: Metric, source: str, window: Window) -> dict[date, DayRecord]:
    """Return what the metric read; rows that another metric read of the same source once existed too."""
    own, shared = (_recorded(connection, name, window) for name in (metric.recorded_as, source))
    if metric.also_counted:
        # Its own count is that of all its sources; when it was read is what is known of each.
        own = {day: replace(record, rows=0) for day, record in own.items()}
    blank = DayRecord(0)
    return {
        day: replace(own.get(day, blank), rows=max(own.get(day, blank).rows, shared.get(day, blank).rows))
        for day in {*own, *shared}
    }


def _recorded(connection: Connection, source: str, window: Window) -> dict[date, DayRecord]:
    near = window.days.widen(window.settle_days)
    t = rollup_days.c
    found = connection.execute(
        select(t.row_day, t.rows, t.newest_event_at, t.rolled_up_at).where(
            t.table_name == source, t.row_day.between(near.first, near.last)
        )
    )

    def was_settled(day: date, at: datetime | None) -> bool:
        return at is not None and is_final(day, window.zone, window.settle_days, at)

    return {day: DayRecord(rows, newest is not None, was_settled(day, at)) for day, rows, newest, at in found}


def _live(found: Mapping[date, SourceDay]) -> dict[date, int]:
    return {day: source_day.rows for day, source_day in found.items()}


def _within(column: Any, window: Window) -> Any:
    return column.between(window.days.first, window.days.last)


def _days_with_rows(connection: Connection, fact: Table, window: Window) -> set[date]:
    return set(connection.scalars(select(fact.c.day).distinct().where(_within(fact.c.day, window))))


def _days_with_counts(connection: Connection, columns: tuple[str, ...], window: Window) -> set[date]:
    stats = table_named("daily_stats").c
    counted = func.sum(
        sum((func.coalesce(stats[name], 0) for name in columns[1:]), func.coalesce(stats[columns[0]], 0))
    )
    days = select(stats.date).where(and_(_within(stats.date, window))).group_by(stats.date).having(counted > 0)
    return set(connection.scalars(days))
