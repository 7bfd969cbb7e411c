"""Whole commands, from the start of the process to its end: every answer about one thing, the digest and lists."""

import os
import subprocess
import sys
from datetime import date
from zoneinfo import ZoneInfo

from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.day import fill_days
from smarttext_pipelines_tests.bench.tools import Line, alternate, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

DAY, DAYS, ROWS, BUSINESSES, RUNS = "2026-06-15", 9, 70_000, 10_000, 7
_CALL = f"""
    SELECT c.call_sid, c.business_id::text, c.from_number FROM public.call_events AS c
    WHERE c.event_type = 'voice.missed' AND c.business_id IS NOT NULL AND c.ts >= '{DAY}' AND c.ts < '{DAY}'::date + 1
    ORDER BY EXISTS (SELECT FROM public.sms_events AS s WHERE s.to_number = c.from_number) DESC, c.ts LIMIT 1
"""
_TEXT = f"""
    SELECT message_sid FROM public.sms_events
    WHERE message_sid LIKE 'SM%' AND created_at >= '{DAY}' AND created_at < '{DAY}'::date + 1 ORDER BY id LIMIT 1
"""
_INCIDENT = f"""
    INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, fired_at, evaluated_at,
                                      window_start, window_end, window_minutes, part, whole)
    VALUES ('sms_failure_rate', 'business:' || %(business)s, CAST(%(business)s AS uuid), 'firing', 'warning',
            '{DAY} 12:00+00', '{DAY} 12:00+00', '{DAY} 12:00+00', '{DAY} 11:00+00', '{DAY} 12:00+00', 60, 1, 2)
"""


def measure(server: Server, scale: float) -> list[Line]:
    """Return how long the commands take over 10,000 businesses and a million rows, and the ratios."""
    rows, businesses = int(ROWS * scale), int(BUSINESSES * scale)
    with fresh_database(server) as database:
        migrate(database.engine, ZoneInfo("UTC"))
        first = date(2026, 6, 11)
        fill_days(database, rows=rows, days=DAYS, businesses=businesses, first=first)
        database.run("VACUUM ANALYZE")
        with database.server.connect(database.name) as connection:
            call, business, number = connection.execute(_CALL).fetchone() or ("", "", "")
            (message,) = connection.execute(_TEXT).fetchone() or ("",)
            connection.execute(_INCIDENT, {"business": business})
        of_day = ("--business", business, "--date", DAY)
        commands = {
            "stats --business B": ("stats", *of_day),
            "explain CA…": ("explain", call),
            "explain SM…": ("explain", message),
            "explain +1555…": ("explain", number),
            "explain calls_missed --business B": ("explain", "calls_missed", *of_day),
            "alerts show": ("alerts", "show", "1"),
            "alerts list": ("alerts", "list"),
            "digest": ("digest", "--date", DAY),
        }
        stats, *others = alternate(*(lambda c=c: _seconds(database, c) for c in commands.values()), runs=RUNS)  # type: ignore[misc]
    return [
        Line("stats --business B", f"{stats:.2f} s"),
        *(
            Line(name, f"{taken:.2f} s = {taken / stats:.2f} ×", "2 ×")
            for name, taken in zip(list(commands)[1:], others, strict=True)
        ),
    ]


def _seconds(database: Database, command: tuple[str, ...]) -> float:
    told = {"SMARTTEXT_DATABASE_URL": database.url, "SMARTTEXT_REPORTING_TIMEZONE": "UTC"}
    # As installed: without the bytecode, most of the time is that of compiling Python.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | told
    line = [sys.executable, "-m", "smarttext_pipelines.cli", *command]
    # Exit code 3: the day was not rolled up, which changes nothing of what is read.
    return seconds(lambda: subprocess.run(line, env=env, capture_output=True, check=False))
