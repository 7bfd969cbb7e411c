"""How often a series has exceeded what the model calls rare: tail probabilities as they were found to be. Pure.

Above ``_FROM`` the exceedances of −ln p are taken to be exponential, with share and scale of the series itself pulled
towards everyone's: the peaks-over-threshold estimate of extreme value theory.
"""

import numpy as np

from smarttext_pipelines.anomalies.tails import Flags, Float, Floats

DELAY = 14
"""Days after which a day teaches how spread a series is: what is unusual now must not excuse itself."""

_FROM = float(np.log(10.0))
_DAYS = 30.0
"""How many days everyone's tail counts as, beside a series' own."""

_LONGEST_EXCESS = 2.0
"""How far beyond it a day counts at most: one fault must not make the next one usual."""

_LEAST_SCALE = 0.8


class Calibration:
    """The tails of a family of series, of too much and of too little."""

    def __init__(self, series: int, own: slice) -> None:
        self._own = own
        self._seen, self._over, self._excess = (np.zeros((2, series), Float) for _ in range(3))
        self._later: list[tuple[Floats, Floats, Flags]] = []

    def calibrated(self, raw: Floats, side: Floats) -> Floats:
        """Return −ln of the probability that a series exceeds ``raw``, by what it and everyone exceeded before.

        Below ``_FROM``, where nothing is unusual, it is ``raw``.
        """
        seen, over, excess = (
            a[:, self._own].sum(axis=1, keepdims=True) for a in (self._seen, self._over, self._excess)
        )
        share = (over + 10.0) / (seen + 200.0)
        scale = (excess + 10.0) / (over + 10.0)
        far = np.flatnonzero(raw > _FROM)
        below = (side[far] < 0).astype(int)
        pick, share, scale = (below, far), share[below, 0], scale[below, 0]
        own_over = self._over[pick] + _DAYS * share
        own_scale = (self._excess[pick] + _DAYS * share * scale) / own_over
        rare = -np.log(np.minimum(own_over / (self._seen[pick] + _DAYS), 1.0))
        result = raw.copy()
        result[far] = (raw[far] - _FROM) / np.maximum(own_scale, _LEAST_SCALE) + rare
        return result

    def learn(self, raw: Floats, side: Floats, learnt: Flags) -> None:
        """Take a day into account, ``DELAY`` days later."""
        self._later.append((raw, side, learnt))
        if len(self._later) <= DELAY:
            return
        raw, side, learnt = self._later.pop(0)
        self._seen += learnt
        far = np.flatnonzero(learnt & (raw > _FROM))
        pick = ((side[far] < 0).astype(int), far)
        self._over[pick] += 1
        self._excess[pick] += np.minimum(raw[far] - _FROM, _LONGEST_EXCESS)
