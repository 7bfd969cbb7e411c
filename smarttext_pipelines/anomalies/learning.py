"""What a family of series has taught so far: levels, weekdays, dispersion and tails, one number for each series. Pure.

Every day is scored with what was known before it, and only then learnt; nothing looks ahead. A series is a business,
or the platform, which lies in the last columns and teaches nobody else.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smarttext_pipelines.anomalies.calibration import DELAY, Calibration
from smarttext_pipelines.anomalies.compared_day import Compared, Scored
from smarttext_pipelines.anomalies.day_windows import LAG, WINDOWS, counted, farthest, summed
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
_COMMON_FACTOR = Float(np.exp(_COMMON))
_LEAST_SHARED = 10
_COMMON_DAYS = 3
MIN_AGE = 14
"""Days that a series must be known for before anything is said of it."""

_GROWING = 56
FAST_FADE = Float(0.5 ** (1 / 5))
"""Of the second level, which follows growth; a series must be unusual against both."""


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
        self._recent: list[tuple[Floats, Floats]] = []
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
        own = self._excess / np.maximum(self._mean2, 1e-12)
        if self._steps % 7 == 0:
            days = np.maximum(self._days[self.own], 1e-9)
            solid = (self._mean[:, self.own] / days >= 3.0) & (self.age[self.own] >= MIN_AGE)
            medians = [
                np.median(each[of]) if of.sum() >= 5 else 0.1 for each, of in zip(own[:, self.own], solid, strict=True)
            ]
            self._spread = np.maximum(np.array(medians, Float)[:, None], LEAST_DISPERSION)
        pull = np.sqrt(self._mean2 / np.maximum(self._days, 1e-9))
        np.divide(_DISPERSION_DAYS, np.maximum(pull, 0.05, out=pull), out=pull)
        pull += _DISPERSION_DAYS
        own *= self._days
        own += self._spread * pull
        pull += self._days
        own /= pull
        return np.maximum(own, LEAST_DISPERSION, out=own)

    # A day ----------------------------------------------------------------------------------------------------------

    def step(self, part: Floats, whole: Floats | None, weekday: int, marked: Flags | None = None) -> Scored:
        """Score a day and learn it.

        Args:
            part: What was counted; NaN where nothing is known.
            whole: What it is out of, for a rate or an amount.
            weekday: 0 for Monday.
            marked: Series whose day somebody explained: it is scored, and not learnt.
        """
        day = self._compared(part, whole, weekday)
        scored = self._scored(day)
        self._learn(day, weekday, marked)
        return scored

    def learn(self, part: Floats, whole: Floats | None, weekday: int, marked: Flags | None = None) -> None:
        """Learn a day that nobody asks the scores of; see ``step``."""
        self._learn(self._compared(part, whole, weekday), weekday, marked)

    def _compared(self, part: Floats, whole: Floats | None, weekday: int) -> Compared:
        known = ~np.isnan(part) if whole is None else ~(np.isnan(part) | np.isnan(whole))
        self._begun |= known & ((part if whole is None else whole) > 0)
        known &= self._begun
        level = self._level()
        exposure = self._exposure(weekday, whole)
        today = counted(np.where(known, part, 0.0), np.where(known, exposure, 0.0))
        self._recent = [*self._recent[-(max(LAG) - 1) :], (today, level)]
        found, expected, whole_sum, uneven = summed(self._recent)
        dispersion = self._dispersion()
        dispersion *= uneven
        unit = np.maximum(level, 1e-9) if self.shape == "amount" else None
        count = found if unit is None else found / unit
        lagged = np.maximum(expected if unit is None else expected / unit, 1e-3)
        mean, is_young = lagged, self.age < _GROWING
        if is_young.any():
            expected = np.where(is_young, whole_sum * level, expected)
            mean = np.maximum(expected if unit is None else expected / unit, 1e-3)
        sd = mean * mean
        sd *= dispersion
        sd += mean
        np.sqrt(sd, out=sd)
        usable = known & (self.age >= MIN_AGE)
        # While everything is young nothing is said, and nothing learnt of tails.
        z = deviate(count, mean, dispersion, sd) if usable.any() else np.zeros_like(count)
        common = self._common(count, mean)
        for w in np.flatnonzero(common != 1.0):
            other = deviate(count[w, self.own], mean[w, self.own] * common[w], dispersion[w, self.own])
            here = z[w, self.own]
            z[w, self.own] = np.where(np.sign(other) == np.sign(here), np.sign(here), 0.0) * np.minimum(
                np.abs(other), np.abs(here)
            )
        if not self.two_sided:
            z = np.maximum(z, _ZERO)
        window = farthest(np.abs(z))
        worst = z.take(window * len(part) + np.arange(len(part)))
        raw = np.maximum(surprise(np.abs(worst)) - _TRIED, _ZERO)
        moved = bool(common[0] != 1.0)
        return Compared(
            today, known, usable, found, expected, whole_sum, uneven, unit, count, mean, lagged, sd,
            window, np.sign(worst), raw, moved,
        )  # fmt: skip

    def _scored(self, day: Compared) -> Scored:
        of_window = day.window * len(day.raw) + np.arange(len(day.raw))
        found, expected, spread, whole = (each.take(of_window) for each in (day.found, day.expected, day.sd, day.whole))
        nats = self._tails.calibrated(day.raw, day.side) * day.usable
        spread = spread if day.unit is None else spread * day.unit
        return Scored(nats, day.side, day.window, found, expected, spread, whole, day.found - day.expected)

    def _common(self, count: Floats, mean: Floats) -> Floats:
        """Return by which factor everybody moved, by window."""
        factors = np.ones(len(WINDOWS), Float)
        if self.shape != "count":
            return factors
        old = self.age[self.own] >= MIN_AGE
        for w in range(len(WINDOWS)):
            heavy = (mean[w, self.own] >= 5.0) & old
            found, usual = count[w, self.own] + 0.5, mean[w, self.own] + 0.5
            above = np.count_nonzero(heavy & (found > usual * _COMMON_FACTOR))
            below = np.count_nonzero(heavy & (found * _COMMON_FACTOR < usual))
            many = np.count_nonzero(heavy)
            # Unless half of them moved as far, the median did not; finding it takes ten times as long.
            if many >= _LEAST_SHARED and 2 * max(above, below) >= many:
                median = float(np.median(np.log(found[heavy] / usual[heavy])))
                factors[w] = np.exp(median) if abs(median) > _COMMON else 1.0
        return factors

    # Learning -------------------------------------------------------------------------------------------------------

    def _learn(self, day: Compared, weekday: int, marked: Flags | None) -> None:
        self._moved_days = self._moved_days + 1 if day.moved else 0
        if marked is None:
            marked = np.zeros(len(day.known), bool)
        skipped = marked | (day.moved and self._moved_days <= _COMMON_DAYS)
        learnt = day.known & ~skipped
        self._learn_levels(day, weekday, learnt)
        self._learn_spread(day, learnt)
        self._tails.learn(day.raw, day.side, day.usable & ~skipped)
        self.age = self.age + day.known
        self._steps += 1
        if marked.any():
            # No later window holds an explained day.
            self._recent[-1] = (day.today * ~marked, self._recent[-1][1])

    def _learn_levels(self, day: Compared, weekday: int, learnt: Flags) -> None:
        part, exposure, _ = day.today
        off = _CLIP * day.sd[0]
        low, high = np.maximum(day.mean[0] - off, _ZERO), day.mean[0] + off
        if day.unit is not None:
            low, high = low * day.unit, high * day.unit
        clipped = np.minimum(np.maximum(part, low), high)
        young = self.age < MIN_AGE
        if young.any():
            clipped = np.where(young, part, clipped)
        # Products with masks, here and below: choosing takes five times as long.
        share = learnt.astype(Float)
        clipped, exposure = clipped * share, exposure * share
        fade = _fade(share, FADE)
        self._num, self._den = self._num * fade + clipped, self._den * fade + exposure
        if self.shape == "count":
            fade = _fade(share, FAST_FADE)
            self._fast_num, self._fast_den = self._fast_num * fade + clipped, self._fast_den * fade + exposure
            fade = _fade(share, WEEKDAY_FADE**7)
            self._sums[weekday] = self._sums[weekday] * fade + clipped
            self._weeks[weekday] = self._weeks[weekday] * fade + share

    def _learn_spread(self, day: Compared, learnt: Flags) -> None:
        taught = (learnt & (self.age >= 28) & (day.lagged[0] > 1e-3)).astype(Float)
        if self._later or taught.any():
            most = _CLIP * day.sd
            excess = day.count - day.lagged
            np.minimum(np.maximum(excess, -most, out=excess), most, out=excess)
            mean = day.lagged * taught
            excess *= excess
            excess *= taught
            excess -= mean
            self._later.append((taught, excess, mean * day.lagged * day.uneven, mean))
        if len(self._later) > DELAY:
            taught, excess, square, mean = self._later.pop(0)
            fade = _fade(taught, FADE)
            for known, new in ((self._excess, excess), (self._mean2, square), (self._mean, mean), (self._days, taught)):
                known *= fade
                known += new


def _fade(share: Floats, by: Any) -> Floats:
    """Return ``by`` where a day is learnt, whose share is one, and one where none is."""
    result: Floats = share * (by - _ONE)
    result += _ONE
    return result
