"""Take one person's rows out of the lake, after they have gone from the tables and the archive."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Engine

from smarttext_pipelines.archive.files import write_batches
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.core.errors import DamagedFileError, SettingsError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.lake.lake_day import (
    open_lake_file,
    publish,
    read_back,
    remove_day,
    remove_unfinished,
    temporary_of,
)
from smarttext_pipelines.lake.lake_manifest import LakeFile, find_files, plan_file
from smarttext_pipelines.lake.lake_target import LakeTarget


def cut_out(
    database: Engine,
    lake: LakeTarget,
    digits: str,
    *,
    begun: Callable[[int], None] = lambda _days: None,
    done: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """Rewrite every file that mentions a number; return the rows cut out and the files rewritten or removed.

    An export that began before the rows had gone is waited for; one that begins later does not find them. A file that
    was replaced goes at once. A damaged one goes too, and is written again by the next export.

    Args:
        database: Result of ``open_engine``.
        lake: Where the files are.
        digits: The number without its plus.
        begun: Called with the number of tables and days that are searched.
        done: Called with each.

    Raises:
        ArchiveError: A file cannot be read or written; run it again.
    """
    with connected(database) as connection, connection.begin():
        files = find_files(connection)
    begun(len(files))
    rows = rewritten = 0
    for file in files:
        with locked_day(database, file.table_name, file.day) as connection:
            found = _cut_out_of_day(connection, lake, file.table_name, file.day, digits)
        rows, rewritten = rows + found, rewritten + bool(found)
        done()
    return rows, rewritten


def require_place(database: Engine, lake: LakeTarget | None) -> None:
    """Raise SettingsError where the manifest names files and nobody says where they are."""
    with connected(database) as connection, connection.begin():
        files = find_files(connection) if lake is None else []
    if files:
        msg = f"the lake holds {counted(len(files), 'day')} of events; set SMARTTEXT_LAKE_URL first; nothing was erased"
        raise SettingsError(msg)


def _cut_out_of_day(connection: Connection, lake: LakeTarget, table: str, day: date, digits: str) -> int:
    file = remove_unfinished(connection, lake, table, day)
    if file is None:
        return 0
    try:
        with TemporaryDirectory(prefix="smarttext-") as folder:
            return _rewrite(connection, lake, file, Path(folder), digits)
    except DamagedFileError:
        remove_unfinished(connection, lake, table, day)
        remove_day(connection, lake, file)
        return 0


def _rewrite(connection: Connection, lake: LakeTarget, file: LakeFile, folder: Path, digits: str) -> int:
    rows = open_lake_file(lake, file, folder)
    found = len(rows.about(digits))
    if not found:
        return 0
    if found == file.rows:
        remove_day(connection, lake, file)
        return found
    with connection.begin():
        planned = plan_file(connection, file.table_name, file.day)
    path = temporary_of(lake, planned)
    written = write_batches(lake, path, rows.shape, rows.without(digits), lambda _step: None)
    extent = read_back(path, written)
    # Of what it was made, as many rows have gone; should the newest be another now, the next export sees it.
    publish(
        connection,
        lake,
        planned,
        path,
        written,
        lambda _step: None,
        oldest_event_at=extent.min_at,
        newest_event_at=extent.max_at,
        source_rows=int(file.source_rows or 0) - found,
    )
    remove_unfinished(connection, lake, file.table_name, file.day)
    return found
