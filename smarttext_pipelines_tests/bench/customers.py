"""Customers: the fact of one day against SQL by hand, the size of its rows, and what to ask whom not to text costs."""

import random
import statistics
import threading
import time
from typing import Any

import psycopg

from smarttext_pipelines.core.customer_keys import e164_in_sql
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.metrics.customer_days import MEASURES
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.day import WINDOW, ZONE, fill, roll_up_one, spans
from smarttext_pipelines_tests.bench.tools import Line, alternate, read_sql, reading, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

METRIC = METRICS["customer_days"]
CLIENTS, LATENCY_S, WARM = 64, 10, 20
CHECK = "SELECT * FROM public.check_sms_recipient(%s, %s)"


def measure(server: Server, scale: float) -> list[Line]:
    """Return the ratio of the statement, bytes for each row, and latencies of ``check_sms_recipient``."""
    with fresh_database(server) as database:
        migrate(database.engine, ZONE)
        fill(database, scale)
        hand, ours = alternate(lambda: _by_hand(database), lambda: _staged(database))
        differences = _differences(database)
        roll_up_one(database.engine, METRIC.name)
        size = _size(database)
        asked, bare = _latencies(database, max(LATENCY_S * scale, 2))
    ratio = f"{asked[1]:.2f} ms / {bare[1]:.2f} ms = {asked[1] / bare[1]:.2f} ×"
    return [
        Line("rows that differ from SQL by hand", str(differences), "0"),
        Line("SQL by hand", f"{hand:.2f} s"),
        Line("statement of customer_days", f"{ours:.2f} s = {ours / hand:.2f} ×", "2 ×"),
        Line("a customer and business and day: table and indexes", size),
        Line(f"check_sms_recipient, {CLIENTS} clients, p99, against SELECT 1", ratio, "5 ×"),
        Line("the same, p50", f"{asked[0]:.2f} ms / {bare[0]:.2f} ms = {asked[0] / bare[0]:.2f} ×"),
    ]


def _hand_sql() -> str:
    compared = e164_in_sql("number")
    bare = "regexp_replace(translate(recipient, ' -.()/', ''), '^whatsapp:', '')"
    return read_sql("customer_days_by_hand.sql", **spans(), e164=compared, compared=bare)


def _by_hand(database: Database) -> float:
    with reading(database.engine, WINDOW) as (connection, _):
        statement = f"CREATE TEMPORARY TABLE by_hand AS {_hand_sql()}"
        return seconds(lambda: connection.exec_driver_sql(statement, execution_options={"no_parameters": True}))


def _staged(database: Database) -> float:
    with reading(database.engine, WINDOW) as (_, engine):
        return seconds(lambda: engine.stage(METRIC.rows(engine.tables, WINDOW), "computed"))


def _differences(database: Database) -> int:
    columns = ", ".join((*METRIC.dimensions, *MEASURES))
    with reading(database.engine, WINDOW) as (connection, engine):
        engine.stage(METRIC.rows(engine.tables, WINDOW), "computed")
        statement = f"CREATE TEMPORARY TABLE by_hand AS {_hand_sql()}"
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        one, other = (f"SELECT {columns} FROM {name}" for name in ("computed", "by_hand"))
        both = f"SELECT count(*) FROM (({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one})) AS d"
        return int(connection.exec_driver_sql(both).scalar_one())


def _size(database: Database) -> str:
    (row,) = database.rows(
        "SELECT pg_total_relation_size('monitoring.customer_days') AS bytes, count(*) AS n, "
        "count(DISTINCT customer_key) AS customers FROM monitoring.customer_days"
    )
    return f"{row['bytes'] / row['n']:.0f} bytes ({row['n']:,} rows of {row['customers']:,} customers)"


def _latencies(database: Database, length: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return p50 and p99, in milliseconds, of the function and of ``SELECT 1``."""
    texts = "SELECT business_id, to_number FROM public.sms_events WHERE business_id IS NOT NULL LIMIT 20000"
    asks = [(row["business_id"], row["to_number"]) for row in database.rows(texts)]
    return _quantiles(database, length, CHECK, asks), _quantiles(database, length, "SELECT 1", [None])


def _quantiles(database: Database, length: float, query: str, asks: list[Any]) -> tuple[float, float]:
    taken: list[float] = []
    end = time.monotonic() + length

    def client(seed: int) -> None:
        rng, mine = random.Random(seed), []
        with psycopg.connect(database.plain_url, autocommit=True) as connection:
            while time.monotonic() < end:
                begun = time.perf_counter()
                connection.execute(query, rng.choice(asks)).fetchone()
                mine.append(time.perf_counter() - begun)
        taken.extend(mine[WARM:])

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cut = statistics.quantiles(taken, n=100)
    return cut[49] * 1000, cut[98] * 1000
