"""Which of the scored series are unusual: rare enough, large enough, known for long enough. Pure."""

import numpy as np

from smarttext_pipelines.anomalies.compared_day import Scored
from smarttext_pipelines.anomalies.series_kinds import SeriesKind
from smarttext_pipelines.anomalies.tails import Flags, Floats

LEAST_SHARE = 0.3
"""Smallest relative difference of a count or an amount that matters."""

LEAST_SHARE_PLATFORM = 0.15
LEAST_POINTS = 0.08
"""Smallest difference of a rate that matters."""

SURE_AGE = 70
YOUNG_FACTOR = 10.0
"""How much rarer a day must be in a series of less than ``SURE_AGE`` days."""


def _matters(kind: SeriesKind, scored: Scored, is_platform: Flags) -> Flags:
    """Return where the difference is large enough for a person to care, whatever its probability."""
    least = kind.least
    off = np.abs(scored.found - scored.expected)
    if kind.shape == "rate":
        points = LEAST_POINTS * np.where(is_platform, 0.5, 1.0)
        result: Flags = (off >= least) & (scored.found >= least) & (off >= points * scored.whole)
    else:
        share = np.where(is_platform, LEAST_SHARE_PLATFORM, LEAST_SHARE)
        result = (off >= least) & (off >= share * scored.expected)
    return result


def unusual(
    kind: SeriesKind, scored: Scored, age: Floats, *, is_platform: Flags, least_nats: Floats | float = 0.0
) -> Flags:
    """Return which series are unusual.

    Args:
        kind: What is counted.
        scored: The day.
        age: Days that each series was known for before it.
        is_platform: Which series are the platform's.
        least_nats: How rare a day must be besides, as −ln p: for all or for each series.
    """
    limit = -np.log(kind.threshold) + np.where(age < SURE_AGE, np.log(YOUNG_FACTOR), 0.0)
    is_rare = (scored.nats >= limit) & (scored.nats >= least_nats)
    result: Flags = is_rare & _matters(kind, scored, is_platform)
    return result
