"""Shares that tell whether numbers can be trusted, by day: how many of what, and the limit beyond which it is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, func, select, text

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, DayRange, day_end, day_start
from smarttext_pipelines.core.failure_classes import class_by_code
from smarttext_pipelines.core.statuses import (
    FINAL_STATUSES,
    MOST_NUMBERS_OF_A_KEY,
    MOST_ROWS_OF_A_KEY,
    PLACEHOLDER_SIDS,
)
from smarttext_pipelines.metrics.sources import SOURCE_TIMES
from smarttext_pipelines.storage.schema.stats import daily_stats, sms_outcomes


@dataclass(frozen=True)
class Share:
    """A part of a whole on one day."""

    part: int
    whole: int

    @property
    def percent(self) -> float:
        """The share in percent; of nothing, some is all and none is 0."""
        return 100 * self.part / max(self.whole, self.part) if self.part else 0.0


@dataclass(frozen=True)
class ShareCheck:
    """A share that must not exceed a limit on any day.

    Attributes:
        asset: Asset that carries the check.
        name: Name of the check.
        limit_percent: Largest share that passes.
        read: Reads the shares of a range of days.
        settled_only: Whether days whose settle window is not over are left out.
    """

    asset: str
    name: str
    limit_percent: float
    read: Callable[[Connection, DayRange], Mapping[date, Share]]
    settled_only: bool = False


def _outcomes(part: ColumnElement[bool] | None, whole: ColumnElement[bool]) -> Any:
    t = sms_outcomes.c

    def read(connection: Connection, days: DayRange) -> dict[date, Share]:
        counted = func.coalesce(func.sum(t.message_count).filter(whole), 0)
        some = func.sum(t.late_report_count) if part is None else func.sum(t.message_count).filter(part)
        per_day = select(t.day, func.coalesce(some, 0), counted).where(t.day.between(days.first, days.last))
        return {day: Share(int(p), int(w)) for day, p, w in connection.execute(per_day.group_by(t.day))}

    return read


def _unattributed(connection: Connection, days: DayRange) -> dict[date, Share]:
    t = daily_stats.c
    # Rows that were adopted lack columns.
    counts = (t.messages_sent, t.calls_total, t.messages_received, t.openai_requests)
    events = sum((func.coalesce(c, 0) for c in counts[1:]), func.coalesce(counts[0], 0))
    unnamed = func.coalesce(func.sum(events).filter(t.business_id.is_(None)), 0)
    per_day = select(t.date, unnamed, func.sum(events)).where(t.date.between(days.first, days.last)).group_by(t.date)
    return {day: Share(int(p), int(w)) for day, p, w in connection.execute(per_day)}


def _businesses(part: ColumnElement[bool], whole: ColumnElement[bool]) -> Any:
    t = daily_stats.c

    def read(connection: Connection, days: DayRange) -> dict[date, Share]:
        counts = (func.count().filter(whole & part), func.count().filter(whole))
        named = t.business_id.is_not(None) & t.date.between(days.first, days.last)
        found = connection.execute(select(t.date, *counts).where(named).group_by(t.date))
        return {day: Share(p, w) for day, p, w in found}

    return read


_FAILED_ALERTS = text(
    """
    WITH alerts AS (
        SELECT (a.created_at AT TIME ZONE i.reporting_timezone)::date AS day, a.message_sid
        FROM monitoring.owner_alerts AS a CROSS JOIN monitoring.installation AS i
        WHERE a.delivered AND a.message_sid <> '' AND a.message_sid <> ALL (:placeholders)
            AND NOT starts_with(a.alert_type, 'pipeline.')
            AND a.created_at >= CAST(:first AS date) - 1 AND a.created_at < CAST(:last AS date) + 2
    ), outcomes AS (
        SELECT message_sid, bool_or(lower(status) IN ('failed', 'undelivered')) AS is_failed,
               bool_or(lower(status) IN ('partially_delivered', 'delivered', 'read')) AS has_arrived
        FROM monitoring.sms_events WHERE message_sid IN (SELECT message_sid FROM alerts) GROUP BY message_sid
    )
    SELECT a.day, count(*) FILTER (WHERE o.is_failed AND NOT o.has_arrived), count(*)
    FROM alerts AS a LEFT JOIN outcomes AS o USING (message_sid)
    WHERE a.day BETWEEN :first AND :last GROUP BY a.day
    """
)


def _failed_alerts(connection: Connection, days: DayRange) -> dict[date, Share]:
    values = {"first": days.first, "last": days.last, "placeholders": list(PLACEHOLDER_SIDS)}
    found = connection.execute(_FAILED_ALERTS, values)
    return {day: Share(part, whole) for day, part, whole in found}


_FAILED = sms_outcomes.c.status_class == "failed"
_NOT_SUPPRESSED = sms_outcomes.c.status_class != "suppressed"

SHARE_CHECKS = (
    ShareCheck(
        "sms_outcomes",
        "statuses_known",
        1.0,
        _outcomes(sms_outcomes.c.status_class == "unknown", sms_outcomes.c.status_class.is_not(None)),
    ),
    ShareCheck(
        "sms_outcomes",
        "error_codes_mapped",
        0.0,
        _outcomes(
            _FAILED & sms_outcomes.c.error_code.is_not(None) & sms_outcomes.c.error_code.not_in(list(class_by_code())),
            _FAILED,
        ),
    ),
    ShareCheck(
        "sms_outcomes",
        "late_reports",
        1.0,
        _outcomes(None, sms_outcomes.c.status_class.is_not(None)),
    ),
    ShareCheck(
        "sms_failure_rates",
        "coverage",
        30.0,
        _outcomes(_NOT_SUPPRESSED & sms_outcomes.c.status.not_in(FINAL_STATUSES), _NOT_SUPPRESSED),
        settled_only=True,
    ),
    ShareCheck(
        "daily_stats",
        "unattributed_share",
        10.0,
        _unattributed,
    ),
    ShareCheck(
        "daily_stats",
        "texts_have_calls",
        20.0,
        _businesses(
            (daily_stats.c.calls_total == 0) & (daily_stats.c.messages_received == 0), daily_stats.c.messages_sent > 0
        ),
    ),
    ShareCheck(
        "daily_stats",
        "answers_have_usage",
        20.0,
        _businesses(
            func.coalesce(daily_stats.c.openai_requests, 0) == 0,
            (daily_stats.c.messages_received > 0) & (daily_stats.c.messages_sent > daily_stats.c.calls_missed),
        ),
    ),
    ShareCheck(
        "owner_alert_delivery",
        "delivered_alerts_arrived",
        5.0,
        _failed_alerts,
    ),
)


def undated_rows_from(source: str, zone: ZoneInfo) -> str:
    """Return where a source's rows are that belong to no day: without a time, or outside what can be rolled up.

    Args:
        source: One of ``SOURCE_TIMES``.
        zone: Reporting zone.
    """
    at = SOURCE_TIMES[source]
    start, end = _literals(day_start(FIRST_DAY, zone), day_end(LAST_DAY, zone))
    undated = f"({at} IS NULL OR {at} < '{start}' OR {at} >= '{end}')"
    if source == "api_usage":
        by_date = f"(reset_date NOT BETWEEN '{FIRST_DAY}' AND '{LAST_DAY}' OR reset_date IS NULL AND {undated})"
        by_time = "(reset_date_zone <> reporting_timezone) IS TRUE"
        return f"FROM monitoring.{source}, monitoring.installation WHERE {by_date} AND ({undated} OR NOT {by_time})"
    return f"FROM monitoring.{source} WHERE {undated}"


def undated_rows(connection: Connection, source: str, zone: ZoneInfo) -> int:
    """Return how many rows of a source belong to no day."""
    query = f"SELECT count(*) {undated_rows_from(source, zone)}"
    return int(connection.scalar(text(query)) or 0)


def _literals(*instants: datetime) -> list[str]:
    return [f"{at:%Y-%m-%d %H:%M:%S}+00" for at in instants]


def repeated_keys_query(source: str, day: date, zone: ZoneInfo) -> str:
    """Return the query of the sids that have more rows or numbers on a day than a message or call can have."""
    sid, number = ("call_sid", "from_number") if source == "call_events" else ("message_sid", "to_number")
    at = SOURCE_TIMES[source]
    start, end = _literals(day_start(day, zone), day_end(day, zone))
    return (
        f"SELECT {sid}, count(*) AS rows, count(DISTINCT {number}) AS numbers FROM monitoring.{source} "  # noqa: S608
        f"WHERE {at} >= '{start}' AND {at} < '{end}' AND {sid} <> '' GROUP BY {sid} "
        f"HAVING count(*) > {MOST_ROWS_OF_A_KEY} OR count(DISTINCT {number}) > {MOST_NUMBERS_OF_A_KEY}"
    )
