"""Several files of one table as its rows: no id twice, a live row before any file, a later file before an earlier."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import duckdb
import pyarrow as pa

from smarttext_pipelines.core.wording import quoted

OF_LAKE = 0
"""The ``seq`` of a file that is all there is of its day: nothing replaces a row of it."""


@dataclass(frozen=True)
class ArchivedFile:
    """A local file of a segment that is the archived version of its rows.

    Attributes:
        path: Where it is; its bytes were compared with the manifest.
        seq: Of two files that hold an id, the one with the highest seq is valid.
        changed_ids: Rows for which the file is not valid.
    """

    path: Path
    seq: int
    changed_ids: Sequence[UUID] = ()


def merged_files(connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[ArchivedFile]) -> str:
    """Return the statement of the rows of files that no row of the view ``TABLE_live`` and no later file replaces.

    The files are the view ``TABLE_files``; a file that lacks a column has NULL there.
    """
    connection.read_parquet([f"{f.path}" for f in files], filename=True, union_by_name=True).create_view(
        f"{table}_files"
    )
    if all(f.seq == OF_LAKE for f in files):
        return f"SELECT * FROM {quoted(f'{table}_files')}"  # noqa: S608 - a constant name, quoted
    segments = pa.table({"filename": [str(f.path) for f in files], "seq": [f.seq for f in files]})
    changed = [(str(f.path), str(id_)) for f in files for id_ in f.changed_ids]
    connection.register(f"{table}_segments", segments)
    connection.register(
        f"{table}_changed",
        pa.table(
            {
                "filename": pa.array([c[0] for c in changed], pa.string()),
                "id": pa.array([c[1] for c in changed], pa.string()),
            }
        ),
    )
    latest = " QUALIFY row_number() OVER (PARTITION BY f.id ORDER BY s.seq DESC) = 1" if len(files) > 1 else ""
    live, segs, gone, rows = (quoted(f"{table}_{n}") for n in ("live", "segments", "changed", "files"))
    return (
        f"SELECT f.* FROM {rows} AS f JOIN {segs} AS s USING (filename)"  # noqa: S608 - constant names, quoted
        f" ANTI JOIN {live} AS l ON l.id = f.id"
        f" ANTI JOIN {gone} AS c ON c.id = f.id AND c.filename = f.filename{latest}"
    )
