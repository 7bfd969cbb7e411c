"""Reading an archive file: what is read is what the file holds now, whatever this process has read before."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from smarttext_pipelines.archive.columns import Column, Shape
from smarttext_pipelines.archive.rows import ArchivedRows

SHAPE = Shape("sms_events", (Column("id", "uuid"), Column("created_at", "timestamp with time zone")))

LONG_AGO = 1_700_000_000


def write(path: Path, first: int, *, rows: int = 3) -> Path:
    """Write a file of some rows, without compression, so that files of as many rows are of one size."""
    ids = [str(UUID(int=first + n)) for n in range(rows)]
    columns = [pa.array(ids), pa.array([first] * rows, SHAPE.arrow.field("created_at").type)]
    pq.write_table(pa.table(columns, schema=SHAPE.arrow), path, compression="none", use_dictionary=False)
    return path


def test_a_file_that_was_replaced_by_one_of_its_size_and_time_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "file.parquet", 1, rows=30_000)
    os.utime(path, (LONG_AGO, LONG_AGO))
    before, size = ArchivedRows(path).read_back(), path.stat().st_size
    write(path, 50_000, rows=30_000)
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert path.stat().st_size == size
    after = ArchivedRows(path).read_back()
    assert after.content_sha256 != before.content_sha256
    assert after.min_at != before.min_at


def test_files_that_threads_read_at_the_same_time_are_not_mixed_up(tmp_path: Path) -> None:
    files = {rows: ArchivedRows(write(tmp_path / f"{rows}.parquet", 1, rows=rows)) for rows in (3, 4)}
    asked = [3, 4] * 50
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda rows: files[rows].extent().rows, asked)) == asked


def test_a_path_with_a_quote_is_one_path(tmp_path: Path) -> None:
    assert ArchivedRows(write(tmp_path / "it's.parquet", 1)).extent().rows == 3
