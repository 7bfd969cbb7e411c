"""Put archived rows back into their table, exactly as they were: all rows of a day and the manifest, or nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, Engine, func, select, text

from smarttext_pipelines.archive.columns import Shape, read_shape, run
from smarttext_pipelines.archive.manifest import DELETED, RESTORED, Segment, change_segment, find_segments, name_day
from smarttext_pipelines.archive.rows import ArchivedRows, open_archived
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.archive.units import require_archived
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError
from smarttext_pipelines.database.connect import connected

_KEYED = text(
    """
    SELECT EXISTS (
        SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = 'id'
        WHERE i.indrelid = to_regclass('public.' || quote_ident(:name)) AND i.indisunique AND i.indnkeyatts = 1
            AND i.indkey[0] = a.attnum AND i.indpred IS NULL)
    """
)
HOLD_DAYS = 30
"""How long restored rows stay before they may be archived again."""


@dataclass(frozen=True)
class Restored:
    """What was done to a day.

    Attributes:
        day: Day of the archive.
        rows: Rows that are live again.
        rows_already_live: Rows of the files that the table had, in this or a newer version.
    """

    day: date
    rows: int
    rows_already_live: int


def restore(
    database: Engine,
    archive: ArchiveTarget,
    table: str,
    days: DayRange,
    *,
    hold_days: int = HOLD_DAYS,
    done: Callable[[Restored], None] = lambda _day: None,
) -> list[Restored]:
    """Insert the archived rows of a table and range of days, a day in each transaction.

    Args:
        database: Result of ``open_engine``.
        archive: Where the files are stored.
        table: The table.
        days: Days of the archive; UNDATED is that of undated rows.
        hold_days: Days for which the rows are not archived again.
        done: Called with each day.

    Raises:
        InputError: The table is not archived.
        ArchiveError: A file is missing or damaged, or its rows would not come back as they were.
    """
    require_archived(table)
    with connected(database) as connection:
        found = {s.day for s in find_segments(connection, tables=[table], days=days, states=[DELETED])}
    results = []
    for day in sorted(found):
        with locked_day(database, table, day) as connection, connection.begin():
            results.append(_restore_day(connection, archive, table, day, hold_days))
        done(results[-1])
    return results


def _restore_day(connection: Connection, archive: ArchiveTarget, table: str, day: date, hold_days: int) -> Restored:
    rows = loaded_rows = 0
    until = connection.execute(select(func.now())).scalar_one() + timedelta(days=hold_days)
    # The newest version of a row comes first, and rows that exist already stay.
    segments = find_segments(connection, tables=[table], days=DayRange(day, day), states=[DELETED])
    for segment in reversed(segments):
        with TemporaryDirectory(prefix="smarttext-") as folder:
            archived = open_archived(archive, segment, Path(folder))
            _require_columns(read_shape(connection, table), archived.shape)
            loaded, inserted = _insert(connection, archived, segment)
        rows, loaded_rows = rows + inserted, loaded_rows + loaded
        change_segment(connection, segment, state=RESTORED, hold_until=until)
    return Restored(day, rows, loaded_rows - rows)


def _require_columns(table: Shape, file: Shape) -> None:
    missing = {c.name for c in file.columns} - {c.name for c in table.columns}
    if missing:
        msg = f"public.{table.table} no longer has {', '.join(sorted(missing))}, which its archive holds; add it again"
        raise ArchiveError(msg)


def _insert(connection: Connection, archived: ArchivedRows, segment: Segment) -> tuple[int, int]:
    """Insert the rows for which a file is valid; return how many those are and how many were inserted.

    Raises:
        ArchiveError: A row would not be what the file holds.
    """
    shape = archived.shape
    loaded = _load(connection, archived, segment)
    columns = [c for c in shape.columns if not c.is_generated]
    names = sql.SQL(", ").join(sql.Identifier(c.name) for c in columns)
    typed = [sql.SQL("CAST(r.{} AS {})").format(sql.Identifier(c.name), sql.SQL(c.kind)) for c in columns]
    # The key of a partitioned table holds what it is partitioned by, so that its id is no key alone.
    insert = sql.SQL(
        "INSERT INTO public.{0} ({1}) OVERRIDING SYSTEM VALUE SELECT {2} FROM restored_rows AS r"
        " WHERE NOT EXISTS (SELECT FROM public.{0} AS t WHERE t.id = CAST(r.id AS uuid))"
        " ON CONFLICT{3} DO NOTHING RETURNING id"
    )
    table, key = sql.Identifier(shape.table), sql.SQL(" (id)" if _is_keyed(connection, shape.table) else "")
    inserted = [row[0] for row in run(connection, insert.format(table, names, sql.SQL(", ").join(typed), key))]
    compare = sql.SQL(
        "SELECT count(*) FROM public.{} AS t JOIN restored_rows AS r ON CAST(r.id AS uuid) = t.id"
        " WHERE t.id = ANY (%(ids)s) AND {} <> r.row_hash"
    )
    differing = run(connection, compare.format(table, shape.hash_in_postgres()), ids=inserted).scalar_one()
    if differing:
        rows = f"{differing} rows of {shape.table}, {name_day(segment.day)}"
        msg = f"{rows} would not come back as they were; nothing was restored"
        raise ArchiveError(msg)
    return loaded, len(inserted)


def _is_keyed(connection: Connection, table: str) -> bool:
    return bool(connection.scalar(_KEYED, {"name": table}))


def _load(connection: Connection, archived: ArchivedRows, segment: Segment) -> int:
    """Put the rows for which a file is valid into a temporary table of texts; return how many those are."""
    columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(c.name)) for c in archived.shape.columns)
    run(connection, sql.SQL("DROP TABLE IF EXISTS pg_temp.restored_rows"))
    run(connection, sql.SQL("CREATE TEMPORARY TABLE restored_rows ({}, row_hash text) ON COMMIT DROP").format(columns))
    changed = {str(id_) for id_ in segment.changed_ids or ()}
    place = [c.name for c in archived.shape.columns].index("id")
    loaded = 0
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy("COPY restored_rows FROM STDIN") as copy:
        for row in archived.texts():
            if row[place] not in changed:
                copy.write_row(row)
                loaded += 1
    run(connection, sql.SQL("ANALYZE restored_rows"))
    return loaded
