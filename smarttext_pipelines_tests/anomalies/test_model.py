"""The model of anomalies: it finds enough, is seldom wrong, and never looks ahead."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from smarttext_pipelines.anomalies.judging import unusual
from smarttext_pipelines.anomalies.learning import Learner
from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS
from smarttext_pipelines.anomalies.tails import Floats, deviate
from smarttext_pipelines_tests.anomalies.generated import generate
from smarttext_pipelines_tests.anomalies.study import run


def _nats(part: Floats, whole: Floats | None = None, shape: str = "count") -> Floats:
    learner = Learner(shape, True, part.shape[1], 0)  # type: ignore[arg-type]
    return np.array([learner.step(p, None if whole is None else whole[d], d % 7).nats for d, p in enumerate(part)])


@pytest.mark.parametrize("mean", [0.5, 3.0, 50.0])
@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3])
def test_a_tail_is_that_of_the_negative_binomial(mean: float, spread: float) -> None:
    size, chance = 1 / spread, 1 / (1 + spread * mean)
    below = 0.0
    for count in range(int(mean * 3) + 6):
        log = math.lgamma(count + size) - math.lgamma(size) - math.lgamma(count + 1)
        here = math.exp(log + size * math.log(chance) + count * math.log1p(-chance))
        tail = 1 - below if count > mean else below + here
        below += here
        # Nearer than that it is the deviate of a normal distribution.
        if 1e-6 < tail < 0.1:
            exact = -abs(NormalDist().inv_cdf(tail)) * (1 if count <= mean else -1)
            assert deviate(np.array([float(count)]), np.array([mean]), np.array([spread]))[0] == pytest.approx(
                exact, abs=0.06
            )


def test_later_days_change_no_score_of_a_day() -> None:
    world = generate(np.random.default_rng(3), 20, 90, heavy=False)
    for last in (20, 47, 80):
        assert np.array_equal(_nats(world.texts)[:last], _nats(world.texts[:last]))
        whole = _nats(world.failed, world.texts, "rate")[:last]
        assert np.array_equal(whole, _nats(world.failed[:last], world.texts[:last], "rate"))


def test_the_order_of_businesses_changes_nothing() -> None:
    texts = generate(np.random.default_rng(4), 15, 80, heavy=True).texts
    order = np.random.default_rng(5).permutation(15)
    assert np.allclose(_nats(texts)[:, order], _nats(texts[:, order]), atol=1e-3)


def test_what_was_not_loaded_is_no_anomaly_and_teaches_nothing() -> None:
    texts = np.full((80, 3), 20.0)
    texts[50:53, 0] = np.nan
    nats = _nats(texts)
    assert not nats[50:53, 0].any()
    assert nats[53:, 0].max() < 3


def test_series_that_never_had_an_event_or_are_young_say_nothing() -> None:
    texts = np.zeros((60, 2))
    texts[40:, 1] = 30.0
    nats = _nats(texts)
    assert not nats[:, 0].any()
    assert not nats[:54, 1].any()


def _signs(texts: Floats) -> Floats:
    """Return 1 or −1 where the texts sent of a day are unusual."""
    kind, (days, businesses) = SERIES_KINDS["texts_sent"], texts.shape
    learner, result = Learner(kind.shape, kind.two_sided, businesses, 0), np.zeros(texts.shape)
    for day in range(days):
        age = learner.age
        scored = learner.step(texts[day], None, day % 7)
        result[day] = unusual(kind, scored, age, is_platform=np.zeros(businesses, bool)) * scored.side
    return result


def test_an_only_business_that_falls_silent_is_found() -> None:
    texts = np.random.default_rng(6).poisson(30, (100, 1)).astype(float)
    texts[95] = 0
    assert _signs(texts)[95, 0] == -1


def test_a_holiday_that_empties_everybody_accuses_nobody() -> None:
    texts = np.random.default_rng(7).poisson(40, (120, 60)).astype(float)
    texts[100] = np.random.default_rng(8).poisson(4, 60)
    assert (_signs(texts)[100] != 0).mean() <= 0.05


@pytest.mark.parametrize(("heavy", "least", "most"), [(False, 0.74, 0.25), (True, 0.74, 0.5)])
def test_it_finds_no_less_and_cries_no_more_than_it_did(heavy: bool, least: float, most: float) -> None:
    found = run(100, heavy=heavy)
    assert (found.recall() or 0) >= least
    assert (found.false_a_year() or 9) <= most
