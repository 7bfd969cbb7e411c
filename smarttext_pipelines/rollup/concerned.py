"""SQL that shows the rows or days a check is about: it is shown on the check's page, and can be pasted as it is.

No statement selects a telephone number, a text, or a payload. Days and instants are literals, so that nothing has to be
filled in.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Table
from sqlalchemy.dialects import postgresql

from smarttext_pipelines.core.statuses import (
    INBOUND_STATUSES,
    MAX_NUMBERS_OF_A_KEY,
    MAX_ROWS_OF_A_KEY,
    PLACEHOLDER_REQUESTS,
    PLACEHOLDER_SIDS,
    RANK,
    UNKNOWN,
    WORDS_FOR_NONE,
)
from smarttext_pipelines.database.findings import at_times, on_days, texts
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def condition(expression: ColumnElement[bool], table: Table) -> str:
    """Return a condition on the columns of a table as it can be pasted, where the table is called ``t``."""
    compiled = expression.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})
    return str(compiled).replace(f"{table.fullname}.", "t.")


def texts_by_outcome(days: Iterable[date], where: str, counted: str = "message_count") -> str:
    """Return the SQL of texts by day, business, status and error code."""
    return (
        f"SELECT t.day, b.name AS business, t.business_id, t.status, t.error_code,\n"
        f"       sum(t.{counted})::bigint AS texts\n"
        f"FROM monitoring.sms_outcomes AS t LEFT JOIN monitoring.businesses AS b ON b.id = t.business_id\n"
        f"WHERE {on_days('t.day', days)} AND ({where})\n"
        f"GROUP BY t.day, b.name, t.business_id, t.status, t.error_code\n"
        f"ORDER BY texts DESC, t.day, t.business_id, t.status, t.error_code"
    )


def rows_of_unknown_status(days: Iterable[date], zone: ZoneInfo) -> str:
    """Return the SQL of the rows whose status has no class."""
    known = ", ".join(f"'{status}'" for status in (*RANK, *INBOUND_STATUSES) if status != UNKNOWN)
    return (
        "SELECT e.id, e.created_at, e.business_id, e.status, e.error_code\n"
        f"FROM monitoring.sms_events AS e\nWHERE {at_times('e.created_at', days, zone)}\n"
        f"  AND lower(e.status) NOT IN ({known})\nORDER BY e.created_at, e.id"
    )


def stats_rows(days: Iterable[date], where: str, columns: Sequence[str]) -> str:
    """Return the SQL of rows of ``daily_stats``."""
    counts = ", ".join(f"t.{name}" for name in columns)
    return (
        f"SELECT t.date AS day, b.name AS business, t.business_id, {counts}\n"
        f"FROM public.daily_stats AS t LEFT JOIN monitoring.businesses AS b ON b.id = t.business_id\n"
        f"WHERE {on_days('t.date', days)} AND ({where})\nORDER BY t.date, t.business_id"
    )


def alerts_that_failed(days: Iterable[date], zone: ZoneInfo) -> str:
    """Return the SQL of the alerts that are marked as delivered although their text failed."""
    return (
        "SELECT a.id, a.created_at, a.business_id, a.alert_type, o.status, o.error_code\n"  # noqa: S608
        "FROM monitoring.owner_alerts AS a\nCROSS JOIN LATERAL (\n"
        "    SELECT max(lower(e.status)) FILTER (WHERE e.is_failed) AS status,\n"
        "           max(e.error_code) FILTER (WHERE e.is_failed) AS error_code,\n"
        "           bool_or(e.is_failed) AND NOT bool_or(e.has_arrived) AS never_arrived\n"
        "    FROM (SELECT status, error_code, lower(status) IN ('failed', 'undelivered') AS is_failed,\n"
        "                 lower(status) IN ('partially_delivered', 'delivered', 'read') AS has_arrived\n"
        "          FROM monitoring.sms_events WHERE message_sid = a.message_sid) AS e\n"
        f") AS o\nWHERE {at_times('a.created_at', days, zone)} AND a.delivered AND o.never_arrived\n"
        f"  AND a.message_sid NOT IN ({texts('', *PLACEHOLDER_SIDS)}) AND NOT starts_with(a.alert_type, 'pipeline.')\n"
        "ORDER BY a.created_at, a.id"
    )


def rows_read(tables: Iterable[str], days: Iterable[date]) -> str:
    """Return the SQL of what was read of the days before they were frozen."""
    return (
        "SELECT row_day AS day, table_name, rows AS rows_read, newest_event_at, rolled_up_at, checked_at\n"
        f"FROM monitoring.rollup_days\nWHERE table_name IN ({texts(*tables)}) AND {on_days('row_day', days)}\n"
        "ORDER BY row_day, table_name"
    )


def repeated_keys(source: str, days: Iterable[date], zone: ZoneInfo) -> str:
    """Return the SQL of the values that have more rows or numbers on a day than a message or call can have."""
    days = list(days)
    if source == "call_events":
        kinds = "(event_type = 'sms.inbound' OR starts_with(event_type, 'voice.') AND event_type <> 'voice.test')"
        none = texts("", *WORDS_FOR_NONE)
        return _repeated(source, "call_sid", "from_number", f"{kinds} AND call_sid NOT IN ({none})", days, zone)
    is_sid = f"coalesce(message_sid, '') NOT IN ({texts('', *PLACEHOLDER_SIDS)})"
    is_request = f"request_id NOT IN ({texts('', *PLACEHOLDER_REQUESTS)})"
    return "\nUNION ALL\n".join(
        (
            _repeated(source, "message_sid", "to_number", is_sid, days, zone),
            _repeated(source, "request_id", "to_number", f"NOT {is_sid} AND {is_request}", days, zone, ", to_number"),
        )
    )


def _repeated(source: str, key: str, number: str, where: str, days: list[date], zone: ZoneInfo, by: str = "") -> str:
    at = SOURCE_TIMES[source]
    numbers = f"count(DISTINCT regexp_replace({number}, '[^0-9+]', '', 'g'))"
    day = f"({at} AT TIME ZONE '{zone.key}')::date"
    return (
        f"SELECT {day} AS day, '{key}' AS named_by, {key} AS value, count(*) AS rows,\n"
        f"       {numbers} AS numbers, min(id::text) AS one_row_id\n"
        f"FROM monitoring.{source}\nWHERE {at_times(at, days, zone)}\n  AND {where}\n"
        f"GROUP BY 1, {key}{by}\n"
        f"HAVING count(*) > {MAX_ROWS_OF_A_KEY} OR {numbers} > {MAX_NUMBERS_OF_A_KEY}"
    )
