"""The dashboard: from a row of the application to 50 open pages, and what it costs while nothing happens."""

import asyncio
import json
import re
import resource
import threading
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import websockets
from sqlalchemy import event

from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sampler import Sampler, run_sampler
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.asgi import serving_app
from smarttext_pipelines_tests.bench.tools import Line
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import insert_events

SOCKETS, ROWS, IDLE_S, EARLIER = 50, 200, 20, 12_000
_MISSED = re.compile(r'data-figure="calls_missed"[^>]*>(?:<a[^>]*>)?([\d,]+)')


def measure(server: Server, scale: float) -> list[Line]:
    """Return the latency of rows on all sockets, and the work while nothing happens."""
    rows, idle = max(20, int(ROWS * scale)), max(5.0, IDLE_S * scale)
    with fresh_database(server) as database:
        migrate(database.engine, ZoneInfo("UTC"))
        now = datetime.now(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        step = (now - midnight) / (EARLIER + 1)
        _insert(database, [(n, midnight + n * step) for n in range(1, EARLIER)])
        database.run("ANALYZE")
        settings = database.settings()
        stopped = threading.Event()
        sampler = threading.Thread(
            target=run_sampler, args=(Sampler(database.engine, settings), lambda: datetime.now(UTC), stopped.wait)
        )
        sampler.start()
        statements: list[str] = []
        event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        try:
            with serving_app(build_app(database.engine, settings, access_of(settings, "127.0.0.1"))) as port:
                latencies, asked, share = asyncio.run(_watch(database, port, rows, idle, statements))
        finally:
            stopped.set()
            sampler.join()
    latencies.sort()
    return [
        Line(f"{rows} rows, each on {SOCKETS} sockets: median", f"{latencies[len(latencies) // 2]:.2f} s"),
        Line("95th percentile", f"{latencies[int(len(latencies) * 0.95)]:.2f} s", "2 s"),
        Line(f"{SOCKETS} idle sockets and a sampler: statements a second", f"{asked:.1f}"),
        Line("of one core", f"{100 * share:.1f} %", "10 %"),
    ]


def _insert(database: Database, calls: list[tuple[int, datetime]]) -> None:
    rows = [
        strategies.call_event(n, at, event_type="voice.missed", call_sid=f"CA{n}", from_number=f"+1555{n:07}")
        for n, at in calls
    ]
    with database.engine.begin() as connection:
        insert_events(connection, {"call_events": rows})


async def _watch(
    database: Database, port: int, rows: int, idle: float, statements: list[str]
) -> tuple[list[float], float, float]:
    seen = [0] * SOCKETS
    changed = asyncio.Condition()

    async def follow(place: int) -> None:
        address = f"ws://127.0.0.1:{port}/live?page=/"
        async with websockets.connect(address, origin=f"http://127.0.0.1:{port}", max_size=None) as socket:  # type: ignore[arg-type]
            async for message in socket:
                found = _MISSED.search(json.loads(message).get("main") or "")
                if found:
                    seen[place] = int(found[1].replace(",", ""))
                    async with changed:
                        changed.notify_all()

    tasks = [asyncio.create_task(follow(place)) for place in range(SOCKETS)]
    latencies, base = [], EARLIER - 1
    async with changed:
        await changed.wait_for(lambda: min(seen) >= base)
    for n in range(rows):
        began = time.monotonic()
        await asyncio.to_thread(_insert, database, [(EARLIER + 1 + n, datetime.now(UTC) - timedelta(milliseconds=1))])
        async with changed:
            await changed.wait_for(lambda n=n: min(seen) >= base + n + 1)  # type: ignore[misc]
        latencies.append(time.monotonic() - began)
        await asyncio.sleep(0.05 * (n % 7))
    statements.clear()
    began, used = time.monotonic(), _cpu()
    await asyncio.sleep(idle)
    took = time.monotonic() - began
    asked, share = len(statements) / took, (_cpu() - used) / took
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return latencies, asked, share


def _cpu() -> float:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime
