"""Columns of the sources as every engine can hold them: what metrics treat like NULL is NULL."""

from typing import Any

from psycopg import sql
from sqlalchemy import Column, Date, DateTime, Numeric

FIRST_HELD, LAST_HELD = "0001-01-02", "9999-12-30"
"""Days between which Python, Arrow and every engine hold a time in any zone."""


def bounded(column: Column[Any]) -> sql.Composable:
    """Return a column without NaN, amounts that no one spends, and times and dates that only PostgreSQL holds."""
    name = sql.Identifier(column.name)
    if isinstance(column.type, Numeric):
        scale = sql.Literal(column.type.scale)
        return sql.SQL("CASE WHEN abs({0}) < 1e30 THEN round({0}, {1}) END").format(name, scale)
    if isinstance(column.type, DateTime | Date):
        within = sql.SQL("CASE WHEN {0} BETWEEN {1} AND {2} THEN {0} END")
        return within.format(name, sql.Literal(FIRST_HELD), sql.Literal(LAST_HELD))
    return name
