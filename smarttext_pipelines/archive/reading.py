"""Rows out of PostgreSQL as Arrow, read ahead by a thread: server, driver and compression work at the same time."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import pyarrow as pa
from sqlalchemy import URL

from smarttext_pipelines.archive.columns import SESSION
from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.connect import describe

BATCH_BYTES = 4 << 20
_BATCHES_AHEAD = 2
_END = None
_BEGIN = "; ".join(("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", *SESSION))


@contextmanager
def reading(url: URL, statement: str) -> Iterator[Iterator[pa.RecordBatch]]:
    """Give the rows of a statement, read in one snapshot, batch by batch.

    Raises:
        DatabaseError: The rows cannot be read to their end.
    """
    ahead = _ReadAhead(url, statement)
    ahead.start()
    try:
        yield ahead.batches()
    finally:
        ahead.stop()


class _ReadAhead(threading.Thread):
    def __init__(self, url: URL, statement: str) -> None:
        super().__init__(name="archive-reader")
        self._url, self._statement = url, statement
        self._ready: queue.Queue[Any] = queue.Queue(_BATCHES_AHEAD)
        self._is_over = threading.Event()

    def run(self) -> None:
        try:
            for batch in self._read():
                self._put(batch)
            self._put(_END)
        except Exception as error:  # noqa: BLE001 - raised where the rows are used
            self._put(error)

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def batches(self) -> Iterator[pa.RecordBatch]:
        while (item := self._ready.get()) is not _END:
            if isinstance(item, adbc.Error):
                # What follows the first line quotes the statement.
                reason = str(item).splitlines()[0]
                msg = f"PostgreSQL at {describe(self._url)} stopped while rows were read: {reason}"
                raise DatabaseError(msg) from None
            if isinstance(item, Exception):
                raise item
            yield item

    def _read(self) -> Iterator[pa.RecordBatch]:
        database = _described(self._url.set(drivername="postgresql").render_as_string(hide_password=False))
        with adbc.AdbcConnection(database) as connection:
            connection.set_autocommit(enabled=False)
            with adbc.AdbcStatement(connection) as statement:
                statement.set_sql_query(_BEGIN)
                statement.execute_update()
            with adbc.AdbcStatement(connection) as statement:
                statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
                statement.set_sql_query(self._statement)
                rows, _ = statement.execute_query()
                with pa.RecordBatchReader.from_stream(rows) as batches:
                    yield from batches

    def _put(self, item: Any) -> None:
        """Wait for a free place, but not for somebody who has gone."""
        while not self._is_over.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            else:
                return


@lru_cache(maxsize=4)
def _described(uri: str) -> adbc.AdbcDatabase:
    """Return the driver's description of a database, which holds no connection.

    It reads every type and column there is, which takes as long as 30,000 rows do: once for a process.
    """
    database: adbc.AdbcDatabase = adbc_driver_postgresql.connect(uri)
    return database
