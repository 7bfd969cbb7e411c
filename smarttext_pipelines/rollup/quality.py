"""Shares that show whether numbers can be trusted, by day, and the limit beyond which a check fails."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, func, select, text

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, DayRange, day_end, day_start
from smarttext_pipelines.core.failure_classes import class_by_code
from smarttext_pipelines.core.rates import UNATTRIBUTED_LIMIT_PERCENT
from smarttext_pipelines.core.statuses import FINAL_STATUSES, PLACEHOLDER_SIDS
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.rollup import concerned
from smarttext_pipelines.rollup.customer_sums import differing_sums, rows_of_differing_sums
from smarttext_pipelines.schema.tables.statistics import daily_stats, sms_outcomes


@dataclass(frozen=True)
class Share:
    """A part of a whole on one day."""

    part: int
    whole: int

    @property
    def percent(self) -> float:
        """The share in percent; of nothing, some is all and none is 0."""
        return 100 * self.part / max(self.whole, self.part) if self.part else 0.0


Read = Callable[[Connection, DayRange], Mapping[date, Share]]
Concerned = Callable[[Iterable[date], ZoneInfo], str]


@dataclass(frozen=True)
class ShareCheck:
    """A share that must not exceed a limit on any day.

    Attributes:
        asset: Asset that carries the check.
        name: Name of the check.
        limit_percent: Largest share that passes.
        whole: What the share is of, and ``part`` what is true of those that are counted: "3 of 7 WHOLE on DAY PART".
        read: Reads the shares of a range of days.
        concerned: Returns the SQL of the rows that make the share of some days.
        named: Column of that SQL whose values are said.
        settled_only: Whether days whose settle window is not over are left out.
    """

    asset: str
    name: str
    limit_percent: float
    whole: str
    part: str
    read: Read
    concerned: Concerned
    named: str | None = None
    settled_only: bool = False


def _outcomes(part: ColumnElement[bool] | None, whole: ColumnElement[bool]) -> tuple[Read, Concerned]:
    t = sms_outcomes.c

    def rows(days: Iterable[date], _zone: ZoneInfo) -> str:
        if part is None:
            return concerned.texts_by_outcome(
                days, concerned.condition(t.late_report_count > 0, sms_outcomes), "late_report_count"
            )
        return concerned.texts_by_outcome(days, concerned.condition(part, sms_outcomes))

    def read(connection: Connection, days: DayRange) -> dict[date, Share]:
        counted = func.coalesce(func.sum(t.message_count).filter(whole), 0)
        some = func.sum(t.late_report_count) if part is None else func.sum(t.message_count).filter(part)
        per_day = select(t.day, func.coalesce(some, 0), counted).where(t.day.between(days.first, days.last))
        return {day: Share(int(p), int(w)) for day, p, w in connection.execute(per_day.group_by(t.day))}

    return read, rows


_COUNTS = ("messages_sent", "calls_total", "messages_received", "openai_requests")


def _unattributed(connection: Connection, days: DayRange) -> dict[date, Share]:
    t = daily_stats.c
    # Rows that were adopted lack columns.
    counts = [func.coalesce(t[name], 0) for name in _COUNTS]
    events = sum(counts[1:], counts[0])
    unnamed = func.coalesce(func.sum(events).filter(t.business_id.is_(None)), 0)
    per_day = select(t.date, unnamed, func.sum(events)).where(t.date.between(days.first, days.last)).group_by(t.date)
    return {day: Share(int(p), int(w)) for day, p, w in connection.execute(per_day)}


def _rows_unattributed(days: Iterable[date], _zone: ZoneInfo) -> str:
    return concerned.stats_rows(days, concerned.condition(daily_stats.c.business_id.is_(None), daily_stats), _COUNTS)


def _businesses(part: ColumnElement[bool], whole: ColumnElement[bool]) -> tuple[Read, Concerned]:
    t = daily_stats.c
    is_named = t.business_id.is_not(None)

    def rows(days: Iterable[date], _zone: ZoneInfo) -> str:
        return concerned.stats_rows(days, concerned.condition(is_named & whole & part, daily_stats), _COUNTS)

    def read(connection: Connection, days: DayRange) -> dict[date, Share]:
        counts = (func.count().filter(whole & part), func.count().filter(whole))
        within = is_named & t.date.between(days.first, days.last)
        found = connection.execute(select(t.date, *counts).where(within).group_by(t.date))
        return {day: Share(p, w) for day, p, w in found}

    return read, rows


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


def _customer_sums(connection: Connection, days: DayRange) -> dict[date, Share]:
    return {day: Share(part, whole) for day, (part, whole) in differing_sums(connection, days).items()}


_T, _D = sms_outcomes.c, daily_stats.c
_ATTEMPTED = _T.status_class.is_not(None)
_FAILED = _T.status_class == "failed"
_NOT_SUPPRESSED = _T.status_class != "suppressed"
_NOT_CLASSIFIED = _T.error_code.is_not(None) & _T.error_code.not_in(list(class_by_code()))

SHARE_CHECKS = (
    ShareCheck(
        "sms_outcomes",
        "statuses_known",
        1.0,
        "texts",
        "had a status of no class",
        _outcomes(_T.status_class == "unknown", _ATTEMPTED)[0],
        concerned.rows_of_unknown_status,
        named="status",
    ),
    ShareCheck(
        "sms_outcomes",
        "error_codes_mapped",
        0.0,
        "failed texts",
        "had an error code of no class",
        *_outcomes(_FAILED & _NOT_CLASSIFIED, _FAILED),
        named="error_code",
    ),
    ShareCheck(
        "sms_outcomes",
        "late_reports",
        1.0,
        "texts",
        "were reports on texts older than the settle window",
        *_outcomes(None, _ATTEMPTED),
    ),
    ShareCheck(
        "sms_failure_rates",
        "coverage",
        30.0,
        "texts",
        "had no final outcome after the settle window",
        *_outcomes(_NOT_SUPPRESSED & _T.status.not_in(FINAL_STATUSES), _NOT_SUPPRESSED),
        named="status",
        settled_only=True,
    ),
    ShareCheck(
        "daily_stats",
        "unattributed_share",
        UNATTRIBUTED_LIMIT_PERCENT,
        "events",
        "had no business",
        _unattributed,
        _rows_unattributed,
    ),
    ShareCheck(
        "daily_stats",
        "texts_have_calls",
        20.0,
        "businesses that sent texts",
        "had neither a call nor an inbound text",
        *_businesses((_D.calls_total == 0) & (_D.messages_received == 0), _D.messages_sent > 0),
    ),
    ShareCheck(
        "daily_stats",
        "answers_have_usage",
        20.0,
        "businesses that got and sent texts",
        "had no OpenAI request",
        *_businesses(
            func.coalesce(_D.openai_requests, 0) == 0,
            (_D.messages_received > 0) & (_D.messages_sent > _D.calls_missed),
        ),
    ),
    ShareCheck(
        "owner_alert_delivery",
        "delivered_alerts_arrived",
        5.0,
        "owner alerts marked as delivered",
        "belonged to a text that failed",
        _failed_alerts,
        concerned.alerts_that_failed,
        named="error_code",
    ),
    ShareCheck(
        "customer_days",
        "customers_add_up",
        0.0,
        "businesses",
        "had other sums over their customers than in the other facts",
        _customer_sums,
        rows_of_differing_sums,
        settled_only=True,
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


def undated_rows_query(source: str, zone: ZoneInfo) -> str:
    """Return the SQL of the rows of a source that belong to no day."""
    columns = [f"{source}.{name}" for name in ("id", SOURCE_TIMES[source], "business_id")]
    columns += [f"{source}.reset_date"] if source == "api_usage" else []
    return f"SELECT {', '.join(columns)}\n{undated_rows_from(source, zone)}\nORDER BY {source}.id"
