"""What a prepared statement of the application returns: the columns of tables and views in ``public`` and their types.

PostgreSQL refuses to run one whose result has changed ("cached plan must not change result type") until its session
reconnects.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from smarttext_pipelines.schema.public_state import TABLES, VIEWS

_COLUMNS = text(
    """
    SELECT c.relname, array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) AS columns
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:names) GROUP BY c.relname ORDER BY c.relname
    """
)


def read_result_types(connection: Connection) -> dict[str, list[str]]:
    """Return table or view → its columns with their types, in order."""
    found = connection.execute(_COLUMNS, {"names": [*TABLES, *VIEWS]})
    return {row.relname: list(row.columns) for row in found}


def reconnect_notes(before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> list[str]:
    """Return the note for sessions with prepared statements on what was changed; nothing where there is none."""
    changed = [name for name, columns in before.items() if after.get(name) != columns]
    if not changed:
        return []
    return [
        f"columns of {', '.join(changed)} were added or got another type: a client that keeps prepared statements gets"
        ' "cached plan must not change result type" until it reconnects; restart it, or its pool'
    ]
