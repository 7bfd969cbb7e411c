"""One table and day of the lake: written under a temporary name, read back, published, named current; or removed.

If a step is killed, the manifest names the file that was current before, and whoever comes next removes what was begun.
Whoever works on a day holds the archive's lock of it: no row leaves for the archive, and none comes back, meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
from sqlalchemy import URL, Connection

from smarttext_pipelines.archive.files import Written, write_batches
from smarttext_pipelines.archive.manifest import DELETED, Segment, find_segments
from smarttext_pipelines.archive.merged import ArchivedFile, merged_files
from smarttext_pipelines.archive.reading import reading
from smarttext_pipelines.archive.rows import ArchivedRows, Extent, open_archived
from smarttext_pipelines.archive.target import ArchiveTarget, hash_file
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError
from smarttext_pipelines.core.wording import quoted
from smarttext_pipelines.lake.lake_columns import lake_shape, of_archive, select_rows
from smarttext_pipelines.lake.lake_days import days_within
from smarttext_pipelines.lake.lake_manifest import (
    LakeFile,
    change_file,
    find_file,
    forget_file,
    plan_file,
    publish_planned,
)
from smarttext_pipelines.lake.lake_target import LakeTarget

OnStep = Callable[[str], None]
STEPS = ("planned", "batch", "written", "read back", "published", "current")
_BATCH_ROWS = 50_000


@dataclass(frozen=True)
class Places:
    """Where files are.

    Attributes:
        lake: Where the lake's are.
        archive: Where rows are that have left the database; None where the caller has none.
    """

    lake: LakeTarget
    archive: ArchiveTarget | None


def write_lake_day(
    connection: Connection, places: Places, table: str, day: date, on_step: OnStep = lambda _step: None
) -> LakeFile | None:
    """Write the current file of a table and day anew; return None when no row is left, and then no file.

    Args:
        connection: Session that holds the lock of the table and day.
        places: Where files are.
        table: Table to read.
        day: Day of the lake.
        on_step: Called with the name of each step.

    Raises:
        ArchiveError: The file could not be written, or rows that have left the database cannot be read.
        DatabaseError: The rows cannot be read.
    """
    remove_unfinished(connection, places.lake, table, day)
    with connection.begin():
        segments = find_segments(connection, tables=[table], days=DayRange(day, day), states=[DELETED])
        file = plan_file(connection, table, day)
    on_step("planned")
    path = temporary_of(places.lake, file)
    written, live_rows = _write(connection.engine.url, places, path, file, segments, on_step)
    on_step("written")
    if not written.rows:
        remove_day(connection, places.lake, file)
        return None
    extent = read_back(path, written)
    on_step("read back")
    newest = [at for at in (extent.max_at, *(s.max_at for s in segments)) if at is not None]
    file = publish(
        connection,
        places.lake,
        file,
        path,
        written,
        on_step,
        oldest_event_at=extent.min_at,
        newest_event_at=max(newest, default=None),
        source_rows=live_rows + sum(s.deleted_rows or 0 for s in segments),
    )
    on_step("current")
    return file


def publish(
    connection: Connection,
    lake: LakeTarget,
    file: LakeFile,
    path: Path,
    written: Written,
    on_step: OnStep,
    *,
    oldest_event_at: datetime | None,
    newest_event_at: datetime | None,
    source_rows: int,
) -> LakeFile:
    """Give a planned file that was read back its name in the lake, then let it be the current one."""
    lake.publish(path, file.own(str(file.planned_key)), written.sha256)
    on_step("published")
    with connection.begin():
        return publish_planned(
            connection,
            file,
            sha256=written.sha256,
            rows=written.rows,
            bytes=written.bytes,
            oldest_event_at=oldest_event_at,
            newest_event_at=newest_event_at,
            source_rows=source_rows,
        )


def read_back(path: Path, written: Written) -> Extent:
    """Read a file back and compare it with what was sent to the disk.

    Raises:
        DamagedFileError: A byte, the number of rows or an id is not as it should be.
    """
    extent = ArchivedRows(path).extent()
    if hash_file(path) != written.sha256 or extent.rows != written.rows:
        msg = f"{path.name} is damaged: the disk does not give back what was written; the day is read from its table"
        raise DamagedFileError(msg)
    return extent


def open_lake_file(lake: LakeTarget, file: LakeFile, into: Path) -> ArchivedRows:
    """Open the current file of a table and day; its bytes are those that were written.

    Raises:
        ArchiveError: It cannot be read.
        DamagedFileError: It is missing, or is not what was written.
    """
    rows = ArchivedRows(lake.fetch(*file.file, into))
    if rows.shape.table != file.table_name:
        msg = f"{file.key} is damaged: it holds rows of another table"
        raise DamagedFileError(msg)
    return rows


def remove_unfinished(connection: Connection, lake: LakeTarget, table: str, day: date) -> LakeFile | None:
    """Remove what a killed export began and what a finished one replaced; return what the manifest says then."""
    with connection.begin():
        file = find_file(connection, table, day)
    if file is None or (file.planned_key is None and file.replaced_key is None):
        return file
    if file.planned_key is not None:
        lake.discard(temporary_of(lake, file))
    for key in (file.planned_key, file.replaced_key):
        if key is not None and key != file.key:
            lake.remove(file.own(key))
    with connection.begin():
        if file.key is None:
            forget_file(connection, file)
            return None
        return change_file(connection, file, planned_key=None, replaced_key=None)


def remove_day(connection: Connection, lake: LakeTarget, file: LakeFile) -> None:
    """Remove every file of a table and day, then forget it: the manifest first says that none is current."""
    if file.key is not None:
        with connection.begin():
            file = change_file(connection, file, key=None, replaced_key=file.key)
    remove_unfinished(connection, lake, file.table_name, file.day)


def temporary_of(lake: LakeTarget, file: LakeFile) -> Path:
    """Return where the planned file is before it is published."""
    return lake.temporary(file.folder, PurePosixPath(file.own(str(file.planned_key))).stem)


def _write(
    url: URL, places: Places, path: Path, file: LakeFile, segments: Sequence[Segment], on_step: OnStep
) -> tuple[Written, int]:
    """Write the rows of a day, and return how many of them were live."""
    shape = lake_shape(file.table_name)
    statement = select_rows(file.table_name, days_within(file.table_name, DayRange(file.day, file.day)))
    with reading(url, statement) as batches:
        if not segments:
            written = write_batches(places.lake, path, shape, batches, on_step)
            return written, written.rows
        with TemporaryDirectory(prefix="smarttext-") as folder:
            here = LakeTarget(folder)
            live = write_batches(here, Path(folder) / "live", shape, batches, lambda _step: None)
            archived = _fetch(places.archive, segments, Path(folder))
            with duckdb.connect() as merging:
                rows = _merged(merging, file.table_name, Path(folder) / "live", archived)
                return write_batches(places.lake, path, shape, rows, on_step), live.rows


def _fetch(archive: ArchiveTarget | None, segments: Sequence[Segment], folder: Path) -> list[ArchivedFile]:
    if archive is None:
        msg = f"events of {segments[0].day} are archived; set SMARTTEXT_ARCHIVE_URL to where"
        raise ArchiveError(msg)
    return [ArchivedFile(open_archived(archive, s, folder).path, s.seq, s.changed_ids or ()) for s in segments]


def _merged(
    connection: duckdb.DuckDBPyConnection, table: str, live: Path, archived: Sequence[ArchivedFile]
) -> Iterator[pa.RecordBatch]:
    """Yield the live rows, and the archived ones that none of them replaces."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.read_parquet(str(live)).create_view(f"{table}_live")
    rows = merged_files(connection, table, archived)
    files = connection.view(f"{table}_files")
    stored = dict(zip(files.columns, map(str, files.types), strict=True))
    columns = lake_shape(table).columns
    names = ", ".join(quoted(c.name) for c in columns)
    of_files = ", ".join(of_archive(c, stored) for c in columns)
    query = f"SELECT {names} FROM {quoted(f'{table}_live')} UNION ALL SELECT {of_files} FROM ({rows})"  # noqa: S608
    yield from connection.sql(query).to_arrow_reader(_BATCH_ROWS)
