"""Faults, planted into the past to see how many of them are found. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS
from smarttext_pipelines.anomalies.series_reader import Series
from smarttext_pipelines.anomalies.tails import Floats

_EVERY = 45
_LEAST = 3.0
_FLOWS = (
    "messages_sent",
    "sms_success_count",
    "sms_failure_count",
    "calls_total",
    "calls_missed",
    "missed_calls_replied",
    "missed_calls_unreplied",
    "messages_received",
    "openai_requests",
    "openai_tokens_used",
    "openai_cost_estimate",
)
"""What stops with a business, and doubles with it."""


@dataclass(frozen=True)
class Fault:
    """A planted fault: of which business, from which row up to before which, and in which series it can be seen."""

    kind: str
    business: int
    first: int
    end: int
    series: tuple[str, ...]
    side: int


def plant(rng: np.random.Generator, calm: Series) -> tuple[Series, list[Fault]]:
    """Return the past with a fault every 45 days in every business; one that moves fewer than three events is none."""
    cells = {name: matrix.copy() for name, matrix in calm.cells.items()}
    faults = []
    for business in range(len(calm.businesses)):
        for day in range(60 + int(rng.integers(0, 20)), len(calm.days) - 30, _EVERY):
            kind = str(rng.choice(list(PLANTS)))
            fault = PLANTS[kind](rng, cells, business, day)
            part = SERIES_KINDS[fault.series[0]].part
            days = slice(fault.first, fault.end)
            moved = abs(np.nansum(cells[part][days, business] - calm.cells[part][days, business]))
            if moved >= (1.0 if SERIES_KINDS[fault.series[0]].is_money else _LEAST):
                faults.append(fault)
    return replace(calm, cells=cells), faults


Cells = Mapping[str, Floats]


def _fail(rng: np.random.Generator, cells: Cells, business: int, day: int, share: float) -> None:
    left = cells["sms_success_count"][day, business]
    if np.isnan(left):
        return
    more = rng.binomial(int(left), share)
    cells["sms_failure_count"][day, business] += more
    cells["sms_success_count"][day, business] -= more


def _wave(rng: np.random.Generator, cells: Cells, business: int, day: int) -> Fault:
    end, share = day + int(rng.integers(1, 4)), rng.uniform(0.25, 0.7)
    for each in range(day, end):
        _fail(rng, cells, business, each, share)
    return Fault("failure wave", business, day, end, ("texts_failed",), 1)


def _silence(rng: np.random.Generator, cells: Cells, business: int, day: int) -> Fault:
    end = day + int(rng.integers(1, 5))
    for name in _FLOWS:
        cells[name][day:end, business] *= 0
    return Fault("silence", business, day, end, ("texts_sent", "calls", "openai_requests"), -1)


def _doubling(rng: np.random.Generator, cells: Cells, business: int, day: int) -> Fault:
    end, factor = day + int(rng.integers(2, 8)), 1 + rng.uniform(1, 1.5)
    for name in _FLOWS:
        more = cells[name][day:end, business] * factor
        cells[name][day:end, business] = more if name == "openai_cost_estimate" else np.round(more)
    return Fault("doubling", business, day, end, ("texts_sent", "calls", "openai_requests"), 1)


def _spend(rng: np.random.Generator, cells: Cells, business: int, day: int) -> Fault:
    end = day + int(rng.integers(1, 3))
    cells["openai_cost_estimate"][day:end, business] *= rng.uniform(3, 8)
    return Fault("spend spike", business, day, end, ("openai_cost",), 1)


def _drift(rng: np.random.Generator, cells: Cells, business: int, day: int) -> Fault:
    of_cost, end = rng.random() < 0.5, day + 24
    top = rng.uniform(1, 2) if of_cost else rng.uniform(0.15, 0.35)
    for n in range(24):
        grown = top * min((n + 1) / 14, 1)
        if of_cost:
            cells["openai_cost_estimate"][day + n, business] *= 1 + grown
        else:
            _fail(rng, cells, business, day + n, grown)
    return Fault("slow drift", business, day, end, ("openai_cost" if of_cost else "texts_failed",), 1)


PLANTS: Mapping[str, Callable[[np.random.Generator, Cells, int, int], Fault]] = {
    "failure wave": _wave,
    "silence": _silence,
    "doubling": _doubling,
    "spend spike": _spend,
    "slow drift": _drift,
}
"""By name: changes the cells of a business from a day on."""
