"""The guardrail under load: a crowd that spends from one budget, and what admission and refusal cost."""

import random
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg

from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.tools import Line
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.guardrail import (
    COUNTER,
    LEDGER,
    RESERVE,
    Crowd,
    add_businesses,
    connect_as,
    guarded,
    read_then_compare,
    reap,
)

CLIENTS, CROWD_S, LIMIT = 64, 30, 20_000
ADMITTED_CLIENTS, BUSINESSES, LATENCY_S = 16, 100, 10
Action = Callable[[psycopg.Connection[Any], random.Random], None]


def measure(server: Server, scale: float) -> list[Line]:
    """Return overshoot, and latencies against bare statements under the same concurrency."""
    with fresh_database(server) as database:
        migrate(database.engine, ZoneInfo("UTC"))
        businesses = add_businesses(database, BUSINESSES)
        return [*_crowds(database, businesses, scale), *_latencies(database, businesses, scale)]


def _crowds(database: Database, businesses: list[UUID], scale: float) -> list[Line]:
    lines = []
    for business, call, name in (
        (businesses[0], guarded, "SQL functions"),
        (businesses[1], read_then_compare, "as before"),
    ):
        database.run(
            "INSERT INTO monitoring.openai_limits (scope, name, limit_tokens) VALUES ('business', %s, %s)",
            str(business),
            LIMIT,
        )
        crowd = Crowd(database, business, LIMIT)
        crowd.run(CLIENTS, CROWD_S * scale, call)
        reap(database)
        agrees = database.rows(COUNTER) == database.rows(LEDGER)
        used = database.rows(
            "SELECT coalesce(sum(tokens_used), 0) AS n FROM public.api_usage WHERE business_id = %s", business
        )
        told = f"{used[0]['n']:,} of {LIMIT:,}; highest overshoot {crowd.overshoot:,}; counter = ledger: {agrees}"
        counts = f"{crowd.admitted:,} admitted, {crowd.refused:,} refused, {crowd.killed} killed, "
        lines += [
            Line(f"{CLIENTS} clients, {CROWD_S * scale:.0f} s, {name}", told, "0" if call is guarded else "above 0"),
            Line("", f"{counts}{crowd.unsettled} unsettled"),
        ]
        database.run("TRUNCATE public.api_usage")
    return lines


def _latencies(database: Database, businesses: list[UUID], scale: float) -> list[Line]:
    database.run("UPDATE monitoring.openai_limits SET limit_tokens = 9000000000 WHERE scope = 'default'")
    database.run("INSERT INTO monitoring.openai_limits VALUES ('unattributed', '', 0, NULL)")
    database.run("CREATE TABLE public.bare AS SELECT n AS id, 0 AS value FROM generate_series(1, 100) AS n")
    database.run("ALTER TABLE public.bare ADD PRIMARY KEY (id), ALTER COLUMN value SET NOT NULL")

    def refuse(connection: psycopg.Connection[Any], _: random.Random) -> None:
        connection.execute(RESERVE, [None, 1, str(uuid4())])

    def select(connection: psycopg.Connection[Any], _: random.Random) -> None:
        connection.execute("SELECT 1")

    def admit(connection: psycopg.Connection[Any], rng: random.Random) -> None:
        connection.execute(RESERVE, [rng.choice(businesses[2:]), 10, str(uuid4())])

    def update(connection: psycopg.Connection[Any], rng: random.Random) -> None:
        connection.execute("UPDATE public.bare SET value = value + 1 WHERE id = %s", [rng.randint(1, 100)])

    seconds = max(LATENCY_S * scale, 1)
    refused, bare = (_run(database, CLIENTS, seconds, action) for action in (refuse, select))
    admitted, updated = (_run(database, ADMITTED_CLIENTS, seconds, action) for action in (admit, update))
    p50, p99 = statistics.median, lambda times: statistics.quantiles(times, n=100)[98]
    return [
        _ratio(f"refused, {CLIENTS} clients, p50, against SELECT 1", p50(refused), p50(bare)),
        _ratio(
            f"admitted, {ADMITTED_CLIENTS} clients, {BUSINESSES} businesses, p99, against an update",
            p99(admitted),
            p99(updated),
        ),
    ]


def _ratio(what: str, ours: float, bare: float) -> Line:
    return Line(what, f"{ours * 1000:.2f} ms / {bare * 1000:.2f} ms = {ours / bare:.2f} ×", "below 5 ×")


def _run(database: Database, clients: int, seconds: float, action: Action) -> list[float]:
    times: list[float] = []
    end = time.monotonic() + seconds

    def client(seed: int) -> None:
        rng, mine = random.Random(seed), []
        with connect_as(database) as connection:
            while time.monotonic() < end:
                begun = time.perf_counter()
                action(connection, rng)
                mine.append(time.perf_counter() - begun)
        times.extend(mine)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times
