"""Rows into a Parquet file, and compared with what is read back; streamed, for days of any size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import URL

from smarttext_pipelines.archive.columns import Column, Shape
from smarttext_pipelines.archive.reading import reading
from smarttext_pipelines.archive.rows import ArchivedRows, ReadBack, remember
from smarttext_pipelines.archive.target import ArchiveTarget, hash_file
from smarttext_pipelines.archive.units import select_unit
from smarttext_pipelines.core.errors import DamagedFileError


@dataclass(frozen=True)
class Written:
    """A file as it was sent to the disk.

    Attributes:
        rows: Rows that were read.
        bytes: Size of the file.
        uncompressed_bytes: Size of the rows in memory.
        sha256: Hash of the bytes that were sent.
    """

    rows: int
    bytes: int
    uncompressed_bytes: int
    sha256: str


def write_day(
    target: ArchiveTarget, path: Path, url: URL, shape: Shape, day: date, limit: int, on_step: Callable[[str], None]
) -> Written:
    """Stream rows of a day, as one statement sees them, into a file.

    Args:
        target: Whose file it is.
        path: Where to write.
        url: Database to read.
        shape: Columns to read.
        day: Day of the archive.
        limit: Rows at most.
        on_step: Called with ``batch`` after each batch.

    Raises:
        ArchiveError: The file cannot be written.
        DatabaseError: The rows cannot be read.
    """
    with reading(url, select_unit(shape, day, limit)) as batches:
        return write_batches(target, path, shape, batches, on_step)


def write_batches(
    target: ArchiveTarget, path: Path, shape: Shape, batches: Iterator[pa.RecordBatch], on_step: Callable[[str], None]
) -> Written:
    """Write batches into a file of a shape; their columns are cast to its types."""
    rows = size = 0
    repeated: Any = [c.name for c in shape.columns if _is_repeated(c)]
    ordered: Any = [field.name for field in shape.arrow if field.type != pa.string()]
    with target.created(path) as file:
        sink: Any = pa.PythonFile(cast("Any", file), mode="w")
        with pq.ParquetWriter(
            sink, shape.arrow, compression="zstd", use_dictionary=repeated, write_statistics=ordered
        ) as writer:
            for batch in batches:
                part = pa.Table.from_batches([batch]).cast(shape.arrow)
                writer.write_table(part)
                rows, size = rows + part.num_rows, size + part.nbytes
                on_step("batch")
        return Written(rows, file.bytes, size, file.sha256)


def _is_repeated(column: Column) -> bool:
    """Return whether values are likely to occur again: of others a dictionary is made only to be thrown away."""
    is_unique = column.name == "id" or column.name.endswith(("_sid", "request_id")) or column.kind in ("json", "jsonb")
    return not is_unique and not column.kind.startswith("timestamp")


def verify_file(path: Path, written: Written) -> ReadBack:
    """Read a file back and compare it with what was sent to the disk.

    Raises:
        DamagedFileError: A byte, the number of rows or an id is not as it should be.
    """
    if hash_file(path) != written.sha256:
        msg = f"{path.name} is damaged: the disk does not give back what was written; nothing was deleted"
        raise DamagedFileError(msg)
    rows = ArchivedRows(path)
    found = rows.read_back()
    if found.rows != written.rows:
        msg = f"{path.name} is damaged: {written.rows} rows were written and {found.rows} read back"
        raise DamagedFileError(msg)
    remember(rows.shape.table, written.sha256, found)
    return found
