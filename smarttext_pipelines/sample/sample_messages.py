"""The rows of ``sms_events``: each text by its sender and again by the caller, then the reports that arrive."""

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarttext_pipelines.core.statuses import OWNER_REQUEST_SUFFIX, PLACEHOLDER_SIDS, REPORT_REQUEST_ID
from smarttext_pipelines.sample import event_columns, outcomes
from smarttext_pipelines.sample.conversations import Contacts, Conversations
from smarttext_pipelines.sample.event_columns import Bools, Column, Ints
from smarttext_pipelines.sample.event_files import UNDATED_SHARE, event_table
from smarttext_pipelines.sample.outcomes import Outcomes, draw_outcomes
from smarttext_pipelines.sample.profiles import businesses_of
from smarttext_pipelines.sample.spec import HOUR_US, SampleSpec, day_stream

_INTERIM_SHARE, _DISORDERED_SHARE, _REPEATED_SHARE, _LATER_SHARE = 0.35, 0.06, 0.04, 0.02
_SECOND_RECORD_SHARE, _LOGGED_INBOUND_SHARE = 0.98, 0.08


@dataclass(frozen=True)
class Messages:
    """One element per text that a business sends: first texts, replies, then texts to the owner."""

    texts: Contacts
    to_owner: Bools
    sid: Column
    request_id: Column
    outcome: Outcomes
    to_number: Column
    body_length: Ints


class _Rows(NamedTuple):
    """Rows about texts (index into Messages)."""

    text: Ints
    at: Ints
    status: Ints
    code: Ints
    names_business: bool = False
    is_report: bool = False


def draw_messages(spec: SampleSpec, day: date, talks: Conversations) -> Messages:
    """Return the texts that begin on a day."""
    rng = day_stream(spec, day, 2)
    texts = talks.first_texts.join(talks.replies, talks.alerts)
    rows, owners = len(texts), len(talks.alerts)
    to_owner = np.arange(rows) >= rows - owners
    outcome = draw_outcomes(spec, rng, texts)
    # In the order of HANDED_OVER, REFUSED, LIMITED, SKIPPED.
    sid = pc.choose(pa.array(outcome.kind), event_columns.tokens(rng, rows, "SM"), "", PLACEHOLDER_SIDS[0], "")
    request = event_columns.tokens(rng, rows, "req_", 8)
    owner_number = businesses_of(spec).owner_phone.take(pa.array(texts.business[to_owner]))
    return Messages(
        texts=texts,
        to_owner=to_owner,
        sid=sid,
        request_id=pc.binary_join_element_wise(
            request, event_columns.pick(("", OWNER_REQUEST_SUFFIX), to_owner * 1), ""
        ),
        outcome=outcome,
        to_number=pa.concat_arrays([event_columns.phones(texts.customer[~to_owner]), owner_number]),
        body_length=rng.integers(24, 150, rows),
    )


def message_rows(spec: SampleSpec, day: date, talks: Conversations, messages: Messages) -> pa.Table:
    """Return the rows of the texts, and of the inbound texts that were logged here as well."""
    rng = day_stream(spec, day, 3)
    parts = [*_records(rng, messages), *_reports(rng, messages)]
    text, at, status, code = (np.concatenate([part[n] for part in parts]) for n in range(4))
    names, report = (np.repeat([part[n] for part in parts], [len(part.text) for part in parts]) for n in (4, 5))
    index, business = pa.array(text), messages.texts.business[text]
    all_, rows = businesses_of(spec), len(text)
    payload = pc.binary_join_element_wise('{"sid": "', messages.sid, '", "num_segments": "1"}', "")
    described = ~names & (messages.outcome.kind == outcomes.HANDED_OVER)[text]
    sent = event_table(
        rng,
        business,
        at,
        {
            "message_sid": messages.sid.take(index),
            "from_number": all_.sending_phone.take(pa.array(business)),
            "to_number": messages.to_number.take(index),
            "business_id": all_.ids.take(pa.array(business, mask=~names)),
            "status": event_columns.pick(outcomes.STATUSES, status),
            "error_code": event_columns.pick(outcomes.CODES, code),
            "error_message": event_columns.pick(outcomes.MESSAGES, code),
            "request_id": pc.if_else(pa.array(report), REPORT_REQUEST_ID, messages.request_id.take(index)),
            "body_length": pa.array(messages.body_length[text], mask=report),
            "created_at": event_columns.instants(at, rng.random(rows) < UNDATED_SHARE),
            "payload": pc.if_else(pa.array(described), payload.take(index), "{}"),
        },
    )
    return pa.concat_tables([sent, _received(spec, rng, talks)])


def _records(rng: np.random.Generator, messages: Messages) -> tuple[_Rows, _Rows]:
    """Return the row of the sender, without a business, and that of the caller, which owner texts do not have."""
    outcome, at = messages.outcome, messages.texts.at
    everything = np.arange(len(at))
    twice = np.flatnonzero(~messages.to_owner & (rng.random(len(at)) < _SECOND_RECORD_SHARE))
    soon = event_columns.seconds(rng, len(twice), 0.005, 0.08)
    return (
        _Rows(everything, at, outcome.recorded_status, outcome.recorded_code),
        _Rows(
            twice,
            at[twice] + soon,
            outcome.recorded_status[twice],
            outcome.recorded_code[twice],
            names_business=True,
        ),
    )


def _reports(rng: np.random.Generator, messages: Messages) -> tuple[_Rows, ...]:
    """Return the reports: some in two steps and disordered, some repeated, some copied by the application."""
    outcome, u = messages.outcome, rng.random(len(messages.texts))
    final = np.flatnonzero(outcome.reported)
    at = messages.texts.at + outcome.delay
    interim = np.flatnonzero(outcome.reported & (rng.random(len(u)) < _INTERIM_SHARE))
    early = messages.texts.at[interim] + (outcome.delay[interim] * rng.uniform(0.1, 0.9, len(interim))).astype(np.int64)
    tardy = at[interim] + event_columns.seconds(rng, len(interim), 0.1, 90)
    disordered = rng.random(len(interim)) < _DISORDERED_SHARE
    again = np.flatnonzero(outcome.reported & (u < _REPEATED_SHARE))
    prompt = outcome.delay < HOUR_US
    later = np.flatnonzero(outcome.reported & prompt & (u > 1 - _LATER_SHARE))
    return (
        _Rows(final, at[final], outcome.final_status[final], outcome.final_code[final], is_report=True),
        _Rows(
            interim,
            np.where(disordered, tardy, early),
            np.full(len(interim), outcomes.SENT),
            np.full(len(interim), outcomes.NO_CODE),
            is_report=True,
        ),
        _Rows(
            again,
            at[again] + event_columns.seconds(rng, len(again), 1, 6 * 3600),
            outcome.final_status[again],
            outcome.final_code[again],
            is_report=True,
        ),
        _Rows(
            later,
            at[later] + event_columns.seconds(rng, len(later), 60, 3600),
            outcome.final_status[later],
            outcome.final_code[later],
        ),
    )


def _received(spec: SampleSpec, rng: np.random.Generator, talks: Conversations) -> pa.Table:
    which = np.flatnonzero(rng.random(len(talks.turns)) < _LOGGED_INBOUND_SHARE)
    texts, rows = talks.turns.select(which), len(which)
    all_ = businesses_of(spec)
    business = pa.array(texts.business)
    at = texts.at + event_columns.seconds(rng, rows, 0.01, 0.2)
    return event_table(
        rng,
        texts.business,
        at,
        {
            "message_sid": talks.turn_sid.take(pa.array(which)),
            "from_number": event_columns.phones(texts.customer),
            "to_number": all_.sending_phone.take(business),
            "business_id": all_.ids.take(business),
            "status": event_columns.constant(outcomes.RECEIVED, rows),
            "error_code": event_columns.nothing(rows),
            "error_message": event_columns.nothing(rows),
            "request_id": event_columns.nothing(rows),
            "body_length": pa.array(rng.integers(2, 90, rows)),
            "created_at": event_columns.instants(at),
            "payload": event_columns.constant("{}", rows),
        },
    )
