"""Which of the scored series are unusual: rare enough, large enough, known for long enough. Pure."""

import numpy as np

from smarttext_pipelines.anomalies.learning import Flags, Scored
from smarttext_pipelines.anomalies.series_kinds import SeriesKind
from smarttext_pipelines.anomalies.tails import Floats

LEAST_SHARE = 0.3
"""Smallest relative difference of a count or an amount that matters."""

LEAST_SHARE_PLATFORM = 0.15
LEAST_POINTS = 0.08
"""Smallest difference of a rate that matters."""

SURE_AGE = 70
YOUNG_FACTOR = 10.0
"""How much rarer a day must be in a series of less than ``SURE_AGE`` days."""

FALSE_SHARE = 0.05


def matters(kind: SeriesKind, scored: Scored, least: float, is_platform: Flags) -> Flags:
    """Return where the difference is large enough for a person to care, whatever its probability."""
    off = np.abs(scored.found - scored.expected)
    if kind.shape == "rate":
        points = LEAST_POINTS * np.where(is_platform, 0.5, 1.0)
        result: Flags = (off >= least) & (scored.found >= least) & (off >= points * scored.whole)
        return result
    share = np.where(is_platform, LEAST_SHARE_PLATFORM, LEAST_SHARE)
    return (off >= least) & (off >= share * scored.expected)


def unusual(
    kind: SeriesKind, scored: Scored, age: Floats, *, least: float, threshold: Floats | float, is_platform: Flags
) -> Flags:
    """Return which series are unusual.

    Args:
        kind: What is counted.
        scored: The day.
        age: Days that each series was known for before it.
        least: Smallest difference that matters, in the unit of the part.
        threshold: Largest probability, for all or for each series.
        is_platform: Which series are the platform's.
    """
    limit = -np.log(threshold) + np.where(age < SURE_AGE, np.log(YOUNG_FACTOR), 0.0)
    result: Flags = (scored.nats >= limit) & matters(kind, scored, least, is_platform)
    return result


def certain(nats: Floats, tested: int) -> Flags:
    """Return which findings Benjamini and Hochberg let stand among all series that were tested (q = 0.05)."""
    order = np.argsort(-nats)
    allowed = np.log(tested / (FALSE_SHARE * np.arange(1, len(nats) + 1)))
    passed = np.flatnonzero(nats[order] >= allowed)
    result = np.zeros(len(nats), bool)
    if len(passed):
        result[order[: passed[-1] + 1]] = True
    return result
