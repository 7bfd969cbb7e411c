"""What a day costs as it grows, 10,000 to a million rows: CPU and its exponent, memory of the process, bytes kept.

CPU is that of the process and of the whole server, so that what else the machine does matters little.

``python -m smarttext_pipelines_tests.bench.growth RESULT.json PICTURE`` draws what ``make bench --json`` wrote.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.rollup import roll_up
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench import day
from smarttext_pipelines_tests.bench.tools import SHARED, Line, reading
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
MOST_EXPONENT, MOST_MIB = 1.05, 400
_DAYS = 2 * day.SETTLE_DAYS + 1
WAYS = {
    "ours": "a day of all facts and stats, with the process that does it",
    "server": "the same, the server alone",
    "hand": "sms_outcomes by hand-written SQL",
    "scan": "reading the rows",
}
_OTHERS = (
    "SELECT count(*) AS n FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_TABLES = ("sms_events", "call_events", "api_usage", "owner_alerts")


def measure(server: Server, scale: float) -> list[Line]:
    """Return a line for each size up to a million times ``scale``, and how fast each way grows."""
    points = [_at(server, rows) for rows in SIZES if rows <= 1_000_000 * scale]
    lines = [
        Line(
            f"a day of {int(point['rows']):,} rows of sms_events: all facts and stats",
            f"{point['ours']:.2f} s of CPU (server {point['server']:.2f} s), {point['mib']:.0f} MiB; "
            f"by hand {point['hand']:.2f} s, read {point['scan']:.2f} s",
            f"{MOST_MIB} MiB",
            point,
        )
        for point in points
    ]
    if len(points) > 1:
        lines += [
            Line(
                f"exponent of {WAYS[way]}",
                f"{exponent(points, way):.2f}",
                str(MOST_EXPONENT) if way == "server" else "",
            )
            for way in WAYS
        ]
    return lines


def exponent(points: list[dict[str, float]], way: str) -> float:
    """Return the slope of CPU over rows, both as logarithms: 1 where twice the rows take twice as long."""
    slope, _ = np.polyfit(np.log([p["rows"] for p in points]), np.log([p[way] for p in points]), 1)
    return float(slope)


def _at(server: Server, rows: int) -> dict[str, float]:
    with fresh_database(server) as database:
        migrate(database.engine, day.ZONE)
        # No budget is counted: a row of it that changes a thousand times in one transaction takes longer than all else.
        database.run("ALTER TABLE public.api_usage DISABLE TRIGGER USER")
        day._fill(database, rows / 1_000_000)
        all_rows, size = _stored(database)
        # Reading comes first, so that every way finds the rows in memory.
        scan, hand = _cpu(database, lambda: _scan(database)), _cpu(database, lambda: day._by_hand(database))
        told: list[float] = []
        on_server = _cpu(database, lambda: told.extend(_in_a_process(database)))
    ours, wall, mib = told[0] + on_server, told[1], told[2]
    figures = {"ours": ours, "hand": hand, "scan": scan, "server": on_server, "wall": wall, "mib": mib}
    return {"rows": rows, **figures, "bytes_per_row": size / all_rows, "rows_stored": all_rows / _DAYS}


def _in_a_process(database: Database) -> list[float]:
    command = [sys.executable, "-m", "smarttext_pipelines_tests.bench.growth", database.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(figure) for figure in done.stdout.split()]


def _cpu(database: Database, action: Callable[[], object]) -> float:
    """Return the CPU seconds of the whole server while something is done, with all that is written behind it."""
    begun = _server_cpu(database)
    action()
    return _server_cpu(database) - begun


def _server_cpu(database: Database) -> float:
    # What a session took is its own until it has ended, and its parent's then: while it ends it may be nobody's.
    while database.rows(_OTHERS)[0]["n"]:
        time.sleep(0.05)
    (row,) = database.rows("SHOW data_directory")
    postmaster = int((Path(row["data_directory"]) / "postmaster.pid").read_text().split()[0])
    ticks = sum(_fields(postmaster)[11:15])  # its own and those of children that have ended
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and _fields(int(entry.name))[1] == postmaster:
                ticks += sum(_fields(int(entry.name))[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def _fields(pid: int) -> list[int]:
    """Return what ``/proc`` tells of a process, from its state on, which is 0 here."""
    return [0, *map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1:])]


def _scan(database: Database) -> None:
    """Read every row of the window and look at the columns that are counted."""
    window = day.WINDOW.days.widen(day.SETTLE_DAYS)
    read = (
        "SELECT count(*), count(message_sid), count(status), count(business_id), count(to_number)"
        f" FROM public.sms_events WHERE created_at >= '{window.first}' AND created_at < '{window.last}'::date + 1"
    )
    with reading(database.engine, day.WINDOW) as (connection, _):
        connection.exec_driver_sql(read).fetchone()


def _stored(database: Database) -> tuple[int, int]:
    """Return how many events there are, and their bytes with all indexes."""
    counts = " + ".join(f"(SELECT count(*) FROM public.{table})" for table in _TABLES)
    sizes = " + ".join(f"pg_total_relation_size('public.{table}')" for table in _TABLES)
    (row,) = database.rows(f"SELECT {counts} AS n, {sizes} AS bytes")
    return row["n"], row["bytes"]


def roll_up_the_day(url: str) -> None:
    """Print what all facts and stats of the day take: CPU and time, both in s, and the peak memory in MiB."""
    engine, begun, cpu = open_engine(url), time.perf_counter(), time.process_time()
    for metric in METRICS.values():
        roll_up(
            engine,
            metric,
            DayRange(day.DAY, day.DAY),
            zone=day.ZONE,
            settle_days=day.SETTLE_DAYS,
            shared_senders=[SHARED],
            customer_secret=CUSTOMER_SECRET,
        )
    taken = time.process_time() - cpu, time.perf_counter() - begun
    print(*taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # noqa: T201


def draw(result: Path, picture: Path) -> None:
    """Draw CPU over rows, both logarithmic, with the exponents."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot as plt

    lines: list[dict[str, Any]] = json.loads(result.read_text())["lines"]
    points = [line["figures"] for line in lines if line["benchmark"] == "growth" and line["figures"]]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for way, name in WAYS.items():
        label = f"{name}: rows^{exponent(points, way):.2f}"
        axes.loglog([p["rows"] for p in points], [p[way] for p in points], marker="o", label=label)
    axes.set(xlabel="rows of sms_events a day", ylabel="seconds of CPU")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(frameon=False)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) == 2:
        roll_up_the_day(sys.argv[1])
    else:
        draw(*map(Path, sys.argv[1:]))
