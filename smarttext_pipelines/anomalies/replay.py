"""A backtest: how many planted faults are found in the past, and how often nothing was wrong. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import numpy as np

from smarttext_pipelines.anomalies.episodes import QUIET_DAYS
from smarttext_pipelines.anomalies.planted_faults import PLANTS, Fault, plant
from smarttext_pipelines.anomalies.scoring import learning_days, score
from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS
from smarttext_pipelines.anomalies.series_reader import Series
from smarttext_pipelines.core.days import DayRange

FIRST_DAY = 42
"""Days of the past that are only learnt from."""

SIZES = ((0, 3), (3, 10), (10, 30), (30, 100), (100, 1_000_000))
"""Events of a business a day, by which figures are told apart."""

_MANY, _LATE = 10_000, 2


@dataclass
class Replay:
    """What a backtest found.

    Attributes:
        hits: Each planted fault, events of its business a day, and the day of it on which it was found, from one; None
            where it was not.
        false: Episodes without a planted fault, by series and size.
        years: Years of series that were looked at, by series and size.
    """

    hits: list[tuple[Fault, float, int | None]] = field(default_factory=list)
    false: dict[tuple[str, int], float] = field(default_factory=lambda: defaultdict(float))
    years: dict[tuple[str, int], float] = field(default_factory=lambda: defaultdict(float))

    def recall(self, kind: str | None = None, size: int | None = None) -> float | None:
        """Return the share of planted faults that were found, of a kind and size or of all; None where none was."""
        days = self._days(kind, size)
        return sum(day is not None for day in days) / len(days) if days else None

    def day_found(self, kind: str | None = None, size: int | None = None) -> float | None:
        """Return the mean day of a fault, from one, on which it was found; None where none was."""
        found = [day for day in self._days(kind, size) if day is not None]
        return sum(found) / len(found) if found else None

    def _days(self, kind: str | None, size: int | None) -> list[int | None]:
        return [
            day for fault, events, day in self.hits if kind in (None, fault.kind) and size in (None, size_of(events))
        ]

    def false_a_year(self, metric: str | None = None, size: int | None = None) -> float | None:
        """Return episodes without a planted fault, a series and year."""
        keys = [key for key in self.years if metric in (None, key[0]) and size in (None, key[1])]
        years = sum(self.years[key] for key in keys)
        return sum(self.false[key] for key in keys) / years if years else None

    def found_rows(self) -> list[dict[str, object]]:
        """Return a row for each kind of fault: the share found by size, and the mean day of the fault that was."""
        rows: list[dict[str, object]] = []
        for kind in (*PLANTS, None):
            when = self.day_found(kind)
            on = {"on day": "–" if when is None else f"{when:.1f}"}
            rows.append({"fault": kind or "together", **_by_size(partial(self.recall, kind)), **on})
        return rows

    def false_rows(self) -> list[dict[str, object]]:
        """Return a row for each series, with what was told without a planted fault by size."""
        metrics = [*(name for name in SERIES_KINDS if any(key[0] == name for key in self.years)), None]
        return [{"series": name or "together", **_by_size(partial(self.false_a_year, name))} for name in metrics]

    def as_json(self) -> dict[str, object]:
        """Return both tables."""
        return {"found": self.found_rows(), "false_a_year": self.false_rows()}


def _by_size(read: Callable[[int | None], float | None]) -> dict[str, str]:
    labels = [f"{low}–{high}" if high < _MANY else f"over {low}" for low, high in SIZES]
    cells = {label: read(n) for n, label in enumerate(labels)} | {"all": read(None)}
    return {label: "–" if value is None else f"{value:.2f}" for label, value in cells.items()}


def size_of(events: float) -> int:
    """Return which of ``SIZES`` a number of events a day belongs to."""
    return next(n for n, (low, high) in enumerate(SIZES) if low <= events < high)


def replay(series: Series, seed: int = 1) -> Replay:
    """Return what the model finds of faults planted into a past, and what it tells of that past as it is.

    Args:
        series: The past; incidents that happened in it count as false, so these figures are upper bounds.
        seed: Of the faults.
    """
    rng = np.random.default_rng(seed)
    events = np.nan_to_num(series.cells["messages_sent"] + series.cells["calls_total"])[:, :-1].mean(axis=0)
    world, faults = plant(rng, series)
    result = Replay()
    for metric, business, rows in _episodes(flags_of(series)):
        result.false[metric, size_of(events[business])] += len(rows)
    years = (len(series.days) - FIRST_DAY) / 365
    for kind in SERIES_KINDS.values():
        happened = np.nan_to_num(series.cells[kind.part][FIRST_DAY:, :-1]).sum(axis=0) > 0
        for size in (size_of(each) for each in events[happened]):
            result.years[kind.name, size] += years
    seen = flags_of(world)
    for fault in faults:
        told = [row for name in fault.series for row in seen.get((name, fault.business, fault.side), ())]
        within = [row - fault.first + 1 for row in told if fault.first <= row < fault.end + _LATE]
        result.hits.append((fault, float(events[fault.business]), min(within, default=None)))
    return result


def flags_of(series: Series) -> Mapping[tuple[str, int, int], list[int]]:
    """Return the rows on which a series of a business is unusual, by metric, business and side."""
    place: dict[UUID | None, int] = {business: n for n, business in enumerate(series.businesses)}
    result: dict[tuple[str, int, int], list[int]] = {}
    first = series.days.first + timedelta(days=FIRST_DAY)
    day = first
    while day <= series.days.last:
        until = min((day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1), series.days.last)
        learnt = learning_days(until)
        for found in score(_part(series, learnt), DayRange(day, until)).values():
            for each in found.found:
                if each.business_id is not None:
                    row = (each.day - series.days.first).days
                    result.setdefault((each.metric, place[each.business_id], each.side), []).append(row)
        day = until + timedelta(days=1)
    return result


def _part(series: Series, days: DayRange) -> Series:
    first = max(days.first, series.days.first)
    rows = slice((first - series.days.first).days, (days.last - series.days.first).days + 1)
    return replace(
        series,
        days=DayRange(first, days.last),
        cells={name: matrix[rows] for name, matrix in series.cells.items()},
    )


def _episodes(flags: Mapping[tuple[str, int, int], list[int]]) -> Iterator[tuple[str, int, list[int]]]:
    """Yield metric, business, and the rows at which episodes begin."""
    for (metric, business, _), rows in flags.items():
        ordered = sorted(rows)
        begins = [row for n, row in enumerate(ordered) if not n or row - ordered[n - 1] > QUIET_DAYS + 1]
        yield metric, business, begins
