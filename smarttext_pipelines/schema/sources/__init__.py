"""The one place through which the application's tables are read and written, with any column types.

``monitoring.sms_events`` and its like are what the pipeline reads: a view over a function that PostgreSQL inlines, so
that a condition finds the table's own index, and that names no column for good, so that the application may change one.
``monitoring.add_sms_events(rows jsonb)`` and its like insert each row once by its id, and return how many were new.
Both treat a column of another type than declared alike: an instant without a zone is of UTC, a label of an
enum is a text, a code that is a number is a text of digits, and what a table computes is read and never written.
"""

from importlib.resources import files
from typing import Any

from sqlalchemy import Column, Table

from smarttext_pipelines.schema.tables import MONITORING, SOURCE_TABLES

READ_FUNCTIONS = tuple(f"monitoring.read_{table.name}()" for table in SOURCE_TABLES)
ADD_FUNCTIONS = tuple(f"monitoring.add_{table.name}(jsonb)" for table in SOURCE_TABLES if table.name != "businesses")


_READ_OF_BUSINESSES = ("id", "name", "business_type", "public_phone", "twilio_phone", "subscription_tier")


def source_columns(table: Table) -> list[Column[Any]]:
    """Return the columns that are read or written; most columns of ``businesses`` are neither."""
    return [c for c in table.columns if table.name != "businesses" or c.name in _READ_OF_BUSINESSES]


def source_schema(table_name: str, declared: str | None) -> str | None:
    """Return the schema in which the pipeline reads a table."""
    return MONITORING if any(table.name == table_name for table in SOURCE_TABLES) else declared


def source_statement() -> str:
    """Return the statement that makes the views and functions for the tables as they are now."""
    rows = [
        f"('{table.name}', {place}, '{column.name}', '{kind_of(column.type)}')"
        for table in SOURCE_TABLES
        for place, column in enumerate(source_columns(table))
    ]
    text = (files(__package__) / "sources.sql").read_text()
    return text.replace("{columns}", ",\n            ".join(rows))


def kind_of(type_: object) -> str:
    """Return a declared type as ``format_type`` writes it, without its length."""
    name = type(type_).__name__.upper()
    names = {"DATETIME": "timestamp with time zone", "BIGINTEGER": "bigint", "SMALLINTEGER": "smallint"}
    return names.get(name, name.lower())
