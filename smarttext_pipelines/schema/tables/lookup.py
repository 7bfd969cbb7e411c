"""Find a table of the schema by its name alone; names are unique but for ``daily_stats``' and rates' views."""

from sqlalchemy import Table

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.schema.tables.conventions import metadata


def table_named(name: str) -> Table:
    """Return the table; raise InputError for a name that is none."""
    for table in metadata.tables.values():
        if table.name == name:
            return table
    msg = f"there is no table '{name}'"
    raise InputError(msg)
