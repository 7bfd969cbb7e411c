"""Which days have been rolled up, and which were requested."""

from collections.abc import Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange, day_end

RECORDED_TABLES = (
    "sms_events",
    "call_events",
    "missed_call_replies",
    "api_usage",
    "owner_alerts",
    "daily_stats",
    "sms_failure_rates",
)
"""Names under which a rollup of what others are computed from leaves a row in ``rollup_days``."""

ALL_TABLES = (*RECORDED_TABLES, "customer_days")
"""All names; days that were rolled up before a fact existed lack it, and are none the less complete for the others."""

_ROLLED_UP = text(
    """
    SELECT row_day, min(checked_at) AS checked_at
    FROM monitoring.rollup_days
    WHERE row_day BETWEEN :first AND :last AND table_name = ANY (:names) AND checked_at IS NOT NULL
        -- A day that is kept has numbers of the application's own, but no customers.
        AND (table_name <> 'customer_days' OR rolled_up_at IS NOT NULL)
    GROUP BY row_day HAVING count(*) = cardinality(CAST(:names AS text[]))
    """
)

_COMPUTED = text(
    """
    SELECT row_day FROM monitoring.rollup_days
    WHERE row_day BETWEEN :first AND :last AND table_name = 'daily_stats' AND checked_at IS NOT NULL
    """
)
_REQUEST = text("INSERT INTO monitoring.rollup_requests (row_day, reason) VALUES (:day, :reason)")
_SERVE = text(
    """
    DELETE FROM monitoring.rollup_requests AS q
    WHERE q.claimed_at IS NOT NULL AND (
        SELECT count(*) FROM monitoring.rollup_days AS r
        WHERE r.row_day = q.row_day AND r.table_name = ANY (:names) AND r.checked_at > q.claimed_at
    ) = cardinality(CAST(:names AS text[]))
    """
)
_CLAIM = text("UPDATE monitoring.rollup_requests SET claimed_at = clock_timestamp() WHERE claimed_at IS NULL")
_PENDING = text("SELECT row_day, max(id) AS newest FROM monitoring.rollup_requests GROUP BY row_day ORDER BY row_day")


def complete_days(
    connection: Connection, days: DayRange, zone: ZoneInfo, tables: Sequence[str] = RECORDED_TABLES
) -> set[date]:
    """Return the days of which each of the tables was rolled up after the day had ended."""
    found = connection.execute(_ROLLED_UP, {"first": days.first, "last": days.last, "names": list(tables)})
    return {day for day, checked_at in found if checked_at >= day_end(day, zone)}


def computed_days(connection: Connection, days: DayRange) -> set[date]:
    """Return the days whose ``daily_stats`` were ever rolled up, if only in part."""
    return set(connection.execute(_COMPUTED, {"first": days.first, "last": days.last}).scalars())


def request_rollups(connection: Connection, reasons: Mapping[date, str]) -> None:
    """Request a rollup of each day, with the reason."""
    if reasons:
        connection.execute(_REQUEST, [{"day": day, "reason": reason} for day, reason in sorted(reasons.items())])


def pending_requests(connection: Connection) -> dict[date, int]:
    """Return the days that are requested and not yet served, each with its newest request; forget the served ones.

    A request is claimed when it is first seen, so everything its writer committed with it is visible to every rollup
    that starts later. It is served when every table of its day was rolled up by such a run; until then it stays.
    """
    connection.execute(_SERVE, {"names": list(ALL_TABLES)})
    connection.execute(_CLAIM)
    return {day: newest for day, newest in connection.execute(_PENDING)}
