"""Pages of the dashboard over 10,000 businesses and a million rows: until the first byte, and over the wire."""

import gzip
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import requests
from sqlalchemy import Engine, event

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.rollup import roll_up
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sampler import Sampler
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests.asgi import serving_app
from smarttext_pipelines_tests.bench.day import fill_days
from smarttext_pipelines_tests.bench.tools import SHARED, Line
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET

ROWS, DAYS, BUSINESSES, RUNS = 70_000, 9, 10_000, 9
ZONE = ZoneInfo("UTC")
_ASSET = re.compile(r'(?:src|href)="(/static/[^"]+)"')


def measure(server: Server, scale: float) -> list[Line]:
    """Return the time to the first byte against that of the statements, and the compressed size with all assets."""
    now = datetime.now(UTC)
    with fresh_database(server) as database:
        migrate(database.engine, ZONE)
        _fill(database, scale, now)
        with database.server.connect(database.name) as connection:
            found = connection.execute(
                "SELECT business_id::text FROM public.daily_stats WHERE business_id IS NOT NULL "
                "ORDER BY calls_missed DESC LIMIT 1"
            )
            (business,) = found.fetchone() or ("",)
        settings = database.settings()
        Sampler(database.engine, settings).look(now)
        with serving_app(build_app(database.engine, settings, access_of(settings, "127.0.0.1"))) as port:
            pages = {"/": "/", "a business' page": f"/businesses/{business}"}
            return [
                line for name, path in pages.items() for line in _page(database.engine, name, path, f"127.0.0.1:{port}")
            ]


def _fill(database: Database, scale: float, now: datetime) -> None:
    rows, businesses = int(ROWS * scale), int(BUSINESSES * scale)
    first = now.date() - timedelta(days=DAYS - 1)
    fill_days(database, rows=rows, days=DAYS, businesses=businesses, first=first)
    database.run("VACUUM ANALYZE")
    days = DayRange(now.date() - timedelta(days=1), now.date())
    for name in METRICS:
        roll_up(
            database.engine,
            METRICS[name],
            days,
            zone=ZONE,
            settle_days=4,
            shared_senders=[SHARED],
            customer_secret=CUSTOMER_SECRET,
        )
    database.run("VACUUM ANALYZE")


def _page(engine: Engine, name: str, path: str, host: str) -> list[Line]:
    first_byte, asked, sizes = [], [], []
    with requests.Session() as client:
        client.headers["accept-encoding"] = "gzip"

        def sent(path: str) -> tuple[float, bytes]:
            begun = time.perf_counter()
            with client.get(f"http://{host}{path}", stream=True, timeout=60) as answer:
                answer.raise_for_status()
                return time.perf_counter() - begun, answer.raw.read(decode_content=False)

        _, body = sent(path)
        for _ in range(RUNS):
            with _statements(engine) as took:
                until, body = sent(path)
            first_byte.append(until)
            asked.append(sum(took))
            sizes.append(len(body))
        assets = sum(len(sent(asset)[1]) for asset in dict.fromkeys(_ASSET.findall(gzip.decompress(body).decode())))
    until, statements = statistics.median(first_byte), statistics.median(asked)
    ratio = f"{until * 1000:.0f} ms = {until / statements:.1f} × its statements ({statements * 1000:.0f} ms)"
    return [
        Line(f"{name}: first byte", ratio, "5 ×"),
        Line(f"{name}: over the wire, and its assets", f"{max(sizes) / 1e3:.0f} KB + {assets / 1e3:.0f} KB", "200 KB"),
    ]


@contextmanager
def _statements(engine: Engine) -> Iterator[list[float]]:
    """Give the seconds of each statement that is run meanwhile."""
    took: list[float] = []

    def before(_connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
        context.begun = time.perf_counter()

    def after(_connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
        took.append(time.perf_counter() - context.begun)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    try:
        yield took
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)
