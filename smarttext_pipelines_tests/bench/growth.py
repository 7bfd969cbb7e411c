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

from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench import day
from smarttext_pipelines_tests.bench.tools import Line, reading, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

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
        day.fill(database, rows / 1_000_000)
        all_rows, size = _stored(database)
        # Reading comes first, so that every way finds the rows in memory.
        scan, hand = _cpu(database, lambda: _scan(database)), _cpu(database, lambda: day._by_hand(database))
        told: dict[str, float] = {}
        on_server = _cpu(database, lambda: told.update(_in_a_process(database)))
    ways = {"ours": told["cpu"] + on_server, "server": on_server, "hand": hand, "scan": scan}
    return {"rows": rows, **ways, **told, "bytes_per_row": size / all_rows, "stored_a_day": all_rows / _DAYS}


def _in_a_process(database: Database) -> dict[str, float]:
    """Compute the day in a process of its own; return what it said, of which ``roll_up_the_day`` says what it is."""
    command = [sys.executable, "-m", "smarttext_pipelines_tests.bench.growth", database.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


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
    """Print what the day takes: CPU of this process and time, in all and of each fact and stat, in s; peak MiB."""
    engine, begun, cpu = open_engine(url), time.perf_counter(), time.process_time()
    told = {f"wall of {name}": seconds(lambda n=name: day.roll_up_one(engine, n)) for name in METRICS}  # type: ignore[misc]
    told |= {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - begun}
    told["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told))  # noqa: T201


def draw(result: Path, picture: Path) -> None:
    """Draw CPU over rows, both logarithmic, with the exponents."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot as plt

    lines: list[dict[str, Any]] = json.loads(result.read_text())["lines"]
    points = [line["figures"] for line in lines if line["benchmark"] == "growth" and line["figures"]]
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for way, name in WAYS.items():
        label = f"{name}: rows^{exponent(points, way):.2f}"
        axes.loglog([p["rows"] for p in points], [p[way] for p in points], marker="o", label=label)
    axes.set(xlabel="rows of sms_events a day", ylabel="seconds of CPU")
    axes.grid(visible=True, which="both", alpha=0.2)
    figure.legend(loc="outside upper left", frameon=False)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) == 2:
        roll_up_the_day(sys.argv[1])
    else:
        draw(*map(Path, sys.argv[1:]))
