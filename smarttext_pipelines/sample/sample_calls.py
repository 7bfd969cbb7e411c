"""The rows of ``call_events``: several for one call, some of them equal, and the inbound texts among them."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarttext_pipelines.sample import event_columns
from smarttext_pipelines.sample.conversations import Conversations
from smarttext_pipelines.sample.event_columns import Bools, Column, Ints
from smarttext_pipelines.sample.event_files import UNDATED_SHARE, event_table
from smarttext_pipelines.sample.profiles import businesses_of
from smarttext_pipelines.sample.spec import SampleSpec, day_stream

_TYPES = ("voice.inbound", "voice.missed", "voice.test", "sms.inbound")
_INBOUND, _MISSED, _TEST, _TEXT = range(4)
_PAYLOADS = ('{"direction": "inbound"}',) * 3 + ('{"num_media": "0", "num_segments": "1"}',)
_STATUSES = ("completed", "ringing", "no-answer", "busy", "received")
_REPEATED_SHARE, _UNATTRIBUTED_SHARE, _NO_SID_SHARE = 0.025, 0.02, 0.002


def call_rows(spec: SampleSpec, day: date, talks: Conversations) -> pa.Table:
    """Return the rows of the calls and inbound texts that begin on a day."""
    rng = day_stream(spec, day, 1)
    contacts = talks.calls.join(talks.tests, talks.turns)
    sid = _sids(rng, talks)
    event, kind, status, delay = _webhooks(rng, talks)
    rows = len(event)
    business, at = contacts.business[event], contacts.at[event] + delay
    all_ = businesses_of(spec)
    called = pa.array(business)
    return event_table(
        rng,
        business,
        at,
        {
            "call_sid": sid.take(pa.array(event)),
            "from_number": event_columns.phones(contacts.customer).take(pa.array(event)),
            "to_number": pc.if_else(
                pa.array(kind == _TEXT), all_.sending_phone.take(called), all_.called_phone.take(called)
            ),
            "business_id": all_.ids.take(pa.array(business, mask=rng.random(rows) < _UNATTRIBUTED_SHARE)),
            "event_type": event_columns.pick(_TYPES, kind),
            "call_status": event_columns.pick(_STATUSES, status),
            "owner_notified": event_columns.flags((kind == _MISSED) & (rng.random(rows) < 0.9)),
            "ts": event_columns.instants(at, rng.random(rows) < UNDATED_SHARE),
            "payload": event_columns.pick(_PAYLOADS, kind),
        },
    )


def _sids(rng: np.random.Generator, talks: Conversations) -> Column:
    voice = event_columns.tokens(rng, len(talks.calls) + len(talks.tests), "CA")
    u = rng.random(len(voice))
    voice = pc.if_else(pa.array(u < _NO_SID_SHARE / 2), "", voice)
    voice = pc.if_else(pa.array(u > 1 - _NO_SID_SHARE / 2), None, voice)
    return pa.concat_arrays([voice, talks.turn_sid])


def _webhooks(rng: np.random.Generator, talks: Conversations) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the event, type, status and delay of each row."""
    calls, tests, turns = len(talks.calls), len(talks.tests), len(talks.turns)
    missed = np.flatnonzero(talks.missed)
    inbound = np.flatnonzero(~talks.missed | (rng.random(calls) < 0.9))
    parts: Sequence[tuple[Ints, int, Ints, Ints]] = (
        (inbound, _INBOUND, talks.missed[inbound].astype(np.int64), np.zeros(len(inbound), dtype=np.int64)),
        (missed, _MISSED, 2 + (rng.random(len(missed)) < 0.2), event_columns.seconds(rng, len(missed), 15, 22)),
        (calls + np.arange(tests), _TEST, np.zeros(tests, dtype=np.int64), np.zeros(tests, dtype=np.int64)),
        (calls + tests + np.arange(turns), _TEXT, np.full(turns, 4), np.zeros(turns, dtype=np.int64)),
    )
    event, status, delay = (np.concatenate([part[at] for part in parts]) for at in (0, 2, 3))
    kind = np.concatenate([np.full(len(part[0]), part[1]) for part in parts])
    again = _again(rng, len(event))
    # A webhook that is retried is often recorded within the same moment.
    retried = event_columns.seconds(rng, len(event), 0.2, 12) * (rng.random(len(event)) < 0.6)
    return (
        np.concatenate([event, event[again]]),
        np.concatenate([kind, kind[again]]),
        np.concatenate([status, status[again]]),
        np.concatenate([delay, (delay + retried)[again]]),
    )


def _again(rng: np.random.Generator, rows: int) -> Bools:
    return rng.random(rows) < _REPEATED_SHARE
