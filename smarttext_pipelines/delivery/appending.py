"""Appending what Twilio says: a row of ``sms_events`` for a new outcome, a row of ``api_usage`` for a price.

Ids are derived from what a row says, so whatever is told twice is there once. Numbers are copied from the message's own
rows, so that a report moves no message to another business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from smarttext_pipelines.core.statuses import REPORT_REQUEST_ID
from smarttext_pipelines.delivery.asking import Report

PRICED_SERVICE, PRICED_ENDPOINT = "twilio", "sms"
CURRENCY = "USD"

_STATUSES = text(
    """
    WITH told AS (
        SELECT * FROM unnest(CAST(:sids AS text[]), CAST(:statuses AS text[]), CAST(:errors AS text[]),
                             CAST(:segments AS text[])) AS t (sid, status, error_code, segments)
        WHERE status <> ''
    ), known AS (
        SELECT e.message_sid AS sid, min(e.from_number COLLATE "C") AS from_number,
               min(e.to_number COLLATE "C") AS to_number,
               array_agg(lower(e.status) || ':' || coalesce(e.error_code, '')) AS said
        FROM public.sms_events AS e WHERE e.message_sid = ANY (CAST(:sids AS text[])) GROUP BY e.message_sid
    )
    INSERT INTO public.sms_events
        (id, message_sid, from_number, to_number, status, error_code, request_id, created_at, payload)
    SELECT md5('twilio-report:' || t.sid || ':' || t.status || ':' || t.error_code)::uuid, t.sid, k.from_number,
           k.to_number, t.status, nullif(t.error_code, ''), :request_id, :now,
           jsonb_build_object('source', 'twilio', 'num_segments', nullif(t.segments, ''))
    FROM told AS t JOIN known AS k USING (sid)
    WHERE t.status || ':' || t.error_code <> ALL (k.said)
    ON CONFLICT (id) DO NOTHING
    """
)
# The message's business and day, as in the data contract.
_PRICES = text(
    """
    WITH told AS (
        SELECT * FROM unnest(CAST(:sids AS text[]), CAST(:prices AS numeric[])) AS t (sid, price)
    ), known AS (
        SELECT e.message_sid AS sid, min(e.created_at) AS first_at, min(e.business_id::text COLLATE "C") AS business,
               min(nullif(e.from_number, '') COLLATE "C") AS sender
        FROM public.sms_events AS e WHERE e.message_sid = ANY (CAST(:sids AS text[])) GROUP BY e.message_sid
    )
    INSERT INTO public.api_usage
        (id, service, endpoint, business_id, tokens_used, cost_estimate, created_at, reset_date, request_id, metadata)
    SELECT md5('twilio-price:' || t.sid)::uuid, :service, :endpoint,
           coalesce(k.business,
                    (SELECT min(a.business_id::text COLLATE "C") FROM public.owner_alerts AS a
                     WHERE a.message_sid = t.sid),
                    (SELECT min(b.id::text) FROM public.businesses AS b
                     WHERE b.twilio_phone = k.sender AND k.sender <> ALL (CAST(:shared AS text[])) HAVING count(*) = 1)
           )::uuid,
           0, t.price, coalesce(k.first_at, :now), monitoring.usage_date(k.first_at), t.sid,
           '{"source": "twilio"}'::jsonb
    FROM told AS t JOIN known AS k USING (sid)
    ON CONFLICT (id) DO NOTHING
    """
)
# What nobody recorded, but for the alerts of this pipeline, which stand in the outbox alone.
_UNNAMED = text(
    """
    SELECT count(*) FROM unnest(CAST(:sids AS text[])) AS t (sid)
    WHERE NOT EXISTS (SELECT FROM public.sms_events AS e WHERE e.message_sid = t.sid)
        AND NOT EXISTS (SELECT FROM monitoring.notifications AS n WHERE n.provider_id = t.sid)
    """
)


@dataclass(frozen=True)
class Appended:
    """Rows that were written, and what could not be."""

    statuses: int
    prices: int
    other_currency: int


def append_reports(
    connection: Connection, reports: Sequence[Report], *, now: datetime, shared_senders: Sequence[str]
) -> Appended:
    """Append what is new in the reports, all of messages that a row names.

    Args:
        connection: In a transaction.
        reports: What Twilio said.
        now: Time of the fetch.
        shared_senders: Numbers that identify no business.
    """
    statuses = connection.execute(
        _STATUSES,
        {
            "sids": [r.sid for r in reports],
            "statuses": [r.status for r in reports],
            "errors": [r.error_code for r in reports],
            "segments": [r.segments for r in reports],
            "request_id": REPORT_REQUEST_ID,
            "now": now,
        },
    ).rowcount
    priced = [r for r in reports if r.price is not None]
    ours = [r for r in priced if r.price_unit == CURRENCY]
    prices = connection.execute(
        _PRICES,
        {
            "sids": [r.sid for r in ours],
            "prices": [r.price for r in ours],
            "service": PRICED_SERVICE,
            "endpoint": PRICED_ENDPOINT,
            "shared": list(shared_senders),
            "now": now,
        },
    ).rowcount
    return Appended(statuses, prices, len(priced) - len(ours))


def count_unnamed(connection: Connection, sids: Sequence[str]) -> int:
    """Return how many of the sids no row names."""
    return int(connection.scalar(_UNNAMED, {"sids": list(sids)}) or 0)
