"""The windows of days that end on the day that is looked at, of all series at once. Pure."""

from collections.abc import Sequence

import numpy as np

from smarttext_pipelines.anomalies.tails import Float, Floats

WINDOWS = (1, 3, 7)
"""Their lengths in days."""

LAG = (1, 3, 14)
"""How many days before the end of each window the level is taken that it is expected from."""


def counted(part: Floats, exposure: Floats) -> Floats:
    """Return what is summed of a day: what was counted, what it is out of, and the square of that."""
    result = np.empty((3, len(part)), Float)
    result[0], result[1] = part, exposure
    np.multiply(result[1], result[1], out=result[2])
    return result


def summed(recent: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats, Floats, Floats]:
    """Sum up the last days by window.

    Args:
        recent: ``counted`` of a day, and the level that was known in the morning; the last one is the day that is
            looked at.

    Returns:
        What was counted, what was expected, what it is out of, and how unevenly that is spread over the days: one for
        a single day, a seventh for seven equal ones. A row for each window.
    """
    sums = np.zeros((3, len(WINDOWS), len(recent[-1][1])), Float)
    expected = np.empty(sums.shape[1:], Float)
    held = 0
    for n, (length, lag) in enumerate(zip(WINDOWS, LAG, strict=True)):
        if n:
            # A window is the one before it and the days before that.
            sums[:, n] = sums[:, n - 1]
        for day, _ in recent[-length : max(len(recent) - held, 0)]:
            sums[:, n] += day
        held = length
        np.multiply(sums[1, n], recent[-lag:][0][1], out=expected[n])
    found, whole, uneven = sums
    uneven /= np.maximum(whole * whole, 1e-12)
    np.maximum(uneven, 1 / max(WINDOWS), out=uneven)
    return found, expected, whole, uneven


def farthest(distance: Floats) -> Floats:
    """Return the first window that is the farthest; NumPy's own search takes ten times as long over so few rows."""
    result, most = np.zeros(distance.shape[1], np.intp), distance[0]
    for window in range(1, len(distance)):
        result[distance[window] > most] = window
        most = np.maximum(most, distance[window])
    return result
