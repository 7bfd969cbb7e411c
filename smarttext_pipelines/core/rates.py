"""Failure rate, coverage and the Wilson lower bound, from counts, in percent with two decimals.

The Ibis expressions in ``metrics.failure_rates`` use the same integer and IEEE arithmetic; a test holds them together.
"""

import math
from decimal import Decimal

WILSON_Z = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""

COVERAGE_FLOOR_PERCENT = Decimal(50)
"""Share of known outcomes below which a failure rate is shown as unknown."""

UNATTRIBUTED_LIMIT_PERCENT = 10.0
"""Share of events without a business above which statistics of businesses lack too much."""


def percent(part: int, whole: int) -> Decimal | None:
    """Return ``100 * part / whole`` rounded half up to two decimals, or None when there is no whole."""
    if whole == 0:
        return None
    return Decimal((20000 * part + whole) // (2 * whole)) / 100


def wilson_lower_percent(failed: int, successful: int, quantile: float = WILSON_Z) -> Decimal | None:
    """Return the lower bound of the Wilson score interval of the failure rate, or None when nothing is decided.

    Args:
        failed: Messages that failed.
        successful: Messages that arrived.
        quantile: Of the normal distribution; the default is that of 95 %.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    n = float(failed + successful)
    if n == 0:
        return None
    p, z2 = failed / n, quantile * quantile
    margin = quantile * math.sqrt((p * (1 - p) + z2 / (4 * n)) / n)
    lower = (p + z2 / (2 * n) - margin) / (1 + z2 / n)
    return Decimal(max(0, math.floor(lower * 10000 + 0.5))) / 100


def wilson_interval(part: int, whole: int, quantile: float = WILSON_Z) -> tuple[float, float] | None:
    """Return the Wilson score interval of a share, from 0 to 1; None when there is no whole. Source as above."""
    if whole == 0:
        return None
    p, z2 = part / whole, quantile * quantile
    margin = quantile * math.sqrt((p * (1 - p) + z2 / (4 * whole)) / whole)
    low, high = ((p + z2 / (2 * whole) + side * margin) / (1 + z2 / whole) for side in (-1, 1))
    # At the ends it is exact but for the last digit.
    return (max(low, 0.0) if part else 0.0), (min(high, 1.0) if part < whole else 1.0)


def shown_rate(rate: Decimal | None, coverage: Decimal | None) -> str:
    """Return a rate for people: a dash when nothing is decided, ``unknown`` when too few outcomes are known.

    Args:
        rate: Percent.
        coverage: Share of known outcomes in percent; None when it is not known itself.
    """
    if rate is None:
        return "–"
    return f"{rate:.2f}" if coverage is not None and coverage >= COVERAGE_FLOOR_PERCENT else "unknown"
