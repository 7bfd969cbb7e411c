"""Traffic of each source now and at the same hours of the weeks before: what is usual is learned, not set."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import weeks_before
from smarttext_pipelines.health.verdicts import MIN_USUAL, Traffic

SOURCES = {"sms_events": "created_at", "call_events": "ts", "api_usage": "created_at", "owner_alerts": "created_at"}
WINDOWS_HOURS = (1, 3, 12, 24)
"""Tried in turn until something is usual; so that a busy source is missed after an hour, a quiet one after a day."""

WEEKS = 4


def _counts(table: str, at: str) -> str:
    # Weeks before the table's first event say nothing; a silent week after it says that silence is usual.
    return f"""
        SELECT (SELECT count(*) FROM monitoring.{table} AS e
                WHERE e.{at} > w.ends_at - make_interval(hours => :hours) AND e.{at} <= w.ends_at) AS events
        FROM unnest(CAST(:ends AS timestamptz[])) WITH ORDINALITY AS w (ends_at, number)
        WHERE number = 1 OR EXISTS (SELECT FROM monitoring.{table} AS e WHERE e.{at} <= w.ends_at)
        ORDER BY number
    """  # noqa: S608 - constant names


def _newest(table: str, at: str) -> str:
    return f"SELECT max({at}) FROM monitoring.{table} WHERE {at} <= :now"  # noqa: S608 - constant names


def read_traffic(connection: Connection, now: datetime, zone: ZoneInfo) -> list[Traffic]:
    """Return the traffic of every source in the shortest window in which some is usual.

    Args:
        connection: A connection to the event database.
        now: End of the window.
        zone: Reporting zone, whose clock tells which hours of the weeks before are the same.
    """
    ends = [weeks_before(now, week, zone) for week in range(WEEKS + 1)]
    return [_read(connection, table, at, now, ends) for table, at in SOURCES.items()]


def _read(connection: Connection, table: str, at: str, now: datetime, ends: Sequence[datetime]) -> Traffic:
    newest = connection.execute(text(_newest(table, at)), {"now": now}).scalar()
    traffic = Traffic(table, 0, 0, (), newest)
    for hours in WINDOWS_HOURS:
        rows = connection.execute(text(_counts(table, at)), {"hours": hours, "ends": list(ends)}).all()
        counts = [int(row.events) for row in rows]
        traffic = Traffic(table, hours, counts[0], counts[1:], newest)
        if traffic.usual >= MIN_USUAL or len(traffic.weeks) < 2:
            break
    return traffic
