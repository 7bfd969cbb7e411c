"""A look at what was written: a few rows with business names, coverage, and the last 30 days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Numeric, Table, func, select

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.rates import percent, shown_rate
from smarttext_pipelines.core.statuses import FINAL_STATUSES
from smarttext_pipelines.metrics import Metric
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines.schema.tables.source_tables import businesses
from smarttext_pipelines.schema.tables.statistics import sms_outcomes

PREVIEW_ROWS = 5
_HIDDEN = ("id", "updated_at", "business_id", "sender", "data_through", "customer_key")


@dataclass(frozen=True)
class Preview:
    """By day: a few rows, the number of businesses, and for messages the coverage in percent."""

    rows: Mapping[date, Sequence[Mapping[str, Any]]]
    businesses: Mapping[date, int]
    coverage: Mapping[date, float]


@dataclass(frozen=True)
class History:
    """The main measures of the days before, for a plot; a day without rows is None, never zero."""

    days: Sequence[date]
    measures: Mapping[str, Sequence[float | None]]


def read_preview(connection: Connection, metric: Metric, days: DayRange) -> Preview:
    """Return the largest rows of each day, by the metric's first measure."""
    target = table_named(metric.name)
    day = target.c[metric.day]
    within = day.between(days.first, days.last)
    largest = func.row_number().over(partition_by=day, order_by=(_measures(metric, target)[0].desc(), target.c.id))
    ranked = select(target, businesses.c.name.label("business"), largest.label("place")).outerjoin(
        businesses, businesses.c.id == target.c.business_id
    )
    ranked_rows = ranked.where(within).subquery()
    rows: dict[date, list[dict[str, Any]]] = {}
    shown = select(ranked_rows).where(ranked_rows.c.place <= PREVIEW_ROWS).order_by(ranked_rows.c.place)
    for row in connection.execute(shown).mappings():
        kept = {k: v for k, v in row.items() if k not in (*_HIDDEN, "business", "place", metric.day)}
        if "failure_rate_percent" in kept:
            kept["failure_rate_percent"] = shown_rate(kept["failure_rate_percent"], kept["coverage_percent"])
        rows.setdefault(row[metric.day], []).append({"business": _name(row["business"]), **kept})
    counted = select(day, func.count(target.c.business_id.distinct())).where(within).group_by(day)
    return Preview(rows, {d: n for d, n in connection.execute(counted)}, read_coverage(connection, metric, days))


def _name(business: str | None) -> str:
    return "(no business)" if business is None else shown_name(business)


def read_coverage(connection: Connection, metric: Metric, days: DayRange) -> dict[date, float]:
    """Return the share of attempted − suppressed messages whose outcome is final, in percent, by day."""
    if metric.name not in ("sms_outcomes", "sms_failure_rates", "daily_stats"):
        return {}
    t = sms_outcomes.c
    final = func.sum(t.message_count).filter(t.status.in_(FINAL_STATUSES))
    counted = func.sum(t.message_count).filter(t.status_class != "suppressed")
    per_day = select(t.day, func.coalesce(final, 0), func.coalesce(counted, 0)).group_by(t.day)
    shares = {day: percent(int(f), int(c)) for day, f, c in connection.execute(_within(per_day, t.day, days))}
    return {day: float(share) for day, share in shares.items() if share is not None}


def read_history(connection: Connection, metric: Metric, last: date) -> History:
    """Return the first two measures of the 30 days that end with ``last``."""
    target = table_named(metric.name)
    day = target.c[metric.day]
    days = DayRange(last - timedelta(days=29), last)
    measures = _measures(metric, target)[:2]
    sums = select(day, *(func.sum(c).label(c.name) for c in measures)).group_by(day)
    found = {row[0]: row for row in connection.execute(_within(sums, day, days))}
    values = {c.name: [_number(found, d, n) for d in days] for n, c in enumerate(measures, start=1)}
    return History(list(days), values)


def _number(found: Mapping[date, Any], day: date, place: int) -> float | None:
    value: Decimal | None = found[day][place] if day in found else None
    return None if value is None else float(value)


def _within(statement: Any, day: ColumnElement[date], days: DayRange) -> Any:
    return statement.where(day.between(days.first, days.last))


def _measures(metric: Metric, target: Table) -> list[Any]:
    first = ["messages_sent", "calls_total"] if metric.name == "daily_stats" else []
    summed = [c for c in target.columns if isinstance(c.type, Integer | Numeric) and c.name not in first]
    return [target.c[name] for name in first] + summed
