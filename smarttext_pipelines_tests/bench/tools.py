"""What benchmarks share: a server, hand-written SQL, medians of alternating runs, lines of a table."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from sqlalchemy import Connection, Engine

from smarttext_pipelines.engines import Parameters, PostgresEngine
from smarttext_pipelines.engines.postgres import PLANNER
from smarttext_pipelines.metrics.metric import Metric, Window
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET

RUNS = 3
SHARED = "+18885550100"


@dataclass(frozen=True)
class Line:
    """One row of what a benchmark prints; its figures are what a picture is drawn of."""

    what: str
    measured: str
    limit: str = ""
    figures: dict[str, float] = field(default_factory=dict)


def seconds(action: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def alternate(*actions: Callable[[], float], runs: int = RUNS) -> list[float]:
    """Return the median of what each action returns, run in turn so that a busy machine slows all of them."""
    taken = [[action() for action in actions] for _ in range(runs)]
    return [statistics.median(times) for times in zip(*taken, strict=True)]


def peak_mib() -> float:
    """Return the peak memory of this process; what ``getrusage`` says is never less than that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def read_sql(name: str, **values: object) -> str:
    """Return a statement of this folder with ``$name`` replaced."""
    return Template((Path(__file__).parent / name).read_text()).substitute(values)


def run_sql(database: Database, statements: str) -> None:
    """Run several statements in one transaction."""
    with database.server.connect(database.name) as connection, connection.transaction():
        connection.execute(statements)


@contextmanager
def loading(database: Database, *tables: str) -> Iterator[None]:
    """Let rows be written to empty tables of ``public`` at several times the speed; afterwards nothing is missing.

    Foreign keys are not checked, indexes are built at the end, and no WAL is kept: a crash empties the tables.
    """
    indexes = database.rows(
        "SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS made FROM pg_index AS i"
        " WHERE NOT i.indisunique AND i.indrelid = ANY (%s::regclass[])", [f"public.{table}" for table in tables],
    )  # fmt: skip
    database.run("".join(f"DROP INDEX {index['name']};" for index in indexes))
    for table in tables:
        database.run(f"ALTER TABLE public.{table} SET UNLOGGED, DISABLE TRIGGER ALL")
    yield
    for table in tables:
        database.run(f"ALTER TABLE public.{table} ENABLE TRIGGER ALL")
    with database.server.connect(database.name) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        for index in indexes:
            connection.execute(index["made"])
        connection.execute("ANALYZE")


@contextmanager
def reading(engine: Engine, window: Window) -> Iterator[tuple[Connection, PostgresEngine]]:
    """Give a transaction with the settings of a rollup and the engine in it; nothing of it stays."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        transaction = connection.begin()
        for statement in PLANNER:
            connection.exec_driver_sql(statement)
        yield connection, PostgresEngine(connection, Parameters(window, [SHARED], customer_secret=CUSTOMER_SECRET))
        transaction.rollback()


def stage_seconds(engine: Engine, metric: Metric, window: Window) -> float:
    """Return how long the statement of a metric takes, compiled and staged as a rollup does it."""
    with reading(engine, window) as (_, metrics):
        return seconds(lambda: metrics.stage(metric.rows(metrics.tables, window), "computed"))
