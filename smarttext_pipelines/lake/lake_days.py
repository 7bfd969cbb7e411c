"""Which day of the lake a row belongs to, and how many rows a day has now, live and archived.

The day is that of UTC, for ``api_usage`` its ``reset_date`` where that is a day that can be rolled up. Rows whose time
is out of reach belong to no day, and to no number.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg import sql
from sqlalchemy import Connection

from smarttext_pipelines.archive.columns import TIME_COLUMNS, run
from smarttext_pipelines.archive.manifest import DELETED
from smarttext_pipelines.archive.units import HAS_DATE, is_timed
from smarttext_pipelines.core.days import DayRange, contiguous
from smarttext_pipelines.lake.lake_columns import held, source

_COUNT = """
SELECT day, sum(rows)::bigint, max(newest)
FROM (SELECT {day} AS day, count(*) AS rows, max({at}) AS newest FROM {source} AS t WHERE {within} GROUP BY 1
      UNION ALL
      SELECT day, deleted_rows, max_at FROM monitoring.archive_segments
      WHERE state = {deleted} AND table_name = {table} AND day BETWEEN {first} AND {last}) AS found
GROUP BY day
"""


@dataclass(frozen=True)
class DayRows:
    """How many rows there are of a table and day, live or archived, and the newest time among them."""

    rows: int = 0
    newest_at: datetime | None = None


def rows_by_day(connection: Connection, table: str, days: DayRange) -> dict[date, DayRows]:
    """Return what there is of each day now; days without rows are left out."""
    query = sql.SQL(_COUNT).format(
        day=_day(table),
        at=held(table, TIME_COLUMNS[table]),
        source=source(table),
        within=days_within(table, days),
        deleted=sql.Literal(DELETED),
        table=sql.Literal(table),
        first=sql.Literal(days.first.isoformat()),
        last=sql.Literal(days.last.isoformat()),
    )
    return {day: DayRows(int(rows or 0), newest) for day, rows, newest in run(connection, query)}


def days_within(table: str, days: DayRange) -> sql.Composable:
    """Return the condition of the rows ``t`` of consecutive days."""
    timed = sql.SQL("{} AND {}").format(_between(table, days), is_timed(table))
    if table != "api_usage":
        return timed
    dated = sql.SQL("t.reset_date BETWEEN {} AND {} AND {}").format(
        sql.Literal(days.first.isoformat()), sql.Literal(days.last.isoformat()), HAS_DATE
    )
    return sql.SQL("({} OR ({}) IS NOT TRUE AND {})").format(dated, HAS_DATE, timed)


def days_besides(table: str, among: DayRange, days: Collection[date]) -> sql.Composable:
    """Return the condition of the rows ``t`` of ``among`` that are of none of the days; an index finds them by time."""
    if table == "api_usage":
        left_out = [sql.SQL("({}) IS NOT TRUE").format(days_within(table, part)) for part in contiguous(days)]
        return sql.SQL(" AND ").join(left_out) if left_out else sql.SQL("true")
    others = [_between(table, part) for part in contiguous(set(among) - set(days))]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(others)) if others else sql.SQL("false")


def _between(table: str, days: DayRange) -> sql.Composable:
    at = sql.SQL("t.{}").format(sql.Identifier(TIME_COLUMNS[table]))
    bounds = [sql.Literal(f"{day} 00:00:00+00") for day in (days.first, days.last + timedelta(days=1))]
    return sql.SQL("({0} >= {1} AND {0} < {2})").format(at, *bounds)


def _day(table: str) -> sql.Composable:
    utc = sql.SQL("(t.{} AT TIME ZONE 'UTC')::date").format(sql.Identifier(TIME_COLUMNS[table]))
    return sql.SQL("CASE WHEN {} THEN t.reset_date ELSE {} END").format(HAS_DATE, utc) if table == "api_usage" else utc
