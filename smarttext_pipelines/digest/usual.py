"""What is usual: the median of equal weekdays and how far they lie from it, so that one bad day says little. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from statistics import median

MIN_DAYS = 3
"""Days below which nothing is called usual."""

_DEVIATIONS = 3.5
"""Spreads from the median beyond which a value is not usual."""

_MAD = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""

_CHANCE = 0.01
"""How often, over all businesses of a day, chance alone may leave callers of one without a text."""


@dataclass(frozen=True)
class Usual:
    """Median and spread of a value over comparable days."""

    median: float
    spread: float

    def is_above(self, value: Decimal, least: float) -> bool:
        """Tell whether a value is unusually high; ``least`` is the smallest spread that counts."""
        return float(value) > self.median + _DEVIATIONS * max(self.spread, least)

    def is_below(self, value: Decimal, least: float) -> bool:
        """Tell whether a value is unusually low."""
        return float(value) < self.median - _DEVIATIONS * max(self.spread, least)


def usual_of(values: Iterable[Decimal | None]) -> Usual | None:
    """Return what is usual of the days that have a value; None where these are fewer than ``MIN_DAYS``."""
    known = [float(value) for value in values if value is not None]
    if len(known) < MIN_DAYS:
        return None
    middle = median(known)
    return Usual(middle, _MAD * median(abs(value - middle) for value in known))


def sampling_spread(share: float, count: int) -> float:
    """Return by how many percentage points a share of so many differs by chance alone; at least one point."""
    p = (share / 100 * count + 1) / (count + 2)
    return max(1.0, 100 * math.sqrt(p * (1 - p) / max(count, 1)))


def is_more_than_chance(part: int, whole: int, share: float, businesses: int) -> bool:
    """Tell whether so many of a whole are more than a usual share explains, looking at so many businesses at once.

    Args:
        part: Callers of one business without a text.
        whole: Its missed calls.
        share: Usual share, between 0 and 1.
        businesses: Businesses that were looked at.
    """
    p = min(max(share, 0.01), 0.95)
    tail = sum(math.comb(whole, k) * p**k * (1 - p) ** (whole - k) for k in range(part, whole + 1))
    return tail < _CHANCE / max(businesses, 1)
