"""The parameters of a sample, and the random streams it is drawn from. No rows and no I/O here.

Every stream is seeded by values alone, so that the rows of a day do not depend on the days around it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from smarttext_pipelines.core.errors import InputError

MAX_BUSINESSES = 30_000
"""More would need more numbers than the fictional range has."""

LONGEST_SPAN = timedelta(days=8)
"""Longest time between the begin of an event and its last report."""

EPOCH = date(1970, 1, 1)
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
SECOND_US = 1_000_000


@dataclass(frozen=True)
class SampleSpec:
    """The wanted rows: so many days up to ``end`` (UTC days, both included), none later than ``until``.

    ``events_per_day`` is the approximate mean number of rows of a day over the four event tables.
    """

    days: int
    businesses: int
    events_per_day: int
    seed: int
    end: date
    until: datetime

    def __post_init__(self) -> None:
        """Reject parameters that cannot be drawn."""
        for name, minimum, maximum in (
            ("days", 1, 20_000),
            ("businesses", 1, MAX_BUSINESSES),
            ("events_per_day", 1, 20_000_000),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if not minimum <= value <= maximum:
                message = f"{name} is {value}; choose a number from {minimum} to {maximum}"
                raise InputError(message)
        if self.until.utcoffset() is None:
            message = "until has no time zone; pass an aware time"
            raise InputError(message)

    @property
    def first(self) -> date:
        """The first day of the sample."""
        return self.end - timedelta(days=self.days - 1)

    def __iter__(self) -> Iterator[date]:
        """Yield the days in order."""
        return (self.first + timedelta(days=n) for n in range(self.days))


def day_us(day: date) -> int:
    """Return the begin of a UTC day in microseconds since 1970."""
    return (day - EPOCH).days * DAY_US


def instant_us(at: datetime) -> int:
    """Return an aware time in whole microseconds since 1970."""
    return (at - datetime.combine(EPOCH, time.min, UTC)) // timedelta(microseconds=1)


def business_stream(seed: int, purpose: int) -> np.random.Generator:
    """Return the stream of the businesses; business n is the same one in every sample with this seed."""
    return np.random.default_rng([seed, purpose])


def day_stream(spec: SampleSpec, day: date, purpose: int) -> np.random.Generator:
    """Return the stream of one day and purpose; different volumes draw different ids, so they can share a database."""
    return np.random.default_rng([spec.seed, spec.businesses, spec.events_per_day, day.toordinal(), purpose])
