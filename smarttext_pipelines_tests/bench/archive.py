"""Archiving a large day: how fast rows are read, how much memory that takes, and how long an insert waits meanwhile."""

import subprocess
import sys
import tempfile
import threading
from datetime import date
from zoneinfo import ZoneInfo

from smarttext_pipelines.archive.columns import read_shape
from smarttext_pipelines.archive.files import verify_file, write_day
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.database.connect import connected, open_engine
from smarttext_pipelines.retention.protocol import SEGMENT_ROWS, archive_rows
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.inserts import longest_insert_ms
from smarttext_pipelines_tests.bench.tools import Line, alternate, peak_mib, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

DAY, SMALL_DAY = date(2026, 1, 1), date(2026, 1, 2)
TABLE = "sms_events"
_FILL = """
INSERT INTO public.sms_events (message_sid, from_number, to_number, business_id, status, request_id, body_length,
                               created_at, payload)
SELECT 'SM' || md5(n::text), '+1' || (2005550000 + n %% 400), '+1' || (3005550000 + n),
       CASE WHEN n %% 2 = 0 THEN md5((n %% 200)::text)::uuid END, 'queued', 'req_' || substr(md5('r' || n), 1, 16),
       80 + n %% 60, %s::timestamptz + n * interval '1 day' / %s,
       CASE WHEN n %% 2 = 0 THEN jsonb_build_object('sid', 'SM' || md5(n::text), 'num_segments', '1') ELSE '{}' END
FROM generate_series(0, %s - 1) AS n
"""
_BUSINESSES = (
    "INSERT INTO public.businesses (id, name) SELECT md5(n::text)::uuid, n::text FROM generate_series(0, 199) AS n"
)


def measure(server: Server, scale: float) -> list[Line]:
    """Return the ratio to COPY, the memory of a small and a large day, and the longest wait of an insert."""
    rows = max(10_000, int(1_000_000 * scale))
    with fresh_database(server) as database, tempfile.TemporaryDirectory(prefix="smarttext-bench-") as folder:
        migrate(database.engine, ZoneInfo("UTC"))
        database.run(_BUSINESSES)
        database.run(_FILL, f"{DAY} 00:00:00+00", rows, rows)
        database.run(_FILL, f"{SMALL_DAY} 00:00:00+00", rows // 8, rows // 8)
        database.run("VACUUM ANALYZE public.sms_events")
        target = ArchiveTarget(folder)
        copy, read, verified = alternate(
            lambda: _copy(database), lambda: _write(database, target), lambda: _verify(database, target), runs=7
        )
        small, large = (_peak_mib(database, folder, day) for day in (SMALL_DAY, DAY))
        calm = longest_insert_ms(database, lambda: threading.Event().wait(5))
        busy = longest_insert_ms(database, lambda: _archive(database, target))
    speeds = ", ".join(f"{rows / taken:,.0f}" for taken in (copy, read, verified))
    waits = f"longest insert: nothing else, while segments of {SEGMENT_ROWS:,} go"
    return [
        Line(f"{rows:,} rows into Parquet, against COPY TO '/dev/null'", f"{copy / read:.2f} of its rows/s", "0.4"),
        Line("rows/s: COPY, into Parquet, read back", speeds),
        Line(f"peak memory: {rows // 8:,} rows, {rows:,} rows", f"{small:.0f} MiB, {large:.0f} MiB", "no growth"),
        Line(waits, f"{calm:.0f} ms, {busy:.0f} ms", "100 ms more"),
    ]


def _copy(database: Database) -> float:
    begun = f"COPY (SELECT * FROM public.sms_events WHERE created_at < '{SMALL_DAY} 00:00:00+00')"
    return seconds(lambda: database.run(f"{begun} TO '/dev/null' (FORMAT binary)"))


def _write(database: Database, target: ArchiveTarget, day: date = DAY) -> float:
    with connected(database.engine) as connection:
        shape = read_shape(connection, TABLE)
    path = target.temporary(TABLE, "bench")
    return seconds(lambda: write_day(target, path, database.engine.url, shape, day, 10**9, lambda _step: None))


def _verify(database: Database, target: ArchiveTarget) -> float:
    with connected(database.engine) as connection:
        shape = read_shape(connection, TABLE)
    path = target.temporary(TABLE, "bench")
    written = write_day(target, path, database.engine.url, shape, DAY, SEGMENT_ROWS, lambda _step: None)
    return seconds(lambda: verify_file(path, written)) * _rows(database) / written.rows


def _rows(database: Database) -> int:
    return int(
        database.rows(f"SELECT count(*) FROM public.sms_events WHERE created_at < '{SMALL_DAY} 00:00:00+00'")[0][
            "count"
        ]
    )


def _peak_mib(database: Database, folder: str, day: date) -> float:
    """Return the peak memory of a process of its own that reads a whole day into one file."""
    arguments = [sys.executable, "-m", "smarttext_pipelines_tests.bench.archive", database.url, folder, day.isoformat()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _archive(database: Database, target: ArchiveTarget) -> None:
    with locked_day(database.engine, TABLE, DAY) as connection:
        for _ in archive_rows(connection, target, TABLE, DAY, waiting=None, deletes=True, max_rows=10**9):
            pass


if __name__ == "__main__":
    url, folder, day = sys.argv[1:]
    engine = open_engine(url)
    place = ArchiveTarget(folder)
    with connected(engine) as opened:
        columns = read_shape(opened, TABLE)
    write_day(
        place, place.temporary(TABLE, "bench"), engine.url, columns, date.fromisoformat(day), 10**9, lambda _s: None
    )
    print(peak_mib())  # noqa: T201
