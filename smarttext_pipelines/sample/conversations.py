"""Who talks to whom, and when: the calls of a day, the texts after missed ones, the answers, the alerts.

What of it is written into which table is in ``calls``, ``messages``, ``usage`` and ``alerts``.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from smarttext_pipelines.sample import event_columns
from smarttext_pipelines.sample.event_columns import Bools, Column, Ints
from smarttext_pipelines.sample.profiles import businesses_of
from smarttext_pipelines.sample.spec import HOUR_US, SampleSpec, day_stream, day_us
from smarttext_pipelines.sample.volume import hourly_calls

_TEXTED_SHARE, _ANSWERING_SHARE, _MAX_TURNS = 0.93, 0.45, 4
_ALERTED_CALL_SHARE, _ALERTED_TURN_SHARE = 0.9, 0.08
_REPLY_US = (2.0, 9.0)

ALERT_TYPES = ("missed_call", "urgent_message", "custom_keyword")


@dataclass(frozen=True)
class Contacts:
    """Moments between a customer (number without the 555) and a business (index)."""

    business: Ints
    at: Ints
    customer: Ints

    def __len__(self) -> int:
        """Return the number of moments."""
        return len(self.at)

    def select(self, which: Bools | Ints) -> "Contacts":
        """Return some of the moments."""
        return Contacts(self.business[which], self.at[which], self.customer[which])

    def later(self, delay: Ints) -> "Contacts":
        """Return the same moments, delayed."""
        return Contacts(self.business, self.at + delay, self.customer)

    def join(self, *others: "Contacts") -> "Contacts":
        """Return these moments and the others."""
        parts = (self, *others)
        return Contacts(
            np.concatenate([part.business for part in parts]),
            np.concatenate([part.at for part in parts]),
            np.concatenate([part.customer for part in parts]),
        )


@dataclass(frozen=True)
class Conversations:
    """Everything that begins on one day; a turn is an inbound text that gets the reply at the same index."""

    calls: Contacts
    missed: Bools
    tests: Contacts
    first_texts: Contacts
    turns: Contacts
    turn_sid: Column
    replies: Contacts
    alerts: Contacts
    alert_type: Ints


def draw_conversations(spec: SampleSpec, day: date) -> Conversations:
    """Return the conversations that begin on a UTC day."""
    rng = day_stream(spec, day, 0)
    calls, missed = _draw_calls(spec, day, rng)
    tests = calls.select(rng.random(len(calls)) < 0.006)
    unanswered = calls.select(missed)
    texted = unanswered.select(rng.random(len(unanswered)) < _TEXTED_SHARE)
    first_texts = texted.later(event_columns.seconds(rng, len(texted), 22, 58))
    turns = _draw_turns(rng, first_texts)
    alerts, alert_type = _draw_alerts(rng, unanswered, turns)
    return Conversations(
        calls=calls,
        missed=missed,
        tests=tests,
        first_texts=first_texts,
        turns=turns,
        turn_sid=event_columns.tokens(rng, len(turns), "SM"),
        replies=turns.later(event_columns.seconds(rng, len(turns), *_REPLY_US)),
        alerts=alerts,
        alert_type=alert_type,
    )


def _draw_calls(spec: SampleSpec, day: date, rng: np.random.Generator) -> tuple[Contacts, Bools]:
    expected, missed_share = hourly_calls(spec, day)
    cell = np.repeat(np.arange(expected.size), rng.poisson(expected).ravel())
    business, hour = cell // 24, cell % 24
    at = day_us(day) + hour * HOUR_US + rng.integers(0, HOUR_US, len(cell))
    known = (businesses_of(spec).customers[business] * rng.random(len(cell)) ** 2).astype(np.int64)
    # Area codes 301 to 800: customers never share a number with a business.
    customer = 3_010_000 + (business * 104_729 + known * 7_919) % 5_000_000
    return Contacts(business, at, customer), rng.random(len(cell)) < missed_share.ravel()[cell]


def _draw_turns(rng: np.random.Generator, first_texts: Contacts) -> Contacts:
    """Return the texts that customers answer with, up to four in a row."""
    answering = rng.random(len(first_texts)) < _ANSWERING_SHARE
    count = answering * np.minimum(rng.geometric(0.5, len(first_texts)), _MAX_TURNS)
    turns = first_texts.select(np.repeat(np.arange(len(first_texts)), count))
    gap = event_columns.long_tailed(rng, len(turns), 180, 1.1, 6 * 3600) + event_columns.seconds(
        rng, len(turns), 10, 20
    )
    elapsed = np.cumsum(gap)
    before = np.concatenate([[0], elapsed])[np.cumsum(count) - count]
    return turns.later(elapsed - np.repeat(before, count))


def _draw_alerts(rng: np.random.Generator, unanswered: Contacts, turns: Contacts) -> tuple[Contacts, Ints]:
    calls = unanswered.select(rng.random(len(unanswered)) < _ALERTED_CALL_SHARE)
    words = turns.select(rng.random(len(turns)) < _ALERTED_TURN_SHARE)
    alerts = calls.later(event_columns.seconds(rng, len(calls), 25, 70)).join(
        words.later(event_columns.seconds(rng, len(words), 1, 5))
    )
    word_type = 1 + (rng.random(len(words)) < 0.25)
    return alerts, np.concatenate([np.zeros(len(calls), dtype=np.int64), word_type])
