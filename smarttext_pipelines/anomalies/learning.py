"""What a family of series has taught so far: levels, weekdays, dispersion and tails, one number for each series. Pure.

Every day is scored with what was known before it, and only then learnt; nothing looks ahead. A series is a business,
or the platform, which lies in the last columns and teaches nobody else.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smarttext_pipelines.anomalies.calibration import DELAY, Calibration
from smarttext_pipelines.anomalies.day_windows import LAG, WINDOWS, farthest, summed
from smarttext_pipelines.anomalies.series_kinds import Shape
from smarttext_pipelines.anomalies.tails import Flags, Float, Floats, deviate, surprise

FADE = Float(0.5 ** (1 / 28))
WEEKDAY_FADE = Float(0.5 ** (1 / 56))
WEEKDAY_EVENTS = 3.0
"""How many events everybody's week counts as, beside a business's own."""

RATE_EVENTS = 50.0
"""How many messages everybody's rate counts as."""

LEAST_DISPERSION = 0.02
_DISPERSION_DAYS = 40.0
_ZERO, _ONE = Float(0), Float(1)
_TRIED = float(np.log(len(WINDOWS)))
_CLIP = 3.0
_COMMON = 0.15
_LEAST_SHARED = 10
_COMMON_DAYS = 3
MIN_AGE = 14
"""Days that a series must be known for before anything is said of it."""

_GROWING = 56
FAST_FADE = Float(0.5 ** (1 / 5))
"""Of the second level, which follows growth; a series must be unusual against both."""


@dataclass
class Scored:
    """A day of a family, an element for each series.

    Attributes:
        nats: −ln of the calibrated tail probability; zero where nothing can be said.
        side: 1 where it is too much, −1 where it is too little.
        window: Index of the window that is the most unusual.
        found: What was counted in that window.
        expected: What was to be expected of it.
        spread: Standard deviation of what was to be expected.
        whole: What it is out of in that window, or the days of it that are known, for a count.
        excess: What was counted above what was expected, by window.
    """

    nats: Floats
    side: Floats
    window: Floats
    found: Floats
    expected: Floats
    spread: Floats
    whole: Floats
    excess: Floats


@dataclass
class Learner:
    """The state of a family of series; ``step`` takes one day after the other."""

    shape: Shape
    two_sided: bool
    businesses: int
    platform: int = 1
    age: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        series, windows = self.businesses + self.platform, len(WINDOWS)
        self.own = slice(0, self.businesses)
        self.age = np.zeros(series, Float)
        self._begun = np.zeros(series, bool)
        self._num, self._den = np.zeros(series, Float), np.zeros(series, Float)
        self._fast_num, self._fast_den = np.zeros(series, Float), np.zeros(series, Float)
        self._sums, self._weeks = np.zeros((7, series), Float), np.zeros((7, series), Float)
        self._excess, self._mean2 = np.zeros((windows, series), Float), np.zeros((windows, series), Float)
        self._days, self._mean = np.zeros(series, Float), np.zeros((windows, series), Float)
        self._tails = Calibration(series, self.own)
        self._recent: list[tuple[Floats, Floats, Floats]] = []
        self._moved_days = self._steps = 0
        self._later: list[tuple[Flags, Floats, Floats, Floats]] = []

    # What is known --------------------------------------------------------------------------------------------------

    def _level(self) -> Floats:
        """Return events a day, or of each of n."""
        if self.shape == "count":
            result: Floats = (self._num + 0.3) / (self._den + 1.0)
            fast = (self._fast_num + result) / (self._fast_den + 1.0)
            return np.where(self.age < _GROWING, fast, result)
        pool_num, pool_den = self._num[self.own].sum(), self._den[self.own].sum()
        pool = pool_num / pool_den if pool_den > 0 else 0.0
        shrunk = RATE_EVENTS if self.shape == "rate" else 5.0
        return (self._num + shrunk * pool + 1e-9) / (self._den + shrunk + 1e-9)

    def _exposure(self, weekday: int, whole: Floats | None) -> Floats:
        if whole is not None:
            return whole
        mean = self._sums.sum(axis=0) / np.maximum(self._weeks.sum(axis=0), 1.0)
        normal = self._weeks[weekday] * mean
        if self._steps % 7 == 0:
            self._week = self._week_of_all(mean)
        shared = WEEKDAY_EVENTS * self._week[weekday]
        result: Floats = (self._sums[weekday] + shared) / (normal + WEEKDAY_EVENTS)
        return np.where(self.age >= 7, result, _ONE)

    def _week_of_all(self, mean: Floats) -> Floats:
        """Return everybody's weekdays, relative to a mean day."""
        normal = (self._weeks * mean)[:, self.own]
        seen = (normal > 0).all(axis=0)
        if not seen.any():
            return np.ones(7, Float)
        result: Floats = (self._sums[:, self.own][:, seen] / normal[:, seen]).mean(axis=1)
        return result

    def _dispersion(self) -> Floats:
        days = np.maximum(self._days, 1e-9)
        mean2 = self._mean2 / days
        own = self._excess / np.maximum(self._mean2, 1e-12)
        if self._steps % 7 == 0:
            solid = (self._mean[:, self.own] / days[self.own] >= 3.0) & (self.age[self.own] >= MIN_AGE)
            medians = [
                np.median(each[of]) if of.sum() >= 5 else 0.1 for each, of in zip(own[:, self.own], solid, strict=True)
            ]
            self._spread = np.maximum(np.array(medians, Float)[:, None], LEAST_DISPERSION)
        pull = _DISPERSION_DAYS * (1.0 + 1.0 / np.maximum(np.sqrt(mean2), 0.05))
        shrunk = (own * self._days + self._spread * pull) / (self._days + pull)
        result: Floats = np.maximum(shrunk, LEAST_DISPERSION)
        return result

    # A day ----------------------------------------------------------------------------------------------------------

    def step(self, part: Floats, whole: Floats | None, weekday: int, marked: Flags | None = None) -> Scored:
        """Score a day and learn it.

        Args:
            part: What was counted; NaN where nothing is known.
            whole: What it is out of, for a rate or an amount.
            weekday: 0 for Monday.
            marked: Series whose day somebody explained: it is scored, and not learnt.
        """
        known = ~np.isnan(part) if whole is None else ~(np.isnan(part) | np.isnan(whole))
        self._begun |= known & ((part if whole is None else whole) > 0)
        known &= self._begun
        level = self._level()
        exposure = self._exposure(weekday, whole)
        part, exposure = np.where(known, part, 0.0), np.where(known, exposure, 0.0)
        self._recent = [*self._recent[-(max(LAG) - 1) :], (part, exposure, level)]
        found, expected, whole_sum, uneven = summed(self._recent)
        unit = np.maximum(level, 1e-9) if self.shape == "amount" else np.ones(len(level), Float)
        dispersion = self._dispersion() * uneven
        lagged = np.maximum(expected / unit, 1e-3)
        expected = np.where(self.age < _GROWING, whole_sum * self._recent[-1][2], expected)
        count, mean = found / unit, np.maximum(expected / unit, 1e-3)
        sd = np.sqrt(mean + dispersion * mean * mean)
        usable = known & (self.age >= MIN_AGE)
        # While everything is young nothing is said, and nothing learnt of tails.
        z = deviate(count, mean, dispersion) if usable.any() else np.zeros_like(count)
        common = self._common(count, mean)
        moved = common != 1.0
        for w in np.flatnonzero(moved):
            other = deviate(count[w, self.own], mean[w, self.own] * common[w], dispersion[w, self.own])
            here = z[w, self.own]
            z[w, self.own] = np.where(np.sign(other) == np.sign(here), np.sign(here), 0.0) * np.minimum(
                np.abs(other), np.abs(here)
            )
        if not self.two_sided:
            z = np.maximum(z, _ZERO)
        window = farthest(np.abs(z))
        of_window = window * len(part) + np.arange(len(part))
        worst = z.take(of_window)
        raw = np.maximum(surprise(np.abs(worst)) - _TRIED, _ZERO)
        side = np.sign(worst)
        nats = self._tails.calibrated(raw, side) * usable
        counted, usual, spread, of = (each.take(of_window) for each in (found, expected, sd * unit, whole_sum))
        scored = Scored(nats, side, window, counted, usual, spread, of, found - expected)
        self._moved_days = self._moved_days + 1 if moved[0] else 0
        skipped = np.zeros(len(part), bool) if marked is None else marked.copy()
        if moved[0] and self._moved_days <= _COMMON_DAYS:
            skipped[:] = True
        self._learn(part, exposure, unit, weekday, known & ~skipped, (count, mean, sd, uneven), lagged)
        self._tails.learn(raw, side, usable & ~skipped)
        self.age = self.age + known
        self._steps += 1
        if marked is not None:
            # No later window holds an explained day.
            self._recent[-1] = (part * ~marked, exposure * ~marked, level)
        return scored

    def _common(self, count: Floats, mean: Floats) -> Floats:
        """Return by which factor everybody moved, by window."""
        factors = np.ones(len(WINDOWS), Float)
        if self.shape != "count":
            return factors
        ratio = np.log((count[:, self.own] + 0.5) / (mean[:, self.own] + 0.5))
        for w in range(len(WINDOWS)):
            heavy = (mean[w, self.own] >= 5.0) & (self.age[self.own] >= MIN_AGE)
            if heavy.sum() >= _LEAST_SHARED:
                moved = ratio[w, heavy]
                # Unless half of them moved as far, the median did not; finding it takes ten times as long.
                if 2 * max((moved > _COMMON).sum(), (moved < -_COMMON).sum()) >= len(moved):
                    median = float(np.median(moved))
                    factors[w] = np.exp(median) if abs(median) > _COMMON else 1.0
        return factors

    # Learning -------------------------------------------------------------------------------------------------------

    def _learn(
        self,
        part: Floats,
        exposure: Floats,
        unit: Floats,
        weekday: int,
        learnt: Flags,
        measured: tuple[Floats, Floats, Floats, Floats],
        lagged: Floats,
    ) -> None:
        count, mean, sd, uneven = measured
        low, high = (mean[0] - _CLIP * sd[0]) * unit, (mean[0] + _CLIP * sd[0]) * unit
        clipped = np.minimum(np.maximum(part, np.maximum(low, _ZERO)), high)
        young = self.age < MIN_AGE
        if young.any():
            clipped = np.where(young, part, clipped)
        # Products with masks, here and below: choosing takes five times as long.
        clipped, exposure = clipped * learnt, exposure * learnt
        fade = _fade(learnt, FADE)
        self._num, self._den = self._num * fade + clipped, self._den * fade + exposure
        if self.shape == "count":
            fade = _fade(learnt, FAST_FADE)
            self._fast_num, self._fast_den = self._fast_num * fade + clipped, self._fast_den * fade + exposure
            fade = _fade(learnt, WEEKDAY_FADE**7)
            self._sums[weekday] = self._sums[weekday] * fade + clipped
            self._weeks[weekday] = self._weeks[weekday] * fade + learnt
        taught = (learnt & (self.age >= 28) & (lagged[0] > 1e-3)).astype(Float)
        off = np.minimum(np.maximum(count - lagged, -_CLIP * sd), _CLIP * sd)
        mean = lagged * taught
        self._later.append((taught, off * off * taught - mean, mean * lagged * uneven, mean))
        if len(self._later) > DELAY:
            taught, excess, square, mean = self._later.pop(0)
            fade = _fade(taught, FADE)
            self._excess = self._excess * fade + excess
            self._mean2 = self._mean2 * fade + square
            self._mean = self._mean * fade + mean
            self._days = self._days * fade + taught


def _fade(learnt: Floats, by: Any) -> Floats:
    """Return ``by`` where a day is learnt, and one where none is."""
    share = learnt.astype(Float)
    result: Floats = share * by + (_ONE - share)
    return result
