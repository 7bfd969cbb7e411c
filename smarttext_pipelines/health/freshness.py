"""Traffic of each source now and at the same hours of the weeks before: what is usual is learned, not set."""

from datetime import datetime

from sqlalchemy import Connection, text

from smarttext_pipelines.core.health import LEAST_USUAL, Traffic

SOURCES = {"sms_events": "created_at", "call_events": "ts", "api_usage": "created_at", "owner_alerts": "created_at"}
WINDOWS_HOURS = (1, 3, 12, 24)
"""Tried in turn until something is usual; so that a busy source is missed after an hour, a quiet one after a day."""

WEEKS = 4


def _counts(table: str, at: str) -> str:
    # Weeks before the table's first event say nothing; a silent week after it says that silence is usual.
    return f"""
        SELECT week, (SELECT count(*) FROM public.{table} AS e
                      WHERE e.{at} > CAST(:now AS timestamptz) - make_interval(weeks => week, hours => :hours)
                          AND e.{at} <= CAST(:now AS timestamptz) - make_interval(weeks => week)) AS events
        FROM generate_series(0, :weeks) AS week
        WHERE week = 0 OR EXISTS (
            SELECT FROM public.{table} AS e WHERE e.{at} <= CAST(:now AS timestamptz) - make_interval(weeks => week))
        ORDER BY week
    """  # noqa: S608 - names of ours


def _newest(table: str, at: str) -> str:
    return f"SELECT max({at}) FROM public.{table} WHERE {at} <= :now"  # noqa: S608 - names of ours


def read_traffic(connection: Connection, now: datetime) -> list[Traffic]:
    """Return the traffic of every source in the shortest window in which some is usual."""
    return [_read(connection, table, at, now) for table, at in SOURCES.items()]


def _read(connection: Connection, table: str, at: str, now: datetime) -> Traffic:
    newest = connection.execute(text(_newest(table, at)), {"now": now}).scalar()
    traffic = Traffic(table, 0, 0, (), newest)
    for hours in WINDOWS_HOURS:
        rows = connection.execute(text(_counts(table, at)), {"now": now, "hours": hours, "weeks": WEEKS}).all()
        counts = [int(row.events) for row in rows]
        traffic = Traffic(table, hours, counts[0], counts[1:], newest)
        if traffic.usual >= LEAST_USUAL or len(traffic.weeks) < 2:
            break
    return traffic
