"""Facts of the same days in one run, read in one snapshot: what several of them read of the events is read once.

The session that reads holds no lock and writes nothing. Each fact is written as in any rollup, in a transaction of its
own under its locks, unless somebody has written a fact of these days since the snapshot.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, Engine, func, select, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import NotSharedError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.engines import EngineChoice, PostgresEngine
from smarttext_pipelines.engines.engine import give_repeated_keys
from smarttext_pipelines.engines.parameter_tables import key_blocks
from smarttext_pipelines.metrics import METRICS, Metric
from smarttext_pipelines.metrics.customer_days import KEY_BLOCKS
from smarttext_pipelines.metrics.window_tables import REPEATED_KEYS
from smarttext_pipelines.rollup.compute import Computed, compute
from smarttext_pipelines.rollup.day_locks import ended_on_interrupt
from smarttext_pipelines.rollup.merge import COMPUTED
from smarttext_pipelines.rollup.terms import Terms

MAX_DAYS = 32
"""Days of one reading: what it keeps between facts grows with them, on the server's disk."""

FACTS = tuple(name for name, metric in METRICS.items() if metric.source)
_KINDS = {"sms_outcomes": "sri", "call_volume": "ct"}
"""With what the keys of a fact's own rows begin, where they are not all of ``REPEATED_KEYS``."""

_VERSIONS = text(
    """
    SELECT table_name, row_day, xmin::text AS version FROM monitoring.rollup_days
    WHERE row_day BETWEEN :first AND :last AND table_name = ANY (:names)
    """
)
_COLUMNS = text(
    """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass('pg_temp.' || :name) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
    """
)
_WRITER = ("SET LOCAL idle_in_transaction_session_timeout = '60min'", "SET LOCAL lock_timeout = '60s'")
"""For the session that writes: it waits while the other one computes, and not for somebody who waits for that one."""

Versions = Mapping[tuple[str, date], str]


@dataclass(frozen=True)
class _Reading:
    """An open snapshot: its engines, what was recorded of the days in it, and the keys that identify nothing."""

    pid: int
    choice: EngineChoice
    engine: PostgresEngine
    versions: Versions
    repeated: Sequence[Mapping[str, Any]]


class SharedRead(AbstractContextManager["SharedRead"]):
    """The reading of one run: begun by its first fact, ended after its last, at the first error, or with the run."""

    def __init__(self, facts: Collection[str] = FACTS) -> None:
        """Read nothing yet.

        Args:
            facts: The facts of the run; one alone shares nothing.
        """
        self._left = set(facts) if len(facts) > 1 else set()
        self._stack = ExitStack()
        self._reading: _Reading | None = None

    def __exit__(self, *_error: object) -> None:
        """End the session that reads, and with it what it kept."""
        self.close()

    def close(self) -> None:
        """Read nothing more: what is left is computed alone."""
        self._left, self._reading = set(), None
        self._stack.close()

    def serves(self, metric: Metric, terms: Terms) -> bool:
        """Return whether the fact may be read here."""
        is_open = self._reading is None or self._reading.choice.parameters.window.days == terms.days
        return metric.name in self._left and len(terms.days) <= MAX_DAYS and is_open

    def compute(self, connection: Connection, metric: Metric, terms: Terms, *, allow_empty: bool) -> Computed:
        """Compute a fact in the shared snapshot, and put its rows into ``COMPUTED`` of the transaction that writes.

        Args:
            connection: The transaction that writes, under its locks; nothing was read in it before these were taken.
            metric: One that is served.
            terms: How it is read; those of every fact of the run.
            allow_empty: Compute what is there even where events have gone.

        Raises:
            NotSharedError: The fact must be computed alone.
        """
        for statement in _WRITER:
            connection.exec_driver_sql(statement)
        reading = self._reading = self._reading or self._open(connection.engine, terms)
        choice, engine = reading.choice, reading.engine
        window = terms.begin(connection)
        if versions(connection, terms) != reading.versions:
            msg = "a fact of these days was written by another rollup since the others were read"
            raise NotSharedError(msg)
        if window.usage_by_time != choice.parameters.window.usage_by_time:
            msg = "what says the day of usage was changed since the others were read"
            raise NotSharedError(msg)
        with ended_on_interrupt(connection.engine, reading.pid):
            if KEY_BLOCKS in metric.inputs and terms.secret is not None:
                for name, rows in key_blocks(terms.secret).items():
                    engine.add(name, rows)
            own = _own_keys(metric, reading.repeated, window.days)
            found = compute(choice, engine, metric, allow_empty=allow_empty, shared=own)
            _move_computed(choice.connection, connection)
        return found

    def wrote(self, metric: Metric, recorded: Versions) -> None:
        """Note that a fact was written, and end the reading after the last one.

        Args:
            metric: The fact.
            recorded: Result of ``versions`` in the transaction that wrote.
        """
        self._left.discard(metric.name)
        if self._reading and self._left:
            self._reading = replace(self._reading, versions=recorded)
        else:
            self.close()

    def _open(self, database: Engine, terms: Terms) -> _Reading:
        if terms.spark is not None:
            msg = "Spark computes windows of many rows"
            raise NotSharedError(msg)
        connection = self._stack.enter_context(connected(database, isolation="REPEATABLE READ"))
        choice = terms.engines(connection, terms.begin(connection))
        pid = connection.scalar(select(func.pg_backend_pid())) or 0
        inputs = {name for fact in FACTS for name in METRICS[fact].inputs}
        engine = self._stack.enter_context(choice.engine_for(inputs))
        if not isinstance(engine, PostgresEngine):
            msg = "some of the events are in files"
            raise NotSharedError(msg)
        with ended_on_interrupt(database, pid):
            repeated = engine.fetch(REPEATED_KEYS(engine.tables, choice.parameters.window))
        give_repeated_keys(engine, repeated)
        return _Reading(pid, choice, engine, versions(connection, terms), repeated)


def versions(connection: Connection, terms: Terms) -> Versions:
    """Return what tells one recording of each fact of the days from the next, as the transaction sees it."""
    names = [METRICS[name].recorded_as for name in FACTS]
    found = connection.execute(_VERSIONS, {"first": terms.days.first, "last": terms.days.last, "names": names})
    return {(row.table_name, row.row_day): row.version for row in found}


def _own_keys(metric: Metric, repeated: Sequence[Mapping[str, Any]], days: DayRange) -> Counter[date]:
    """Count the keys of a fact's own rows that identify nothing, by day."""
    if metric.repeated is None:
        return Counter()
    kinds = _KINDS.get(metric.name)
    own = [row for row in repeated if kinds is None or (row["key"].startswith(tuple(kinds)) and row["day"] in days)]
    return Counter(row["day"] for row in own if not row["part"])


def _move_computed(reader: Connection, writer: Connection) -> None:
    """Move ``COMPUTED`` from one transaction to another, without a row in Python."""
    columns = reader.execute(_COLUMNS, {"name": COMPUTED}).all()
    shape = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in columns)
    table = sql.Identifier("pg_temp", COMPUTED)
    source: Any = reader.connection.driver_connection
    target: Any = writer.connection.driver_connection
    with source.cursor() as reads, target.cursor() as writes:
        writes.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(COMPUTED), shape))
        with (
            reads.copy(sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(table)) as rows,
            writes.copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(table)) as copy,
        ):
            for part in rows:
                copy.write(part)
        reads.execute(sql.SQL("DROP TABLE {}").format(table))
