"""How many calls each business gets in each hour: trade, weekday, local hour, season and slow growth.

A function of the calendar alone, so that a day is equally busy in every range it is drawn in.
"""

import math
from datetime import date
from functools import cache

import numpy as np

from smarttext_pipelines.sample.event_columns import Floats
from smarttext_pipelines.sample.profiles import TRADES, businesses_of
from smarttext_pipelines.sample.spec import SampleSpec

ROWS_PER_CALL = 1.03
"""Event rows per call on average, and how many more for a missed one: measured, held by a test."""
ROWS_PER_MISSED_CALL = 11.4

_MISSED_OPEN, _MISSED_CLOSED = 0.28, 0.85
_EVENTS_PER_MARKER = 50
_GROWTH_CENTER = date(2026, 7, 1)


def growth(day: date) -> float:
    """Return the volume of a day relative to the mean: slow growth between 0.9 and 1.1, and a summer 4 % above."""
    years = (day - _GROWTH_CENTER).days / 365.25
    return 1 + 0.1 * math.tanh(years / 2) + 0.04 * math.cos(2 * math.pi * years)


@cache
def _weeks() -> tuple[Floats, Floats]:
    """Return calls and the share of missed ones by trade, local weekday and local hour; mean calls of a day are 1."""
    calls, missed = np.empty((len(TRADES), 7, 24)), np.empty((len(TRADES), 7, 24))
    hours = np.arange(24)
    for index, trade in enumerate(TRADES):
        is_open = (hours >= trade.opens) & (hours < trade.closes)
        bow = np.where(is_open, 1 + 0.5 * np.sin(np.pi * (hours + 0.5 - trade.opens) / (trade.closes - trade.opens)), 0)
        shape = (1 - trade.closed_share) * bow / bow.sum() + trade.closed_share * ~is_open / (~is_open).sum()
        weekdays = np.array(trade.weekdays)
        calls[index] = np.outer(weekdays / weekdays.mean(), shape)
        missed[index] = np.where(np.outer(weekdays > 0.25, is_open), _MISSED_OPEN, _MISSED_CLOSED)
    return calls, missed


def marker_count(spec: SampleSpec) -> int:
    """Return how many businesses get a ``daily_reset`` row: all, unless that would be most of a small sample."""
    return max(1, min(spec.businesses, spec.events_per_day // _EVENTS_PER_MARKER))


def hourly_calls(spec: SampleSpec, day: date) -> tuple[Floats, Floats]:
    """Return the expected calls and the share of missed ones, by business and hour of the UTC day."""
    calls, missed = _weeks()
    all_ = businesses_of(spec)
    missed_share = (calls * missed).sum(axis=(1, 2)) / 7
    rows_per_call = ROWS_PER_CALL + ROWS_PER_MISSED_CALL * missed_share[all_.trade]
    calls_per_day = all_.weight * (spec.events_per_day - marker_count(spec)) * growth(day) / rows_per_call
    local = np.arange(24)[None, :] + all_.offset_hours[:, None]
    weekday = (day.weekday() + local // 24) % 7
    at = (all_.trade[:, None], weekday, local % 24)
    return calls_per_day[:, None] * calls[at], missed[at]
