"""Whole commands, from the start of the process to its end: `explain` of a call and of a column, against `stats`."""

import os
import subprocess
import sys
from zoneinfo import ZoneInfo

from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.tools import SHARED, Line, alternate, read_sql, run_sql, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

DAY, DAYS, ROWS, BUSINESSES, RUNS = "2026-06-15", 9, 70_000, 10_000, 7
_CALL = f"""
    SELECT c.call_sid, c.business_id::text FROM public.call_events AS c
    WHERE c.event_type = 'voice.missed' AND c.business_id IS NOT NULL AND c.ts >= '{DAY}' AND c.ts < '{DAY}'::date + 1
    ORDER BY EXISTS (SELECT FROM public.sms_events AS s WHERE s.to_number = c.from_number) DESC, c.ts LIMIT 1
"""


def measure(server: Server, scale: float) -> list[Line]:
    """Return how long the commands take over 10,000 businesses and a million rows, and the ratios."""
    rows, businesses = int(ROWS * scale), int(BUSINESSES * scale)
    with fresh_database(server) as database:
        migrate(database.engine, ZoneInfo("UTC"))
        first = "2026-06-11"
        run_sql(
            database, read_sql("day_data.sql", rows=rows, days=DAYS, businesses=businesses, shared=SHARED, first=first)
        )
        database.run("VACUUM ANALYZE")
        with database.server.connect(database.name) as connection:
            call, business = connection.execute(_CALL).fetchone() or ("", "")
        of_day = ("--business", business, "--date", DAY)
        commands = (("stats", *of_day), ("explain", call), ("explain", "calls_missed", *of_day))
        stats, *others = alternate(*(lambda c=c: _seconds(database, c) for c in commands), runs=RUNS)  # type: ignore[misc]
    return [
        Line("stats --business B", f"{stats:.2f} s"),
        *(
            Line(name, f"{taken:.2f} s = {taken / stats:.2f} ×", "2 ×")
            for name, taken in zip(("explain CA…", "explain calls_missed --business B"), others, strict=True)
        ),
    ]


def _seconds(database: Database, command: tuple[str, ...]) -> float:
    told = {"SMARTTEXT_DATABASE_URL": database.url, "SMARTTEXT_REPORTING_TIMEZONE": "UTC"}
    # As installed: without the bytecode, most of the time is that of compiling Python.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | told
    line = [sys.executable, "-m", "smarttext_pipelines.cli", *command]
    # Exit code 3: the day was not rolled up, which changes nothing of what is read.
    return seconds(lambda: subprocess.run(line, env=env, capture_output=True, check=False))
