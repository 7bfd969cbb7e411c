"""Names and column shapes that the tables share."""

from typing import Any

from sqlalchemy import Column, DateTime, ForeignKey, MetaData, Numeric, Text, Uuid, text

PUBLIC = "public"
MONITORING = "monitoring"

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
    }
)

Instant = DateTime(timezone=True)
Usd = Numeric(38, 6)
"""Sums of recorded cost: wide enough for any total, six decimals as recorded."""


def column(name: str, type_: Any, comment: str, *, foreign_key: str | None = None, **options: Any) -> Column[Any]:
    """Return a column that cannot be declared without its entry in the data dictionary."""
    references = [ForeignKey(foreign_key)] if foreign_key else []
    return Column(name, type_, *references, comment=comment, **options)


def random_id() -> Column[Any]:
    """Return the primary key of a source table."""
    return column("id", Uuid, "Random key of the row.", primary_key=True, server_default=text("gen_random_uuid()"))


def derived_id(**options: Any) -> Column[Any]:
    """Return the primary key of a rolled-up row."""
    comment = "Derived from the row's dimensions, so that a rerun writes the same row."
    return column("id", Uuid, comment, primary_key=True, **options)


def updated_at(*, nullable: bool = False) -> Column[Any]:
    """Return the time of the last write that changed anything."""
    comment = "When a value of the row last changed."
    return column("updated_at", Instant, comment, nullable=nullable, server_default=text("now()"))


def dimension(name: str, comment: str) -> Column[Any]:
    """Return a text dimension that can be unknown (NULL)."""
    return column(name, Text, comment)
