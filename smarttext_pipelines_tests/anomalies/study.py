"""How much the model finds, and how often it is wrong, on generated businesses: ``python -m …anomalies.study``."""

import sys
from datetime import date, timedelta
from uuid import UUID

import numpy as np

from smarttext_pipelines.anomalies.replay import Replay, replay
from smarttext_pipelines.anomalies.series_kinds import COLUMNS
from smarttext_pipelines.anomalies.series_reader import Series
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines_tests.anomalies.generated import Generated, generate

DAYS = 196
FIRST = date(2026, 1, 5)


def series_of(world: Generated, first: date = FIRST) -> Series:
    """Return generated businesses as they would be read from ``daily_stats``."""
    days, businesses = world.texts.shape
    parts = {
        "messages_sent": world.texts,
        "sms_failure_count": world.failed,
        "sms_success_count": world.texts - world.failed,
        "openai_requests": world.requests,
        "openai_cost_estimate": world.cost,
    }
    cells = {name: parts.get(name, np.zeros((days, businesses))) for name in COLUMNS}
    ids = tuple(UUID(int=n + 1) for n in range(businesses))
    span = DayRange(first, first + timedelta(days=days - 1))
    return Series(span, ids, {name: np.column_stack([part, part.sum(axis=1)]) for name, part in cells.items()})


def run(businesses: int, *, heavy: bool, seed: int = 1) -> Replay:
    """Return the backtest of generated businesses."""
    return replay(series_of(generate(np.random.default_rng(seed), businesses, DAYS, heavy=heavy)), seed)


if __name__ == "__main__":
    for heavy in (False, True):
        found = run(int(sys.argv[1]) if len(sys.argv) > 1 else 300, heavy=heavy)
        print("heavy tails" if heavy else "negative binomial", found.recall(), found.false_a_year())  # noqa: T201
        for row in (*found.found_rows(), *found.false_rows()):
            print("|", " | ".join(str(cell) for cell in row.values()), "|")  # noqa: T201
