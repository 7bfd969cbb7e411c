"""The businesses of the sample: who they are, how large, and from which numbers they text.

When their phones ring is in ``volume``; no events live here.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarttext_pipelines.sample import event_columns
from smarttext_pipelines.sample.event_columns import Bools, Column, Floats, Ints
from smarttext_pipelines.sample.spec import DAY_US, SampleSpec, business_stream

SHARED_SENDER = "+18885550100"
"""Number that sends for one business in seven; it identifies none of them (SMARTTEXT_SHARED_SENDERS)."""


class Trade(NamedTuple):
    """A kind of business: its weekdays from Monday, its opening hours, and the share of calls outside them."""

    name: str
    sign: str
    weekdays: tuple[float, ...]
    opens: int
    closes: int
    closed_share: float


TRADES = (
    Trade("plumber", "Plumbing", (1.2, 1.0, 1.0, 1.0, 1.1, 0.6, 0.4), 7, 18, 0.18),
    Trade("dentist", "Dental", (1.2, 1.1, 1.0, 1.1, 0.8, 0.1, 0.02), 8, 17, 0.06),
    Trade("salon", "Hair Studio", (0.3, 0.9, 1.0, 1.1, 1.3, 1.4, 0.2), 9, 19, 0.1),
    Trade("garage", "Garage", (1.3, 1.0, 1.0, 1.0, 1.2, 0.6, 0.05), 8, 18, 0.08),
    Trade("electrician", "Electric", (1.1, 1.0, 1.0, 1.0, 1.0, 0.4, 0.2), 7, 17, 0.14),
    Trade("veterinarian", "Animal Clinic", (1.2, 1.0, 1.0, 1.0, 1.1, 0.7, 0.3), 8, 18, 0.15),
    Trade("cleaner", "Cleaners", (1.0, 1.0, 0.9, 0.9, 1.1, 0.8, 0.1), 8, 18, 0.05),
    Trade("locksmith", "Locks", (1.0, 1.0, 1.0, 1.0, 1.1, 1.1, 0.9), 8, 20, 0.3),
)
_FIRST = ("Alder", "Birch", "Cedar", "Dover", "Elm", "Fern", "Grove", "Harbor", "Iron", "Juniper", "Kettle", "Linden")
_SECOND = ("Hill", "Park", "Bridge", "Street", "Valley", "Corner", "Lake", "Mill", "Square", "Creek", "Point")
_OFFSETS = np.array([-5, -6, -7, -8])
_OPENED_FROM_US = 18_628 * DAY_US
"""2021-01-01: every business is older than the days a sample is asked for."""


@dataclass(frozen=True)
class Businesses:
    """All businesses, one array element each; ``by_size`` holds their indexes, the largest first."""

    ids: Column
    trade: Ints
    offset_hours: Ints
    weight: Floats
    by_size: Ints
    failure_factor: Floats
    sends_shared: Bools
    sending_phone: Column
    public_phone: Column
    called_phone: Column
    owner_phone: Column
    customers: Ints
    opened_at: Ints

    def __len__(self) -> int:
        """Return the number of businesses."""
        return len(self.trade)


def businesses_of(spec: SampleSpec) -> Businesses:
    """Return the businesses of a sample."""
    return _draw(spec.seed, spec.businesses, spec.events_per_day)


def _phones(rows: int, kind: int) -> Column:
    """Return distinct numbers with the area codes 201 to 290, scattered by a step that shares no divisor with them."""
    return event_columns.phones(2_010_000 + (np.arange(rows, dtype=np.int64) * 3 + kind) * 7919 % 900_000)


@lru_cache(maxsize=4)
def _draw(seed: int, rows: int, events_per_day: int) -> Businesses:
    u = business_stream(seed, 0).random((rows, 8))
    weight = (np.argsort(np.argsort(u[:, 0])) + 1.0) ** -0.9 * (0.8 + 0.4 * u[:, 1])
    weight /= weight.sum()
    shared = np.arange(rows) % 7 == 3
    own, public = _phones(rows, 0), _phones(rows, 1)
    return Businesses(
        ids=event_columns.uuids(business_stream(seed, 1), rows),
        trade=(u[:, 2] * len(TRADES)).astype(np.int64),
        offset_hours=_OFFSETS[(u[:, 3] * len(_OFFSETS)).astype(np.int64)],
        weight=weight,
        by_size=np.argsort(-weight),
        failure_factor=0.7 + 0.6 * u[:, 4],
        sends_shared=shared,
        sending_phone=pc.if_else(pa.array(shared), SHARED_SENDER, own),
        public_phone=public,
        called_phone=pc.if_else(pa.array(shared | (u[:, 5] < 0.7)), public, own),
        owner_phone=_phones(rows, 2),
        customers=np.clip(weight * events_per_day * 20, 50, 1e6).astype(np.int64),
        opened_at=_OPENED_FROM_US + (u[:, 6] * 1_000 * DAY_US).astype(np.int64),
    )


def _name(index: int, trade: int) -> str:
    first, rest = _FIRST[index % len(_FIRST)], index // len(_FIRST)
    branch = rest // len(_SECOND)
    name = f"{first} {_SECOND[(rest + index) % len(_SECOND)]} {TRADES[trade].sign}"
    return name if branch == 0 else f"{name} {branch + 1}"


def _hours(trade: Trade) -> str:
    days = zip(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), trade.weekdays, strict=True)
    open_days = ", ".join(
        f'"{day}": ["{trade.opens:02d}:00", "{trade.closes:02d}:00"]' for day, busy in days if busy > 0.25
    )
    return "{" + open_days + "}"


def sample_businesses(spec: SampleSpec) -> pa.Table:
    """Return the rows of ``businesses``."""
    all_ = businesses_of(spec)
    rows = len(all_)
    tier = np.searchsorted([rows * 0.1, rows * 0.4], np.argsort(all_.by_size), side="right")
    opened = event_columns.instants(all_.opened_at)
    return pa.table(
        {
            "id": all_.ids,
            "name": pa.array([_name(index, trade) for index, trade in enumerate(all_.trade)]),
            "business_type": event_columns.pick([trade.name for trade in TRADES], all_.trade),
            "public_phone": all_.public_phone,
            "twilio_phone": all_.sending_phone,
            "forwarding_number": all_.owner_phone,
            "address": pa.array([f"{100 + index} Example Street" for index in range(rows)]),
            "subscription_tier": event_columns.pick(("premium", "pro", "basic"), tier),
            "trial_ends_at": event_columns.instants(all_.opened_at + 14 * DAY_US),
            "created_at": opened,
            "updated_at": opened,
            "custom_settings": event_columns.constant('{"sample": true}', rows),
            "hours_json": event_columns.pick([_hours(trade) for trade in TRADES], all_.trade),
            "faqs_json": event_columns.constant("[]", rows),
        }
    )
