"""The one statement that moves rows out of the database: it deletes those that a file, read again, holds exactly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import sql
from sqlalchemy import Connection

from smarttext_pipelines.archive.columns import Shape, run
from smarttext_pipelines.archive.manifest import Segment
from smarttext_pipelines.archive.rows import ArchivedRows
from smarttext_pipelines.archive.units import near_unit

# No key: that no id occurs twice was found out when the file was opened.
_TEMPORARY = "CREATE TEMPORARY TABLE archived_rows (id uuid NOT NULL, row_hash text NOT NULL) ON COMMIT DROP"
_COPY = "COPY archived_rows FROM STDIN"
_MEMORY = "SET LOCAL work_mem = '64MB'"


@dataclass(frozen=True)
class Deleted:
    """What a deletion did.

    Attributes:
        rows: Rows that were deleted.
        changed_rows: Rows of the file that were not, because they are gone or another version is there.
        changed_ids: Those rows. The file is not valid for them: a newer version is live, or in another day's file.
    """

    rows: int
    changed_rows: int
    changed_ids: list[UUID]


def delete_archived(connection: Connection, segment: Segment, path: Path) -> Deleted:
    """Delete the live rows that the file of a segment holds exactly, in the caller's transaction.

    Args:
        connection: READ COMMITTED: a row that somebody changes meanwhile is compared again in its new version.
        segment: Whose file it is.
        path: The file, whose bytes were compared with the manifest just now.
    """
    shape = _load(connection, path)
    delete = _matching("DELETE FROM public.{table} AS t USING archived_rows AS a", shape, segment)
    left = sql.SQL(
        "WITH deleted AS ({} RETURNING t.id)"
        " SELECT id FROM archived_rows AS a WHERE NOT EXISTS (SELECT FROM deleted AS d WHERE d.id = a.id)"
    ).format(delete)
    changed = [row[0] for row in run(connection, left)]
    return Deleted(int(segment.rows or 0) - len(changed), len(changed), changed)


def count_archived(connection: Connection, segment: Segment, path: Path) -> int:
    """Return how many live rows the file of a segment holds exactly; what a deletion would delete."""
    shape = _load(connection, path)
    counted = _matching("SELECT count(*) FROM public.{table} AS t JOIN archived_rows AS a ON true", shape, segment)
    return int(run(connection, counted).scalar_one())


def _load(connection: Connection, path: Path) -> Shape:
    """Put the ids and hashes of a file, computed from its columns, into a temporary table."""
    rows = ArchivedRows(path)
    connection.exec_driver_sql("DROP TABLE IF EXISTS pg_temp.archived_rows")
    connection.exec_driver_sql(_TEMPORARY)
    connection.exec_driver_sql(_MEMORY)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for part in rows.hashes():
            copy.write("".join(f"{id_}\t{row_hash}\n" for id_, row_hash in part))
    connection.exec_driver_sql("ANALYZE archived_rows")
    return rows.shape


def _matching(verb: str, shape: Shape, segment: Segment) -> sql.Composable:
    # As a plain equation the hash would be joined by, too, and computed for each row before its id is looked up.
    same = " WHERE t.id = a.id AND ({row_hash} = a.row_hash) IS TRUE AND {near}"
    return sql.SQL(verb + same).format(
        table=sql.Identifier(shape.table),
        row_hash=shape.hash_in_postgres(),
        near=near_unit(segment.table_name, segment.day),
    )
