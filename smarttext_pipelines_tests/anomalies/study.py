"""How much the model finds, and how often it is wrong, on generated businesses: ``python -m …anomalies.study``."""

import sys
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smarttext_pipelines.anomalies.judging import unusual
from smarttext_pipelines.anomalies.learning import Learner
from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS, SeriesKind
from smarttext_pipelines_tests.anomalies.generated import Floats, Generated, generate

KINDS = {"texts": "texts_sent", "failed": "texts_failed", "requests": "openai_requests", "cost": "openai_cost"}
DAYS, FIRST_DAY, GAP = 196, 42, 3
SIZES = ((1, 3), (3, 10), (10, 30), (30, 100), (100, 600))


@dataclass
class Fault:
    business: int
    first: int
    end: int
    kind: str
    series: tuple[str, ...]
    side: int


def signs(kind: SeriesKind, part: Floats, whole: Floats | None) -> Floats:
    """Return 1 or −1 where a day is unusual."""
    days, businesses = part.shape
    learner = Learner(kind.shape, kind.two_sided, businesses, 0)
    found, nobody = np.zeros((days, businesses)), np.zeros(businesses, bool)
    for day in range(days):
        age = learner.age
        scored = learner.step(part[day], None if whole is None else whole[day], day % 7)
        least = 1.0 if kind.is_money else 3.0
        flags = unusual(kind, scored, age, least=least, threshold=kind.threshold, is_platform=nobody)
        found[day] = flags * scored.side
    return found


def signs_of(world: Generated) -> dict[str, Floats]:
    wholes = {"failed": world.texts, "cost": world.requests}
    return {name: signs(SERIES_KINDS[kind], getattr(world, name), wholes.get(name)) for name, kind in KINDS.items()}


def episodes(flags: NDArray[np.bool_]) -> int:
    left, count = np.zeros(flags.shape[1], int), 0
    for day in flags:
        count += int((day & (left <= 0)).sum())
        left = np.where(day, GAP + 1, left - 1)
    return count


def plant(rng: np.random.Generator, calm: Generated) -> tuple[Generated, list[Fault]]:
    """Plant a fault every 45 days into every business; one that moves fewer than three events is none."""
    world, faults = deepcopy(calm), []
    for business in range(len(calm.size)):
        for day in range(60 + int(rng.integers(0, 20)), DAYS - 30, 45):
            name = str(rng.choice(list(_PLANT)))
            fault = _PLANT[name](rng, world, business, day)
            series = fault.series[0]
            days = slice(fault.first, fault.end)
            moved = abs((getattr(world, series)[days, business] - getattr(calm, series)[days, business]).sum())
            if moved >= (1 if series == "cost" else 3):
                faults.append(fault)
    return world, faults


def _fail(rng: np.random.Generator, world: Generated, business: int, day: int, share: float) -> None:
    left = int(world.texts[day, business] - world.failed[day, business])
    world.failed[day, business] += rng.binomial(left, share)


def _wave(rng: np.random.Generator, world: Generated, business: int, day: int) -> Fault:
    end, share = day + int(rng.integers(1, 4)), rng.uniform(0.25, 0.7)
    for each in range(day, end):
        _fail(rng, world, business, each, share)
    return Fault(business, day, end, "wave", ("failed",), 1)


def _silence(rng: np.random.Generator, world: Generated, business: int, day: int) -> Fault:
    end = day + int(rng.integers(1, 5))
    for series in KINDS:
        getattr(world, series)[day:end, business] = 0
    return Fault(business, day, end, "silence", ("texts", "requests"), -1)


def _doubling(rng: np.random.Generator, world: Generated, business: int, day: int) -> Fault:
    end, more = day + int(rng.integers(2, 8)), rng.uniform(1, 1.5)
    days = slice(day, end)
    before = np.maximum(world.requests[days, business], 1)
    for series in ("texts", "requests"):
        part = getattr(world, series)
        part[days, business] += rng.poisson(part[days, business] * more)
    world.failed[days, business] *= 2
    world.failed[days, business] = np.minimum(world.failed[days, business], world.texts[days, business])
    world.cost[days, business] *= world.requests[days, business] / before
    return Fault(business, day, end, "doubling", ("texts", "requests"), 1)


def _spend(rng: np.random.Generator, world: Generated, business: int, day: int) -> Fault:
    end = day + int(rng.integers(1, 3))
    world.cost[day:end, business] *= rng.uniform(3, 8)
    return Fault(business, day, end, "spend spike", ("cost",), 1)


def _drift(rng: np.random.Generator, world: Generated, business: int, day: int) -> Fault:
    of_cost, end = rng.random() < 0.5, day + 24
    top = rng.uniform(1, 2) if of_cost else rng.uniform(0.15, 0.35)
    for n in range(24):
        grown = top * min((n + 1) / 14, 1)
        if of_cost:
            world.cost[day + n, business] *= 1 + grown
        else:
            _fail(rng, world, business, day + n, grown)
    return Fault(business, day, end, "slow drift", ("cost" if of_cost else "failed",), 1)


_PLANT = {"wave": _wave, "silence": _silence, "doubling": _doubling, "spend spike": _spend, "slow drift": _drift}


@dataclass
class Outcome:
    """False alarms a business and year by series, and found of planted by kind and size."""

    false: dict[str, float]
    found: list[tuple[Fault, float, bool]]

    def recall(self, kind: str = "", sizes: tuple[int, int] = (0, 10_000)) -> float:
        hits = [hit for f, size, hit in self.found if f.kind.startswith(kind) and sizes[0] <= size < sizes[1]]
        return sum(hits) / max(len(hits), 1)


def run(businesses: int, *, heavy: bool, seed: int = 1) -> Outcome:
    rng = np.random.default_rng(seed)
    calm = generate(rng, businesses, DAYS, heavy=heavy)
    world, faults = plant(rng, calm)
    years = businesses * (DAYS - FIRST_DAY) / 365
    false = {name: episodes(flags[FIRST_DAY:] != 0) / years for name, flags in signs_of(calm).items()}
    seen = signs_of(world)
    hit = [any((seen[s][f.first : f.end + 2, f.business] == f.side).any() for s in f.series) for f in faults]
    return Outcome(false, [(f, float(calm.size[f.business]), h) for f, h in zip(faults, hit, strict=True)])


if __name__ == "__main__":
    for heavy in (False, True):
        outcome = run(int(sys.argv[1]) if len(sys.argv) > 1 else 300, heavy=heavy)
        print("heavy tails" if heavy else "negative binomial", f"found {outcome.recall():.2f}", outcome.false)  # noqa: T201
        for kind in _PLANT:
            print(f"| {kind} |", " | ".join(f"{outcome.recall(kind, sizes):.2f}" for sizes in SIZES), "|")  # noqa: T201
