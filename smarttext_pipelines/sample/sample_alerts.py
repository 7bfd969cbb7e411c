"""The rows of ``owner_alerts``: which alerts owners got, and what the application recorded."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarttext_pipelines.sample import event_columns, outcomes
from smarttext_pipelines.sample.conversations import ALERT_TYPES, Conversations
from smarttext_pipelines.sample.event_files import UNDATED_SHARE, event_table
from smarttext_pipelines.sample.profiles import businesses_of
from smarttext_pipelines.sample.sample_messages import Messages
from smarttext_pipelines.sample.spec import SampleSpec, day_stream

_CONTENT = ("Sample alert: a call was missed.", "Sample alert: an urgent text.", "Sample alert: a keyword was found.")
_SOURCES = ("call_status", "model", "keyword")
_UNKNOWN_SHARE = 0.01


def alert_rows(spec: SampleSpec, day: date, talks: Conversations, messages: Messages) -> pa.Table:
    """Return the alerts that begin on a day; their texts are the last of the messages."""
    rng = day_stream(spec, day, 5)
    alerts, rows = talks.alerts, len(talks.alerts)
    first = len(messages.texts) - rows
    kind = messages.outcome.kind[first:]
    all_, business = businesses_of(spec), pa.array(alerts.business)
    at = alerts.at + event_columns.seconds(rng, rows, 0.05, 0.4)
    # Rate limited texts were handed over as far as the application can tell.
    delivered = (kind == outcomes.HANDED_OVER) | (kind == outcomes.LIMITED)
    sid = messages.sid.slice(first)
    return event_table(
        rng,
        alerts.business,
        at,
        {
            "business_id": all_.ids.take(business),
            "owner_phone": all_.owner_phone.take(business),
            "customer_phone": event_columns.phones(alerts.customer),
            "alert_type": event_columns.pick(ALERT_TYPES, talks.alert_type),
            "message_content": event_columns.pick(_CONTENT, talks.alert_type),
            "detection_source": event_columns.pick(_SOURCES, talks.alert_type),
            "message_sid": pc.if_else(pa.array(kind == outcomes.SKIPPED), None, sid),
            "delivered": event_columns.flags(delivered, (kind == 0) & (rng.random(rows) < _UNKNOWN_SHARE)),
            "error_message": event_columns.pick(
                outcomes.MESSAGES, np.where(delivered, outcomes.NO_CODE, messages.outcome.recorded_code[first:])
            ),
            "created_at": event_columns.instants(at, rng.random(rows) < UNDATED_SHARE),
        },
    )
