"""What goes wrong in the sample, so that there is something to find. The only part that depends on ``end``.

============  ======================================================================================
12 days       the carrier filters the texts of the second and third largest business (30007), 15-23 UTC
 9 days       the largest business is silent from 00 UTC for 32 hours, a whole day in any American zone
 7 days       the number of the fourth largest business is not registered (30034), from 13 UTC to the end
 5 days       the second largest business calls gpt-4o with twenty times the tokens, the whole day
============  ======================================================================================

Days before ``end``; where that is a weekend, on the Friday before, because a wave needs texts to be seen in.
Fewer businesses than that share them; an only business is never silent.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from smarttext_pipelines.sample.event_columns import Bools, Ints
from smarttext_pipelines.sample.profiles import businesses_of
from smarttext_pipelines.sample.spec import HOUR_US, SampleSpec, day_us

SPIKE_MODEL = "gpt-4o"
SPIKE_FACTOR = 20
FILTERED_SHARE = 0.7
UNREGISTERED_SHARE = 0.95


@dataclass(frozen=True)
class Incident:
    """Something that happens to one business from ``start`` to before ``stop`` (microseconds since 1970)."""

    business: int
    start: int
    stop: int

    def covers(self, business: Ints, at: Ints) -> Bools:
        """Return which events it concerns."""
        concerned: Bools = (business == self.business) & (at >= self.start) & (at < self.stop)
        return concerned


def incident_day(end: date, days_before: int) -> date:
    """Return the day so long before the end, or the Friday before it."""
    day = end - timedelta(days=days_before)
    return day - timedelta(days=max(0, day.weekday() - 4))


def _incident(spec: SampleSpec, rank: int, days_before: int, from_hour: int, to_hour: int) -> Incident:
    largest = businesses_of(spec).by_size
    begin = day_us(incident_day(spec.end, days_before))
    business = int(largest[min(rank, len(largest) - 1)])
    return Incident(business, begin + from_hour * HOUR_US, begin + to_hour * HOUR_US)


def filtering(spec: SampleSpec) -> tuple[Incident, Incident]:
    """Return the waves of texts that the carrier filters."""
    return _incident(spec, 1, 12, 15, 23), _incident(spec, 2, 12, 15, 23)


def registration(spec: SampleSpec) -> Incident:
    """Return the day of texts from a number that is not registered."""
    return _incident(spec, 3, 7, 13, 24)


def spend_spike(spec: SampleSpec) -> Incident:
    """Return the day of expensive requests."""
    return _incident(spec, 1, 5, 0, 24)


def silence(spec: SampleSpec) -> tuple[Incident, ...]:
    """Return the day without any event of a business."""
    return (_incident(spec, 0, 9, 0, 32),) if spec.businesses > 1 else ()


def covered(incidents: tuple[Incident, ...], business: Ints, at: Ints) -> Bools:
    """Return which events any of the incidents concerns."""
    found = np.zeros(len(at), dtype=np.bool_)
    for incident in incidents:
        found |= incident.covers(business, at)
    return found
