"""The dashboard: from a row of the application to 50 open pages, and what it costs while nothing happens."""

import asyncio
import json
import re
import resource
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from statistics import median
from zoneinfo import ZoneInfo

import websockets
from sqlalchemy import Engine, event

from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sampler import Sampler, run_sampler
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.asgi import serving_app
from smarttext_pipelines_tests.bench.tools import Line
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import insert_events

ROWS, EVERY_S, IDLE_S, EARLIER = 50, 0.5, 6, 12_000
FEW, MANY = 1, 50
_MISSED = re.compile(r'data-figure="calls_missed"[^>]*>(?:<a[^>]*>)?([\d,]+)')
_ROW = """
    INSERT INTO public.call_events (id, call_sid, from_number, event_type, ts)
    VALUES (gen_random_uuid(), %s, %s, 'voice.missed', now())
"""


@dataclass(frozen=True)
class Watched:
    """What was seen with some sockets open.

    Attributes:
        latencies: Seconds from the commit of each row until the last socket had it, sorted.
        asked: Statements a second while rows came in, of the sampler and the web server.
        idle: The same while none did.
        share: Of one core, while none did; with the browsers' side of the sockets.
    """

    latencies: list[float]
    asked: float
    idle: float
    share: float

    def percentile(self, percent: int) -> str:
        """Return a latency that so many percent do not exceed, the nearest of those that were measured."""
        return f"{self.latencies[max(0, ceil(len(self.latencies) * percent / 100) - 1)]:.2f} s"


class TimedSampler(Sampler):
    """Keeps how long its counts took: they decide how often it looks."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """Begin with nothing seen."""
        super().__init__(engine, settings)
        self.took: list[float] = []

    def look(self, now: datetime) -> list[str]:
        """Look once, and keep the time if there was something to count."""
        began = time.monotonic()
        topics = super().look(now)
        if "today" in topics:
            self.took.append(time.monotonic() - began)
        return topics


def measure(server: Server, scale: float) -> list[Line]:
    """Return the latency of rows on all sockets, and the statements with one socket and with many."""
    rows, idle = max(10, int(ROWS * scale)), max(3.0, IDLE_S * scale)
    with fresh_database(server) as database:
        migrate(database.engine, ZoneInfo("UTC"))
        now = datetime.now(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        step = (now - midnight) / (EARLIER + 1)
        _insert(database, [(n, midnight + n * step) for n in range(1, EARLIER)])
        database.run("ANALYZE")
        settings = database.settings()
        stopped = threading.Event()
        timed = TimedSampler(database.engine, settings)
        sampler = threading.Thread(target=run_sampler, args=(timed, lambda: datetime.now(UTC), stopped.wait))
        sampler.start()
        statements: list[str] = []
        event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        try:
            with serving_app(build_app(database.engine, settings, access_of(settings, "127.0.0.1"))) as port:
                base, less = EARLIER - 1, rows // 3
                few = asyncio.run(_watch(database, port, FEW, base, less, idle, statements))
                many = asyncio.run(_watch(database, port, MANY, base + less, rows, idle, statements))
        finally:
            stopped.set()
            sampler.join()
    return [
        Line(f"{rows} rows, one each {EVERY_S} s, each on {MANY} sockets: median", many.percentile(50)),
        Line("95th percentile", many.percentile(95), "2 s"),
        Line(f"on {FEW} socket: median, 95th percentile", f"{few.percentile(50)}, {few.percentile(95)}"),
        Line("a count of the sampler, which then pauses for five times that: median", f"{median(timed.took):.2f} s"),
        Line(f"statements a second while rows come in, {FEW} socket", f"{few.asked:.1f}"),
        Line(f"{MANY} sockets", f"{many.asked:.1f}", "as with one"),
        Line(f"statements a second while none do, {FEW} socket", f"{few.idle:.1f}"),
        Line(f"{MANY} sockets", f"{many.idle:.1f}", "as with one"),
        Line(f"of one core, {MANY} idle sockets", f"{100 * many.share:.1f} %", "10 %"),
    ]


def _insert(database: Database, calls: list[tuple[int, datetime]]) -> None:
    rows = [
        strategies.call_event(n, at, event_type="voice.missed", call_sid=f"CA{n}", from_number=f"+1555{n:07}")
        for n, at in calls
    ]
    with database.engine.begin() as connection:
        insert_events(connection, {"call_events": rows})


async def _watch(
    database: Database, port: int, sockets: int, base: int, rows: int, idle: float, statements: list[str]
) -> Watched:
    seen = [0] * sockets
    changed = asyncio.Condition()
    committed: list[float] = []
    latencies: list[float] = []

    async def follow(place: int) -> None:
        address = f"ws://127.0.0.1:{port}/live?page=/"
        async with websockets.connect(address, origin=f"http://127.0.0.1:{port}", max_size=None) as socket:  # type: ignore[arg-type]
            async for message in socket:
                found = _MISSED.search(json.loads(message).get("main") or "")
                if found:
                    seen[place] = int(found[1].replace(",", ""))
                    async with changed:
                        changed.notify_all()

    async def time_rows() -> None:
        async with changed:
            for n in range(rows):
                await changed.wait_for(lambda n=n: min(seen) > base + n)  # type: ignore[misc]
                latencies.append(time.monotonic() - committed[n])

    tasks = [asyncio.create_task(follow(place)) for place in range(sockets)]
    async with changed:
        await changed.wait_for(lambda: min(seen) >= base)
    statements.clear()
    began, timing = time.monotonic(), asyncio.create_task(time_rows())
    with database.server.connect(database.name) as connection:
        for n in range(rows):
            committed.append(time.monotonic())
            await asyncio.to_thread(connection.execute, _ROW, (f"CA{base + n}live", f"+1666{base + n:07}"))
            committed[n] = time.monotonic()
            await asyncio.sleep(max(0.0, began + (n + 1) * EVERY_S - time.monotonic()))
    await timing
    asked = len(statements) / (time.monotonic() - began)
    statements.clear()
    began, used = time.monotonic(), _cpu()
    await asyncio.sleep(idle)
    took = time.monotonic() - began
    watched = Watched(sorted(latencies), asked, len(statements) / took, (_cpu() - used) / took)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return watched


def _cpu() -> float:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime
