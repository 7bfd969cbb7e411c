"""Writes the sample into PostgreSQL with COPY: a whole range at once, in one transaction. Draws nothing itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, TypeAlias

import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import errors, sql

from smarttext_pipelines.core.errors import DatabaseError, InputError, SchemaError, SmartTextError
from smarttext_pipelines.database.connect import connected, open_engine
from smarttext_pipelines.sample.profiles import sample_businesses
from smarttext_pipelines.sample.sample_events import sample_day
from smarttext_pipelines.sample.spec import SampleSpec

Cursor: TypeAlias = psycopg.Cursor[Any]

_CHUNK_ROWS = 32_768


def load_sample(url: str, spec: SampleSpec, progress: Callable[[date, int], None] | None = None) -> dict[str, int]:
    """Write all rows in one transaction and return how many were added to each table.

    Args:
        url: The migrated database.
        spec: What to draw.
        progress: Called after each day with its number of rows.

    Raises:
        InputError: The database holds this sample already.
        DatabaseError: The database cannot be used. After any error, nothing was written.
    """
    written: dict[str, int] = {}
    with transaction(url) as cursor:
        written["businesses"] = insert_new(cursor, "businesses", sample_businesses(spec))
        for day in spec:
            drawn = sample_day(spec, day)
            for name, rows in drawn.items():
                _copy(cursor, sql.Identifier("public", name), rows)
                written[name] = written.get(name, 0) + len(rows)
            if progress:
                progress(day, sum(map(len, drawn.values())))
        # Autovacuum comes round a minute later; until then the planner would know nothing of these rows.
        for name in written:
            cursor.execute(sql.SQL("analyze {}").format(sql.Identifier("public", name)))
    return written


@contextmanager
def transaction(url: str) -> Iterator[Cursor]:
    """Give a cursor whose work is committed at the end, or rolled back by any exception."""
    with connected(open_engine(url)) as connection:
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor:
                yield cursor
            driver.commit()
        except psycopg.Error as error:
            if driver.closed:
                connection.invalidate()
            raise _explain(error) from None


def insert_new(cursor: Cursor, name: str, rows: pa.Table) -> int:
    """Insert the rows that a table does not hold yet, and return how many those were."""
    if not len(rows):
        return 0
    table, staged = sql.Identifier("public", name), sql.Identifier(f"sample_{name}")
    names = _names(rows)
    stage = "create temporary table {} on commit drop as select {} from {} with no data"
    cursor.execute(sql.SQL(stage).format(staged, names, table))
    _copy(cursor, staged, rows)
    insert = "insert into {} ({}) select {} from {} on conflict do nothing"
    cursor.execute(sql.SQL(insert).format(table, names, names, staged))
    return cursor.rowcount


def _copy(cursor: Cursor, table: sql.Identifier, rows: pa.Table) -> None:
    command = sql.SQL("copy {} ({}) from stdin with (format csv, encoding 'utf8')").format(table, _names(rows))
    with cursor.copy(command) as copy:
        for batch in rows.to_batches(max_chunksize=_CHUNK_ROWS):
            buffer = pa.BufferOutputStream()
            # Nulls are written bare and empty texts in quotes, which is how COPY distinguishes them.
            pacsv.write_csv(batch, buffer, pacsv.WriteOptions(include_header=False))
            copy.write(buffer.getvalue().to_pybytes())


def _names(rows: pa.Table) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, rows.column_names))


def _explain(error: psycopg.Error) -> SmartTextError:
    """Return the error in one line that names the next step; DETAIL is left out, because it quotes rows."""
    if isinstance(error, errors.UniqueViolation):
        return InputError("the database holds this sample already; choose another --seed, or an empty database")
    said = error.diag.message_primary or next(iter(str(error).splitlines()), "the connection was lost")
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return SchemaError(f"{said}; run `smarttext migrate`")
    return DatabaseError(f"the sample was not written: {said}; check SMARTTEXT_DATABASE_URL and the server")
