"""The rows of ``api_usage``: one per reply that a model wrote, some texts, and the markers of the daily reset."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarttext_pipelines.core.statuses import RESET_ENDPOINT
from smarttext_pipelines.sample import event_columns, outcomes, planted_incidents
from smarttext_pipelines.sample.conversations import Conversations
from smarttext_pipelines.sample.event_columns import Column, Ints
from smarttext_pipelines.sample.event_files import NO_BUSINESS, UNDATED_SHARE, event_table
from smarttext_pipelines.sample.profiles import businesses_of
from smarttext_pipelines.sample.sample_messages import Messages
from smarttext_pipelines.sample.spec import SECOND_US, SampleSpec, day_stream, day_us
from smarttext_pipelines.sample.volume import marker_count

_MODELS = ("gpt-4o-mini", "gpt-4o", "ft:gpt-4o-mini:smarttext")
_MODEL_WEIGHTS = (0.91, 0.085, 0.005)
_USD_PER_MILLION_TOKENS = np.array([0.24, 4.0, 0.0])
"""Four prompt tokens for each answered one, at $0.15/$0.60 and $2.50/$10.00; nobody knew the tuned model's price."""

_TWILIO_SHARE, _TWILIO_MICROS = 0.2, 7_900
_UNPRICED_SHARE, _NO_TOKENS_SHARE, _NO_RESET_DATE_SHARE, _NO_TIME_SHARE = 0.035, 0.004, 0.006, 0.001
_UNATTRIBUTED_SHARE = 0.02


def usage_rows(spec: SampleSpec, day: date, talks: Conversations, messages: Messages) -> pa.Table:
    """Return the usage that begins on a day."""
    rng = day_stream(spec, day, 4)
    return pa.concat_tables(
        [
            _openai(spec, rng, talks, messages),
            _twilio(spec, rng, messages),
            _markers(spec, rng, day),
        ]
    )


def _openai(spec: SampleSpec, rng: np.random.Generator, talks: Conversations, messages: Messages) -> pa.Table:
    rows = len(talks.replies)
    business, at = talks.replies.business, talks.replies.at - event_columns.seconds(rng, rows, 0.1, 1)
    model = event_columns.draw_index(rng, rows, _MODEL_WEIGHTS)
    used = np.clip(650 * np.exp(0.5 * rng.standard_normal(rows)), 60, 8_000).astype(np.int64)
    spike = planted_incidents.spend_spike(spec).covers(business, at)
    model = np.where(spike, _MODELS.index(planted_incidents.SPIKE_MODEL), model)
    used = np.where(spike, used * planted_incidents.SPIKE_FACTOR, used)
    u = rng.random(rows)
    unpriced = ~spike & (u < _UNPRICED_SHARE)
    no_tokens = u > 1 - _NO_TOKENS_SHARE
    micros = np.where(unpriced, 0, np.ceil(used * _USD_PER_MILLION_TOKENS[model]).astype(np.int64))
    cost = pc.if_else(pa.array(no_tokens | (unpriced & (u < _UNPRICED_SHARE / 2))), None, event_columns.usd(micros))
    first = len(talks.first_texts)
    return event_table(
        rng,
        business,
        at,
        {
            "service": event_columns.constant("openai", rows),
            "endpoint": event_columns.constant("chat.completions", rows),
            "business_id": _business_ids(spec, rng, business),
            "tokens_used": pa.array(used, mask=no_tokens),
            "cost_estimate": cost,
            "model": event_columns.pick(_MODELS, model),
            **_times(rng, at),
            "request_id": messages.request_id.slice(first, rows),
            "metadata": event_columns.constant('{"purpose": "reply"}', rows),
        },
    )


def _twilio(spec: SampleSpec, rng: np.random.Generator, messages: Messages) -> pa.Table:
    sent = (messages.outcome.kind == outcomes.HANDED_OVER) & ~messages.to_owner
    which = np.flatnonzero(sent & (rng.random(len(sent)) < _TWILIO_SHARE))
    texts, rows = messages.texts.select(which), len(which)
    at = texts.at + event_columns.seconds(rng, rows, 0.05, 0.3)
    return event_table(
        rng,
        texts.business,
        at,
        {
            "service": event_columns.constant("twilio", rows),
            "endpoint": event_columns.constant("messages", rows),
            "business_id": _business_ids(spec, rng, texts.business),
            "tokens_used": pa.array(np.zeros(rows, dtype=np.int64)),
            "cost_estimate": event_columns.usd(np.full(rows, _TWILIO_MICROS)),
            "model": event_columns.nothing(rows),
            **_times(rng, at),
            "request_id": messages.request_id.take(pa.array(which)),
            "metadata": event_columns.constant("{}", rows),
        },
    )


def _markers(spec: SampleSpec, rng: np.random.Generator, day: date) -> pa.Table:
    rows = marker_count(spec)
    at = day_us(day) + rng.integers(0, 20 * SECOND_US, rows)
    always = np.zeros(rows, dtype=np.bool_)
    return event_table(
        rng,
        np.full(rows, NO_BUSINESS),
        at,
        {
            "service": event_columns.constant("openai", rows),
            "endpoint": event_columns.constant(RESET_ENDPOINT, rows),
            "business_id": businesses_of(spec).ids.slice(0, rows),
            "tokens_used": pa.array(np.zeros(rows, dtype=np.int64)),
            "cost_estimate": event_columns.usd(np.zeros(rows, dtype=np.int64)),
            "model": event_columns.nothing(rows),
            "created_at": event_columns.instants(at),
            "reset_date": event_columns.utc_dates(at, always),
            "request_id": event_columns.nothing(rows),
            "metadata": event_columns.constant("{}", rows),
        },
    )


def _business_ids(spec: SampleSpec, rng: np.random.Generator, business: Ints) -> Column:
    return businesses_of(spec).ids.take(pa.array(business, mask=rng.random(len(business)) < _UNATTRIBUTED_SHARE))


def _times(rng: np.random.Generator, at: Ints) -> dict[str, Column]:
    """Return the time and the day of each row: a few have only one of them, fewer neither."""
    u = rng.random(len(at))
    undated = u < UNDATED_SHARE
    no_time = undated | (u > 1 - _NO_TIME_SHARE)
    no_day = undated | (rng.random(len(at)) < _NO_RESET_DATE_SHARE) & ~no_time
    return {"created_at": event_columns.instants(at, no_time), "reset_date": event_columns.utc_dates(at, no_day)}
