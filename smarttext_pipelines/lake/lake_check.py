"""What the lake holds in a few lines, and every file read back and compared with the manifest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Engine, func, select

from smarttext_pipelines.core.errors import ArchiveError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.lake.lake_day import open_lake_file
from smarttext_pipelines.lake.lake_manifest import LakeFile, find_file, find_files
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.schema.tables.lake_files import lake_files


@dataclass(frozen=True)
class Checked:
    """A file that was read back, and what is wrong with it; None when it is as it was written."""

    file: LakeFile
    failure: str | None


def verify_lake(
    database: Engine,
    lake: LakeTarget,
    *,
    begun: Callable[[int], None] = lambda _files: None,
    done: Callable[[], None] = lambda: None,
) -> list[Checked]:
    """Read every current file back: its bytes, its rows, its ids; change nothing."""
    with connected(database) as connection:
        with connection.begin():
            files = [file for file in find_files(connection) if file.key is not None]
        begun(len(files))
        results = []
        for file in files:
            failure = _fault(lake, file)
            with connection.begin():
                now = find_file(connection, file.table_name, file.day)
            # It may have been replaced or erased meanwhile: what is said must be true of what is there.
            if now is not None and now.key == file.key:
                results.append(Checked(file, failure))
            done()
    return results


def read_status(connection: Connection) -> list[dict[str, object]]:
    """Return table, files, rows, bytes, first and last day, and time of the last export, by table."""
    t = lake_files.c
    summed = (
        select(
            t.table_name.label("table"),
            func.count().label("files"),
            func.sum(t.rows).label("rows"),
            func.sum(t.bytes).label("bytes"),
            func.min(t.day).label("from"),
            func.max(t.day).label("to"),
            func.max(t.exported_at).label("exported_at"),
        )
        .where(t.key.is_not(None))
        .group_by(t.table_name)
        .order_by(t.table_name)
    )
    found = [dict(row) for row in connection.execute(summed).mappings()]
    return [{**row, "rows": int(row["rows"]), "bytes": int(row["bytes"])} for row in found]


def _fault(lake: LakeTarget, file: LakeFile) -> str | None:
    try:
        with TemporaryDirectory(prefix="smarttext-") as folder:
            found = open_lake_file(lake, file, Path(folder)).extent()
    except ArchiveError as error:
        return str(error)
    return None if found.rows == file.rows else f"{file.key} holds {found.rows} rows, not {file.rows}"
