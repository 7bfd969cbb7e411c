"""What a ``track_*`` call costs its caller, with the database up, slow and down; and what an outage loses."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from smarttext_pipelines import tracking
from smarttext_pipelines.database.connect import parse_url
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.tools import Line
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.proxy import Proxy, proxied

CALLS, OUTAGE_S, CALLS_PER_S = 20_000, 60, 200
EVENT: dict[str, Any] = {"from_": "+15550100", "to": "+15550101", "status": "queued", "payload": {"price": None}}


def measure(server: Server, scale: float) -> list[Line]:
    """Return latencies of the caller in milliseconds, and the rows of an outage."""
    with (
        fresh_database(server) as database,
        proxied(parse_url(database.url).port or 5432) as proxy,
        tempfile.TemporaryDirectory() as folder,
    ):
        migrate(database.engine, ZoneInfo("UTC"))
        url = parse_url(database.url).set(port=proxy.port).render_as_string(hide_password=False)
        tracking.configure(database_url=url, spill_folder=Path(folder))
        lines = [_latency("up", proxy, scale)]
        proxy.delay_s = 5.0
        lines.append(_latency("slow by 5 s", proxy, scale))
        proxy.delay_s = 0.0
        proxy.cut()
        lines.append(_latency("down", proxy, scale))
        proxy.restore()
        tracking.flush(120)
        lines.append(_outage(database, proxy, scale))
        tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=Path(folder))
    return lines


def _latency(state: str, _: Proxy, scale: float) -> Line:
    times = []
    for n in range(max(int(CALLS * scale), 1000)):
        begun = time.perf_counter()
        tracking.track_sms_event(**EVENT, request_id=f"{state} {n}")
        times.append(time.perf_counter() - begun)
        if n % 100 == 0:
            time.sleep(0.01)
    quantiles = statistics.quantiles(times, n=1000)
    told = f"p50 {quantiles[499] * 1e3:.3f} ms, p99 {quantiles[989] * 1e3:.3f} ms, most {max(times) * 1e3:.1f} ms"
    return Line(f"track_sms_event, database {state}", told, "p99 below 0.5 ms")


def _outage(database: Database, proxy: Proxy, scale: float) -> Line:
    database.run("TRUNCATE public.sms_events")
    before = tracking.counters()
    seconds = OUTAGE_S * scale
    end, told = time.monotonic() + seconds + 2, 0
    proxy.cut()
    while time.monotonic() < end:
        if end - time.monotonic() < 1:
            proxy.restore()
        tracking.track_sms_event(**EVENT, request_id=f"r{told}")
        told += 1
        time.sleep(1 / CALLS_PER_S)
    tracking.flush(120)
    (found,) = database.rows("SELECT count(*) AS rows, count(DISTINCT request_id) AS events FROM public.sms_events")
    dropped = tracking.counters().dropped - before.dropped
    return Line(
        f"an outage of {seconds:.0f} s",
        f"{told:,} told, {found['rows']:,} rows, {found['events']:,} different, {dropped} dropped",
        "all, once",
    )
