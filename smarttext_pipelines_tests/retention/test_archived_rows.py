"""Reading an archive file: what is read is what the file holds now, whatever this process has read before."""

import os
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from smarttext_pipelines.archive.columns import Column, Shape
from smarttext_pipelines.archive.rows import ArchivedRows

SHAPE = Shape("sms_events", (Column("id", "uuid"), Column("created_at", "timestamp with time zone")))


def write(path: Path, first: int, *, rows: int = 3) -> Path:
    """Write a file of some rows, without compression, so that files of as many rows are of one size."""
    ids = [str(UUID(int=first + n)) for n in range(rows)]
    columns = [pa.array(ids), pa.array([first] * rows, SHAPE.arrow.field("created_at").type)]
    pq.write_table(pa.table(columns, schema=SHAPE.arrow), path, compression="none", use_dictionary=False)
    return path


def test_a_file_that_was_replaced_by_one_of_its_size_and_time_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "file.parquet", 1)
    before, stat = ArchivedRows(path).read_back(), path.stat()
    write(path, 5)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    after = ArchivedRows(path).read_back()
    assert after.content_sha256 != before.content_sha256
    assert after.min_at != before.min_at


def test_two_files_that_are_read_at_the_same_time_are_not_mixed_up(tmp_path: Path) -> None:
    files = [ArchivedRows(write(tmp_path / f"{first}.parquet", first, rows=30_000)) for first in (1, 50_000)]
    parts = zip(*(file.hashes() for file in files), strict=True)
    low, high = (sorted(UUID(id_).int for part in of_file for id_, _ in part) for of_file in zip(*parts, strict=True))
    assert (low[0], low[-1], len(low)) == (1, 30_000, 30_000)
    assert (high[0], high[-1], len(high)) == (50_000, 79_999, 30_000)


def test_a_path_with_a_quote_is_one_path(tmp_path: Path) -> None:
    assert ArchivedRows(write(tmp_path / "it's.parquet", 1)).extent().rows == 3
