"""Which rows belong together: those of a table and UTC day, and, as a unit of their own, undated rows.

The conditions name the row ``t``. Times outside the days that can be rolled up count as missing; where those days begin
and end follows from the zone that the database reports in.
"""

from datetime import date, timedelta

import pyarrow as pa
from psycopg import sql

from smarttext_pipelines.archive.columns import TIME_COLUMNS, Column, Shape
from smarttext_pipelines.archive.manifest import UNDATED
from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY
from smarttext_pipelines.core.errors import InputError

_EDGE = "(SELECT timestamp '{} 00:00' AT TIME ZONE reporting_timezone FROM monitoring.installation)"
_FIRST_AT, _END_AT = (sql.SQL(_EDGE.format(day)) for day in (FIRST_DAY, LAST_DAY + timedelta(days=1)))
HAS_DATE = sql.SQL("t.reset_date BETWEEN {} AND {}").format(
    sql.Literal(FIRST_DAY.isoformat()), sql.Literal(LAST_DAY.isoformat())
)
"""Condition of the rows of ``api_usage`` whose ``reset_date`` is a day that can be rolled up."""


# What a date of Python cannot hold is no day here either.
USAGE_DAY = sql.SQL(
    "(SELECT CASE WHEN d.day BETWEEN '0001-01-02' AND '9999-12-30' THEN d.day END FROM monitoring.installation AS i,"
    " monitoring.usage_day(t.reset_date, t.created_at, i.reporting_timezone, i.reset_date_zone) AS d (day))"
)
"""Reporting day of a row ``t`` of ``api_usage``."""


def require_archived(table: str) -> str:
    """Return a table that is archived; raise InputError for any other."""
    if table not in TIME_COLUMNS:
        msg = f"'{table}' is not archived; one of {', '.join(TIME_COLUMNS)} is"
        raise InputError(msg)
    return table


def unit_condition(table: str, day: date) -> sql.Composable:
    """Return the condition of the rows that belong to a day of the archive, or of those that no day has."""
    if day == UNDATED:
        return _without_day(table)
    timed = sql.SQL("{} AND {}").format(_within(table, day), is_timed(table))
    if table != "api_usage":
        return timed
    dated = sql.SQL("t.reset_date = {} AND {}").format(sql.Literal(day.isoformat()), HAS_DATE)
    return sql.SQL("({} OR t.reset_date IS NULL AND {})").format(dated, timed)


def near_unit(table: str, day: date) -> sql.Composable:
    """Return a condition that each row of a unit meets, and others may, for an index and the planner's estimate."""
    return sql.SQL("true") if day == UNDATED or table == "api_usage" else _within(table, day)


def days_condition(table: str, last: date) -> sql.Composable:
    """Return the condition of the rows that belong to a day up to ``last``."""
    end = sql.Literal(f"{last + timedelta(days=1)} 00:00:00+00")
    timed = sql.SQL("{} AND {} < {}").format(is_timed(table), _at(table), end)
    if table != "api_usage":
        return timed
    old = sql.SQL("{} AND t.reset_date <= {}").format(HAS_DATE, sql.Literal(last.isoformat()))
    return sql.SQL("({} OR t.reset_date IS NULL AND {})").format(old, timed)


def day_of_row(table: str) -> sql.Composable:
    """Return the day of the archive of a row that has one."""
    day = sql.SQL("({} AT TIME ZONE 'UTC')::date").format(_at(table))
    return sql.SQL("coalesce(t.reset_date, {})").format(day) if table == "api_usage" else day


def select_unit(shape: Shape, day: date, limit: int) -> str:
    """Return the statement that reads rows of a unit as the file stores them, at most ``limit`` in no order."""
    fields = [
        sql.Identifier(c.name)
        if c.kind == "text" or field.type != pa.string()
        else sql.SQL("t.{0}::text AS {0}").format(sql.Identifier(c.name))
        for c, field in zip(shape.columns, shape.arrow, strict=True)
    ]
    query = sql.SQL("SELECT {} FROM public.{} AS t WHERE {} LIMIT {}").format(
        sql.SQL(", ").join(fields), sql.Identifier(shape.table), holdable_condition(shape, day), sql.Literal(limit)
    )
    return query.as_string(None)


def holdable_condition(shape: Shape, day: date) -> sql.Composable:
    """Return the condition of the rows of a unit that a file can hold exactly; as text it holds every value."""
    bounded = [] if shape.is_text else [_holdable(c) for c in shape.columns if _is_bounded(c)]
    return sql.SQL(" AND ").join([unit_condition(shape.table, day), *bounded])


def _within(table: str, day: date) -> sql.Composable:
    bounds = [sql.Literal(f"{at.isoformat()} 00:00:00+00") for at in (day, day + timedelta(days=1))]
    return sql.SQL("{0} >= {1} AND {0} < {2}").format(_at(table), *bounds)


def _at(table: str) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(TIME_COLUMNS[table]))


def is_timed(table: str) -> sql.Composable:
    """Return the condition of the rows whose time belongs to a day that can be rolled up."""
    return sql.SQL("{0} >= {1} AND {0} < {2}").format(_at(table), _FIRST_AT, _END_AT)


def _without_day(table: str) -> sql.Composable:
    # Not the negation of "has a day": what cannot be decided must not count as undated.
    untimed = sql.SQL("({0} IS NULL OR {0} < {1} OR {0} >= {2})").format(_at(table), _FIRST_AT, _END_AT)
    if table != "api_usage":
        return untimed
    return sql.SQL("CASE WHEN t.reset_date IS NULL THEN {} ELSE NOT ({}) END").format(untimed, HAS_DATE)


def _is_bounded(column: Column) -> bool:
    return column.kind in ("date", "timestamp with time zone") or pa.types.is_decimal(column.arrow)


def _holdable(column: Column) -> sql.Composable:
    name = sql.Identifier(column.name)
    if pa.types.is_decimal(column.arrow):
        return sql.SQL("t.{} IS DISTINCT FROM 'NaN'").format(name)
    return sql.SQL("(t.{0} IS NULL OR t.{0} BETWEEN '0001-01-02' AND '9999-12-30')").format(name)
