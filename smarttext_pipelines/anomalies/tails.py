"""How unlikely a count is: tails of the negative binomial distribution as normal deviates, for whole matrices. Pure.

Peizer and Pratt's approximation of the incomplete beta function needs a few logarithms and no series, and holds for
counts from zero on; the deviate is right to 0.06 up to five.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = np.float32
"""Single precision: what is expected is an estimate, and twice as many fit into the caches."""

Floats = NDArray[Any]
Flags = NDArray[np.bool_]

_MOST_DISPERSION = 1.2
"""Above it the approximation does not hold; the deviate then shrinks with the standard deviation."""

_NEAR_ABOVE, _NEAR_BELOW = 1.0, -0.5
"""Standard deviations within which the deviate is that of a normal distribution."""

_HALF_LOG_2_PI = 0.5 * float(np.log(2 * np.pi))


def _bend(ratio: Floats) -> Floats:
    off = 1.0 - ratio
    near = np.abs(off) < 1e-3
    off = np.where(near, 1.0, off)
    bent = (1.0 - ratio * ratio + 2.0 * ratio * np.log(np.maximum(ratio, 1e-300))) / (off * off)
    result: Floats = np.where(near, (1.0 - ratio) / 3.0, bent)
    return result


def _deviate_up_to(count: Floats, mean: Floats, dispersion: Floats) -> Floats:
    """Return z with Φ(z) = P(X ≤ count)."""
    size = 1.0 / dispersion
    share = dispersion * mean / (1.0 + dispersion * mean)
    rest = 1.0 - share
    total = count + size
    low, high = count + 0.5, size - 0.5
    off = count + 2.0 / 3.0 - (total + 1.0 / 3.0) * share
    off += 0.02 * (rest / (count + 1.0) - share / size + (rest - 0.5) / (total + 1.0))
    bend = 1.0 + rest * _bend(low / (total * share)) + share * _bend(high / (total * rest))
    result: Floats = off * np.sqrt(np.maximum(bend, 1e-9) / ((total + 1.0 / 6.0) * share * rest))
    return result


def deviate(count: Floats, mean: Floats, dispersion: Floats, spread: Floats | None = None) -> Floats:
    """Return how far a count lies from its mean, as a normal deviate of the tail on its side.

    Args:
        count: What was counted, zero or more; a sum of money in units of a typical one.
        mean: What was to be expected, above zero; of the same shape, as is the dispersion.
        dispersion: φ of a variance mean + φ·mean².
        spread: The root of that variance, where it is known.

    Returns:
        Positive for P(X ≥ count) where it lies above the mean, negative for P(X ≤ count) below; zero where the tail
        is half or more.
    """
    result: Floats = (count - mean) / (np.sqrt(mean + dispersion * mean * mean) if spread is None else spread)
    # Between them the tail is more than an eighth: nobody asks how much.
    far = np.flatnonzero((result > _NEAR_ABOVE) | (result < _NEAR_BELOW))
    result.put(far, _deviate(count.take(far), mean.take(far), dispersion.take(far)))
    return result


def _deviate(count: Floats, mean: Floats, dispersion: Floats) -> Floats:
    spread = np.minimum(dispersion, _MOST_DISPERSION)
    is_above = count > mean
    z = _deviate_up_to(np.where(is_above, np.maximum(count - 1.0, 0.0), count), mean, spread)
    # One event or less above the mean: its tail holds everything but zero.
    z = np.where(is_above & (count < 1.0), 0.0, z)
    z = z * np.sqrt(spread / dispersion)
    result: Floats = np.where(is_above, np.maximum(z, 0.0), np.minimum(z, 0.0))
    return result


def surprise(z: Floats) -> Floats:
    """Return −ln of the tail beyond a deviate; zero where that is more than an eighth."""
    result = np.zeros_like(z)
    far = np.flatnonzero(z > _NEAR_ABOVE)
    z = z[far]
    result[far] = z * z / 2.0 + _HALF_LOG_2_PI - np.log(4.0 / (3.0 * z + np.sqrt(z * z + 8.0)))
    return result
