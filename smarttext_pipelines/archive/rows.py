"""A file of the archive as its rows: opened only when everything that the manifest says of it holds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from smarttext_pipelines.archive.columns import TIME_COLUMNS, shape_of
from smarttext_pipelines.archive.manifest import Segment
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.errors import DamagedFileError
from smarttext_pipelines.core.wording import quoted

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_checked: set[tuple[str, str, str, int]] = set()
"""Table, hash of the bytes, hash of the content and rows of files that this process read: what holds of bytes stays."""


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


@dataclass(frozen=True)
class Extent:
    """How many rows a file holds, and its earliest and latest time."""

    rows: int
    min_at: datetime | None
    max_at: datetime | None


class ArchivedRows:
    """A file that is opened for reading: its shape, and its rows with their hashes.

    Attributes:
        path: Where the file is.
        shape: What it says of its columns.
    """

    def __init__(self, path: Path) -> None:
        """Open a local file; raise DamagedFileError when it is not an archive file."""
        self.path = path
        try:
            schema = pq.read_schema(path)
            self.shape = shape_of(schema)
            is_ours = schema.remove_metadata().equals(self.shape.arrow.remove_metadata())
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
            is_ours = False
        if not is_ours:
            msg = f"{path.name} is damaged: it is no archive file"
            raise DamagedFileError(msg)

    def read_back(self) -> ReadBack:
        """Return what the file holds; raise DamagedFileError when it cannot be read or an id occurs twice."""
        query = (
            "SELECT count(*), count(DISTINCT id), sha256(coalesce(string_agg(row_hash, '' ORDER BY id), '')),"  # noqa: S608
            f" min({self._microseconds}), max({self._microseconds}) FROM hashed"
        )
        rows, ids, content, low, high = self._query(query).fetchall()[0]
        if ids != rows:
            msg = f"{self.path.name} is damaged: {rows - ids} ids occur twice"
            raise DamagedFileError(msg)
        return ReadBack(rows, content, _instant(low), _instant(high))

    def extent(self) -> Extent:
        """Return how many rows the file holds and when they happened, without hashing them.

        Raises:
            DamagedFileError: It cannot be read, or an id occurs twice.
        """
        query = f"SELECT count(*), count(DISTINCT id), min({self._microseconds}), max({self._microseconds}) FROM file"  # noqa: S608
        rows, ids, low, high = self._query(query).fetchall()[0]
        if ids != rows:
            msg = f"{self.path.name} is damaged: {rows - ids} ids occur twice"
            raise DamagedFileError(msg)
        return Extent(rows, _instant(low), _instant(high))

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

    def values(self, *names: str) -> list[str]:
        """Return the different texts of some columns, those of them that the file has."""
        there = {c.name for c in self.shape.columns} & {*names}
        parts = " UNION ".join(f"SELECT CAST({quoted(name)} AS VARCHAR) AS v FROM file" for name in sorted(there))  # noqa: S608
        found = self._query(f"SELECT v FROM ({parts}) WHERE v <> ''").fetchall() if parts else []  # noqa: S608
        return [value for (value,) in found]

    def about(self, digits: str) -> list[tuple[str, str, datetime | None, date | None]]:
        """Return id, hash, time and, for api_usage, date of the rows that mention a number.

        Undated rows, which a file holds as text, are returned without either.
        """
        is_dated = self.shape.table == "api_usage" and not self.shape.is_text
        day = "reset_date" if is_dated else "NULL"
        mentions = self.shape.mentions(digits, "regexp_matches")
        query = f"SELECT id, row_hash, {self._microseconds}, {day} FROM hashed WHERE {mentions}"  # noqa: S608
        found = self._query(query).fetchall()
        return [(id_, row_hash, _instant(us), day) for id_, row_hash, us, day in found]

    def without(self, digits: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows that do not mention a number, as the file stores them."""
        names = ", ".join(quoted(c.name) for c in self.shape.columns)
        mentions = self.shape.mentions(digits, "regexp_matches")
        query = f"SELECT {names} FROM hashed WHERE NOT {mentions}"  # noqa: S608 - names are quoted
        with self._opened() as connection:
            yield from connection.sql(query).to_arrow_reader(20_000)

    @property
    def _microseconds(self) -> str:
        at = TIME_COLUMNS[self.shape.table]
        if self.shape.is_text:
            return "NULL::bigint"
        no_zone = f"TRY_CAST({quoted(at)} AS TIMESTAMP) AT TIME ZONE 'UTC'"
        return f"epoch_us({no_zone if self.shape.has_no_zone(at) else quoted(at)})"

    def _query(self, query: str) -> Any:
        with self._opened() as connection:
            return connection.execute(query)

    @contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = _duckdb(os.getpid()).cursor()
        connection.execute("SET TimeZone = 'UTC'")
        try:
            path = str(self.path).replace("'", "''")
            connection.execute(f"CREATE TEMPORARY VIEW file AS SELECT * FROM read_parquet('{path}')")  # noqa: S608
            hashed = f"SELECT *, {self.shape.hash_in_duckdb()} AS row_hash FROM file"  # noqa: S608 - names are quoted
            connection.execute(f"CREATE TEMPORARY VIEW hashed AS {hashed}")
            yield connection
        except duckdb.Error as error:
            msg = f"{self.path.name} is damaged: {str(error).splitlines()[0]}"
            raise DamagedFileError(msg) from None


def open_archived(target: ArchiveTarget, segment: Segment, into: Path, *, is_fresh: bool = False) -> ArchivedRows:
    """Open the file of a segment: its name, its kind, its bytes and its rows are those that were verified.

    Args:
        target: Where the files are stored.
        segment: Whose file to open.
        into: Folder for a copy where the target is not on this machine.
        is_fresh: Whether rows are hashed again even where this process has already hashed the same bytes.

    Raises:
        ArchiveError: The manifest names no file that could be its own, or the file cannot be read.
        DamagedFileError: It is missing, or is not what was verified.
    """
    key, sha256 = segment.file
    rows = ArchivedRows(target.fetch(key, sha256, into))
    known = (segment.table_name, sha256, segment.content_sha256 or "", segment.rows or 0)
    if known not in _checked or is_fresh:
        if rows.shape.table != segment.table_name:
            msg = f"{key} is damaged: it holds rows of another table"
            raise DamagedFileError(msg)
        found = rows.read_back()
        if (found.content_sha256, found.rows) != known[2:]:
            msg = f"{key} is damaged: its rows are not those that were verified"
            raise DamagedFileError(msg)
        remember(segment.table_name, sha256, found)
    return rows


def remember(table: str, sha256: str, found: ReadBack) -> None:
    """Remember what bytes hold, so that they are not read again for that as long as their SHA-256 is the same."""
    _checked.add((table, sha256, found.content_sha256, found.rows))


@lru_cache
def _duckdb(_process: int) -> duckdb.DuckDBPyConnection:
    """Return the DuckDB of this process, whose connections see nothing of each other; to begin one takes 20 ms of CPU.

    It keeps nothing of a file, so that what is read back comes from the file each time.
    """
    return duckdb.connect(config={"enable_external_file_cache": False})


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
