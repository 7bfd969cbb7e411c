"""What the archive holds, in a few lines."""

from sqlalchemy import Connection, func, select

from smarttext_pipelines.archive.manifest import SUPERSEDED, UNDATED
from smarttext_pipelines.schema.tables.archive_segments import archive_segments


def read_status(connection: Connection) -> list[tuple[object, ...]]:
    """Return table, state, days, files, rows, bytes, first day, last day and files that failed, by table and state.

    Undated rows have a line of their own, without days.
    """
    t = archive_segments.c
    is_undated = (t.day == UNDATED).label("is_undated")
    summed = (
        select(
            t.table_name,
            t.state,
            func.count(func.nullif(t.day, UNDATED).distinct()),
            func.count(),
            func.coalesce(func.sum(t.rows), 0),
            func.coalesce(func.sum(t.bytes), 0),
            func.min(func.nullif(t.day, UNDATED)),
            func.max(func.nullif(t.day, UNDATED)),
            func.count(t.failure),
            is_undated,
        )
        .where(t.state != SUPERSEDED)
        .group_by(t.table_name, t.state, "is_undated")
        .order_by(t.table_name, t.state, "is_undated")
    )
    return [(*row[:4], int(row[4]), int(row[5]), *row[6:9]) for row in connection.execute(summed)]
