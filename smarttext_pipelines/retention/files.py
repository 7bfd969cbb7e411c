"""Rows into a Parquet file and back: streamed, so that memory does not grow with the day."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import URL

from smarttext_pipelines.core.errors import DamagedFileError
from smarttext_pipelines.engines.base import quoted
from smarttext_pipelines.metrics.sources import SOURCE_TIMES
from smarttext_pipelines.retention.columns import Shape, shape_of
from smarttext_pipelines.retention.reading import reading
from smarttext_pipelines.storage.archive_target import ArchiveTarget, hash_file

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


@dataclass(frozen=True)
class ReadBack:
    """What a file holds, computed from its columns.

    Attributes:
        rows: Rows.
        content_sha256: SHA-256 of the rows' hashes in the order of their ids.
        min_at: Earliest time.
        max_at: Latest time.
    """

    rows: int
    content_sha256: str
    min_at: datetime | None
    max_at: datetime | None


def write_day(
    target: ArchiveTarget, path: Path, url: URL, shape: Shape, day: date, limit: int, told: Callable[[str], None]
) -> Written:
    """Stream rows of a day, as one statement sees them, into a file.

    Args:
        target: Whose file it is.
        path: Where to write.
        url: Database to read.
        shape: Columns to read.
        day: Day of the archive.
        limit: Most rows.
        told: Is told ``batch`` after each part.

    Raises:
        ArchiveError: The file cannot be written.
        DatabaseError: The rows cannot be read.
    """
    with reading(url, shape.select(day, limit)) as batches:
        return write_batches(target, path, shape, batches, told)


def write_batches(
    target: ArchiveTarget, path: Path, shape: Shape, batches: Iterator[pa.RecordBatch], told: Callable[[str], None]
) -> Written:
    """Write batches into a file of a shape; their columns are cast to its types."""
    rows = size = 0
    # Random texts make dictionaries that are thrown away again.
    repeated: Any = [c.name for c in shape.columns if not (c.name == "id" or c.name.endswith(("_sid", "request_id")))]
    with target.created(path) as file:
        sink: Any = pa.PythonFile(cast("Any", file), mode="w")
        with pq.ParquetWriter(sink, shape.arrow, compression="zstd", use_dictionary=repeated) as writer:
            for batch in batches:
                part = pa.Table.from_batches([batch]).cast(shape.arrow)
                writer.write_table(part)
                rows, size = rows + part.num_rows, size + part.nbytes
                told("batch")
        return Written(rows, file.bytes, size, file.sha256)


class ArchivedRows:
    """A file that is opened for reading: its shape, and its rows with their hashes."""

    def __init__(self, path: Path) -> None:
        """Open a local file; raise DamagedFileError when it is no file of ours."""
        self._path = path
        try:
            self.shape = shape_of(pq.read_schema(path))
        except (OSError, pa.ArrowException, KeyError, ValueError):
            msg = f"{path.name} is damaged: it is no archive file"
            raise DamagedFileError(msg) from None

    def read_back(self) -> ReadBack:
        """Return what the file holds; raise DamagedFileError when it cannot be read or an id stands twice."""
        query = (
            "SELECT count(*), count(DISTINCT id), sha256(coalesce(string_agg(row_hash, '' ORDER BY id), '')),"  # noqa: S608
            f" epoch_us(min({self._at})), epoch_us(max({self._at})) FROM hashed"
        )
        rows, ids, content, low, high = self._query(query).fetchall()[0]
        if ids != rows:
            msg = f"{self._path.name} is damaged: {rows - ids} ids stand twice"
            raise DamagedFileError(msg)
        return ReadBack(rows, content, _instant(low), _instant(high))

    def hashes(self) -> Iterator[list[tuple[str, str]]]:
        """Yield ids and hashes of the rows, some thousands at a time."""
        found = self._query("SELECT id, row_hash FROM hashed")
        while part := found.fetchmany(20_000):
            yield part

    def texts(self) -> Iterator[tuple[str | None, ...]]:
        """Yield the rows with every column as PostgreSQL reads it, and the hash at the end."""
        names = ", ".join(f"CAST({quoted(c.name)} AS VARCHAR)" for c in self.shape.columns)
        found = self._query(f"SELECT {names}, row_hash FROM hashed")  # noqa: S608 - names are quoted
        while part := found.fetchmany(20_000):
            yield from part

    def about(self, digits: str) -> list[tuple[str, str, datetime | None, date | None]]:
        """Return id, hash, time and, for api_usage, date of the rows in whose texts a number stands."""
        day = "reset_date" if self.shape.table == "api_usage" else "NULL"
        query = f"SELECT id, row_hash, epoch_us({self._at}), {day} FROM hashed WHERE {self._mentions}"  # noqa: S608
        found = self._query(query, [number_pattern(digits)]).fetchall()
        return [(id_, row_hash, _instant(us), day) for id_, row_hash, us, day in found]

    def without(self, digits: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows in whose texts a number does not stand, as the file stores them."""
        names = ", ".join(quoted(c.name) for c in self.shape.columns)
        query = f"SELECT {names} FROM hashed WHERE NOT {self._mentions}"  # noqa: S608 - names are quoted
        with self._opened() as connection:
            yield from connection.sql(query, params=[number_pattern(digits)]).to_arrow_reader(20_000)

    @property
    def _at(self) -> str:
        at = SOURCE_TIMES[self.shape.table]
        no_zone = f"TRY_CAST({quoted(at)} AS TIMESTAMP) AT TIME ZONE 'UTC'"
        return no_zone if self.shape.has_no_zone(at) else quoted(at)

    @property
    def _mentions(self) -> str:
        texts = ", ".join(quoted(c.name) for c in self.shape.columns if not c.is_plain)
        return f"regexp_matches(concat_ws(' ', {texts}), ?)"

    def _query(self, query: str, parameters: list[Any] | None = None) -> Any:
        with self._opened() as connection:
            return connection.execute(query, parameters)

    @contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        try:
            connection.read_parquet(str(self._path)).create_view("file")
            hashed = f"SELECT *, {self.shape.hash_in_duckdb()} AS row_hash FROM file"  # noqa: S608 - names are quoted
            connection.execute(f"CREATE VIEW hashed AS {hashed}")
            yield connection
        except duckdb.Error as error:
            msg = f"{self._path.name} is damaged: {str(error).splitlines()[0]}"
            raise DamagedFileError(msg) from None


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def number_pattern(digits: str) -> str:
    """Return the pattern of a telephone number that is no part of a longer one; PostgreSQL and DuckDB read it alike."""
    return f"(^|[^0-9]){digits}([^0-9]|$)"


def verify_file(path: Path, written: Written) -> ReadBack:
    """Read a file back and compare it with what was sent to the disk.

    Raises:
        DamagedFileError: A byte, the number of rows or an id is not as it should be.
    """
    if hash_file(path) != written.sha256:
        msg = f"{path.name} is damaged: the disk does not give back what was written; nothing was deleted"
        raise DamagedFileError(msg)
    found = ArchivedRows(path).read_back()
    if found.rows != written.rows:
        msg = f"{path.name} is damaged: {written.rows} rows were written and {found.rows} read back"
        raise DamagedFileError(msg)
    return found
