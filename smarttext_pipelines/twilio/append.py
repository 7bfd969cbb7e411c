"""Appends what Twilio reports: a row of ``sms_events`` for a new outcome, a row of ``api_usage`` for a price.

Ids are derived from what a row says, so a repeated report is stored once. Numbers are copied from the message's own
rows, so that a report moves no message to another business. A page with a row that a table refuses is written row by
row: the refused ones are kept (``refused_rows``), the others are written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from smarttext_pipelines.core.errors import SchemaError
from smarttext_pipelines.core.statuses import REPORT_REQUEST_ID
from smarttext_pipelines.twilio.poll import Report
from smarttext_pipelines.twilio.refused_rows import PRICE_ROWS, STATUS_ROWS, write_each

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
        FROM monitoring.sms_events AS e WHERE e.message_sid = ANY (CAST(:sids AS text[])) GROUP BY e.message_sid
    )
    SELECT monitoring.add_sms_events(jsonb_agg(jsonb_build_object(
        'id', md5('twilio-report:' || t.sid || ':' || t.status || ':' || t.error_code)::uuid, 'message_sid', t.sid,
        'from_number', k.from_number, 'to_number', k.to_number, 'status', t.status,
        'error_code', nullif(t.error_code, ''), 'request_id', CAST(:request_id AS text),
        'created_at', CAST(:now AS timestamptz),
        'payload', jsonb_build_object('source', 'twilio', 'num_segments', nullif(t.segments, '')))))
    FROM told AS t JOIN known AS k USING (sid)
    WHERE t.status || ':' || t.error_code <> ALL (k.said)
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
        FROM monitoring.sms_events AS e WHERE e.message_sid = ANY (CAST(:sids AS text[])) GROUP BY e.message_sid
    )
    SELECT monitoring.add_api_usage(jsonb_agg(jsonb_build_object(
        'id', md5('twilio-price:' || t.sid)::uuid, 'service', CAST(:service AS text),
        'endpoint', CAST(:endpoint AS text), 'business_id', coalesce(
            k.business,
            (SELECT min(a.business_id::text COLLATE "C") FROM monitoring.owner_alerts AS a WHERE a.message_sid = t.sid),
            (SELECT min(b.id::text) FROM monitoring.businesses AS b
             WHERE b.twilio_phone = k.sender AND k.sender <> ALL (CAST(:shared AS text[])) HAVING count(*) = 1)),
        'tokens_used', 0, 'cost_estimate', t.price, 'created_at', coalesce(k.first_at, :now),
        'reset_date', monitoring.usage_date(k.first_at), 'request_id', t.sid,
        'metadata', '{"source": "twilio"}'::jsonb)))
    FROM told AS t JOIN known AS k USING (sid)
    """
)
# Messages that nobody recorded, except the alerts of this pipeline, which are only in the outbox.
_UNNAMED = text(
    """
    SELECT count(*) FROM unnest(CAST(:sids AS text[])) AS t (sid)
    WHERE NOT EXISTS (SELECT FROM monitoring.sms_events AS e WHERE e.message_sid = t.sid)
        AND NOT EXISTS (SELECT FROM monitoring.notifications AS n WHERE n.provider_id = t.sid)
    """
)


_VIEWS = text(
    "SELECT relname FROM pg_class WHERE oid IN (to_regclass('public.sms_events'), to_regclass('public.api_usage'))"
    " AND relkind NOT IN ('r', 'p') ORDER BY relname"
)
# The id is no key alone in a partitioned table, so that two runs at once would both see no such row.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('smarttext:reports', 0))")


@dataclass(frozen=True)
class Appended:
    """Rows that were written, and those that could not be."""

    statuses: int
    prices: int
    other_currency: int
    refused: int = 0


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
    connection.execute(_ONE_AT_A_TIME)

    def add_statuses(some: Sequence[Report]) -> int:
        values = {
            "sids": [r.sid for r in some],
            "statuses": [r.status for r in some],
            "errors": [r.error_code for r in some],
            "segments": [r.segments for r in some],
        }
        return connection.scalar(_STATUSES, {**values, "request_id": REPORT_REQUEST_ID, "now": now}) or 0

    def add_prices(some: Sequence[Report]) -> int:
        values = {"sids": [r.sid for r in some], "prices": [r.price for r in some], "shared": list(shared_senders)}
        named = {"service": PRICED_SERVICE, "endpoint": PRICED_ENDPOINT, "now": now}
        return connection.scalar(_PRICES, {**values, **named}) or 0

    priced = [r for r in reports if r.price is not None]
    ours = [r for r in priced if r.price_unit == CURRENCY]
    told = [r for r in reports if r.status]
    statuses, refused = write_each(connection, STATUS_ROWS, told, add_statuses, now)
    prices, unpaid = write_each(connection, PRICE_ROWS, ours, add_prices, now)
    return Appended(statuses, prices, len(priced) - len(ours), refused + unpaid)


def require_tables(connection: Connection) -> None:
    """Raise SchemaError where a view replaces a table that reports are written into."""
    views = [f"public.{name}" for name in connection.execute(_VIEWS).scalars()]
    if views:
        msg = f"{', '.join(views)} is a view: what Twilio says cannot be written into it"
        raise SchemaError(msg)


def count_unnamed(connection: Connection, sids: Sequence[str]) -> int:
    """Return how many of the sids no row names."""
    return int(connection.scalar(_UNNAMED, {"sids": list(sids)}) or 0)
