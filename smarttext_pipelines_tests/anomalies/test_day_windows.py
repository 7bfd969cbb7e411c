"""Windows of days are summed as each of them would be alone."""

import numpy as np
import pytest

from smarttext_pipelines.anomalies.day_windows import LAG, WINDOWS, counted, farthest, summed
from smarttext_pipelines.anomalies.tails import Float


@pytest.mark.parametrize("days", [1, 2, 3, 5, 7, 14])
def test_a_window_is_the_sum_of_its_days_also_while_fewer_are_known(days: int) -> None:
    random = np.random.default_rng(days)
    recent = [tuple(random.integers(0, 9, (3, 4)).astype(Float)) for _ in range(days)]
    found, expected, whole, uneven = summed([(counted(part, exposure), level) for part, exposure, level in recent])
    for n, (length, lag) in enumerate(zip(WINDOWS, LAG, strict=True)):
        part, exposure = (sum(day[place] for day in recent[-length:]) for place in (0, 1))
        squares = sum(day[1] ** 2 for day in recent[-length:])
        assert np.array_equal(found[n], part)
        assert np.array_equal(whole[n], exposure)
        assert np.array_equal(expected[n], exposure * recent[-lag:][0][2])
        assert np.allclose(uneven[n], np.maximum(squares / np.maximum(exposure**2, 1e-12), 1 / 7))


def test_the_farthest_window_is_the_first_of_those_that_are_as_far() -> None:
    distance = np.random.default_rng(1).integers(0, 3, (3, 200)).astype(Float)
    assert np.array_equal(farthest(distance), distance.argmax(axis=0))
