"""Generated numbers of many days, written as a rollup would have written them."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from smarttext_pipelines.anomalies.series_kinds import COLUMNS
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.rolled_up_days import RECORDED_TABLES
from smarttext_pipelines_tests.alerts import business_id
from smarttext_pipelines_tests.conftest import Database

LAST = date(2026, 3, 15)
"""The day before the noon of ``World``."""

DAYS = DayRange(LAST - timedelta(days=83), LAST)


def calm(businesses: int, days: DayRange = DAYS, mean: float = 30.0, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Return matrices of days × businesses by column, without any fault."""
    rng = np.random.default_rng(seed)
    shape = (len(days), businesses)
    sent, requests, calls = rng.poisson(mean, shape), rng.poisson(mean, shape), rng.poisson(mean, shape)
    failed = rng.binomial(sent, 0.02)
    missed = rng.binomial(calls, 0.5)
    unanswered = rng.binomial(missed, 0.03)
    cells = {
        "messages_sent": sent,
        "sms_failure_count": failed,
        "sms_success_count": sent - failed,
        "calls_total": calls,
        "calls_missed": missed,
        "missed_calls_unreplied": unanswered,
        "missed_calls_replied": missed - unanswered,
        "messages_received": rng.poisson(mean, shape),
        "openai_requests": requests,
        "openai_tokens_used": requests * 500,
        "openai_cost_estimate": requests * 0.25,
    }
    return {name: cells.get(name, np.zeros(shape)).astype(float) for name in COLUMNS}


def write(database: Database, cells: Mapping[str, np.ndarray[Any, Any]], days: DayRange = DAYS) -> None:
    """Write the numbers; a business without an event on a day has no row, and NaN is NULL."""
    names = ["business_id", "date", *COLUMNS, "data_through"]
    database.run("TRUNCATE public.daily_stats")
    with database.server.connect(database.name) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY public.daily_stats ({', '.join(names)}) FROM STDIN") as copy:
            for row, day in enumerate(days):
                for business in range(cells["messages_sent"].shape[1]):
                    values = [cells[name][row, business] for name in COLUMNS]
                    if any(value != 0 for value in values):
                        numbers = [None if np.isnan(v) else _number(n, v) for n, v in zip(COLUMNS, values, strict=True)]
                        copy.write_row([business_id(business + 1), day, *numbers, "2026-03-16 00:30+00"])
        cursor.execute(
            "INSERT INTO monitoring.rollup_days (table_name, row_day, rows, rolled_up_at, checked_at) "
            "SELECT name, d::date, 1, d + interval '30 hours', d + interval '30 hours' "
            "FROM unnest(%s::text[]) AS name, generate_series(%s::date, %s::date, interval '1 day') AS d "
            "ON CONFLICT DO NOTHING",
            [list(RECORDED_TABLES), days.first, days.last],
        )


def _number(name: str, value: float) -> Decimal | int:
    return round(Decimal(value), 6) if name == "openai_cost_estimate" else int(value)
