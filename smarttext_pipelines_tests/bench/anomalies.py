"""The search for anomalies: CPU of the own process and of its server process together, so that load matters little."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import text

from smarttext_pipelines.anomalies.anomaly_store import search_days
from smarttext_pipelines.anomalies.scoring import learning_days
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.database.rolled_up_days import RECORDED_TABLES
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.tools import Line, peak_mib, read_sql, run_sql
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

ZONE = ZoneInfo("UTC")
LAST = date(2026, 3, 25)
DAYS = 84
"""Twelve weeks."""

BUSINESSES = 10_000
BACKFILL_DAYS = 365
BACKFILL_SHARE = 0.1
"""Of the businesses: a year of all of them would be five million rows."""


@dataclass(frozen=True)
class _Cost:
    """Of a search: seconds of CPU, ours and the server's, and MB of memory at most."""

    own: float
    server: float
    peak: float

    @property
    def total(self) -> float:
        return self.own + self.server


def measure(server: Server, scale: float) -> list[Line]:
    """Return what the newest day costs, and how many newest days a backfill of a year costs."""
    many, few = max(round(BUSINESSES * scale), 1), max(round(BUSINESSES * scale * BACKFILL_SHARE), 1)
    with fresh_database(server) as database:
        newest = DayRange(LAST, LAST)
        _seed(database, many, DayRange(LAST - timedelta(days=DAYS - 1), LAST))
        best = min((_cost(database, newest) for _ in range(3)), key=lambda cost: cost.total)
    with fresh_database(server) as database:
        year = DayRange(LAST - timedelta(days=BACKFILL_DAYS - 1), LAST)
        _seed(database, few, DayRange(learning_days(year.first).first, LAST))
        one, all_ = _cost(database, newest), _cost(database, year)
    ratio = f"{all_.total:.1f} s and {one.total:.2f} s = {all_.total / one.total:.1f} ×"
    return [
        Line(f"newest day of {many:,} businesses, CPU of the process", f"{best.own:.2f} s"),
        Line("the same, CPU of its server process", f"{best.server:.2f} s"),
        Line("together", f"{best.total:.2f} s", "4 s"),
        Line("peak memory of the process", f"{best.peak:.0f} MB", "600 MB"),
        Line(f"{BACKFILL_DAYS} days of {few:,} businesses, and their newest day", ratio, "30 ×"),
    ]


def _seed(database: Database, businesses: int, days: DayRange) -> None:
    migrate(database.engine, ZONE)
    tables = ", ".join(f"'{name}'" for name in RECORDED_TABLES)
    run_sql(
        database,
        read_sql("anomalies_data.sql", businesses=businesses, first=days.first, last=days.last, tables=tables),
    )
    database.run("VACUUM ANALYZE public.daily_stats")


def _cost(database: Database, days: DayRange) -> _Cost:
    # A new process, so that the peak is its own.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_search, database.url, days).result()


def _search(url: str, days: DayRange) -> _Cost:
    with open_engine(url).connect() as connection:
        # A parallel worker would be a process that is not counted.
        connection.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        own, server = time.process_time(), _cpu_of(pid)
        search_days(connection, days, ZONE)
        own, server = time.process_time() - own, _cpu_of(pid) - server
    return _Cost(own, server, peak_mib())


def _cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process of this machine, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
