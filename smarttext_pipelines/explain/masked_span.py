"""An engine over the events of a span in which numbers are masked, for who may not read events."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines.engines import PostgresEngine
from smarttext_pipelines.explain.near import Kind, NearEngine, Wanted, usage_engine
from smarttext_pipelines.metrics import Window

_SENDERS = text(
    """
    SELECT twilio_phone FROM pg_temp.near_businesses
    WHERE id IN (SELECT monitoring.businesses_of_sender(:sender)) AND twilio_phone <> ''
    UNION
    -- Masked numbers are in the order of the numbers.
    SELECT m.number FROM (
        SELECT number, row_number() OVER (ORDER BY number COLLATE "C") AS place
        FROM (SELECT DISTINCT number FROM pg_temp.near_senders) AS d) AS m
    JOIN (SELECT n, row_number() OVER (ORDER BY n COLLATE "C") AS place
          FROM (SELECT DISTINCT n FROM unnest(CAST(:shared AS text[])) AS u (n)) AS d) AS s USING (place)
    WHERE 'sender:' || left(md5(s.n), 12) = :sender
    """
)


def masked_engine(
    connection: Connection,
    events: str,
    start_at: datetime,
    end_at: datetime,
    *,
    zone: ZoneInfo,
    settle_days: int,
    reply_minutes: int,
    business: UUID | None = None,
    shared_senders: Sequence[str] = (),
    sender: str = "",
) -> tuple[PostgresEngine, Sequence[str]]:
    """Return an engine over every event that an answer about a span may need, and the masked numbers of a sender.

    Args:
        connection: In a transaction.
        events: texts, calls (with the texts to their callers), owner_alerts or usage.
        start_at: First instant.
        end_at: First instant after the span.
        zone: Reporting zone.
        settle_days: Days around a day in which rows of its messages are looked for.
        reply_minutes: Minutes within which a missed call should get a text.
        business: Whose; all by default.
        shared_senders: Numbers that identify no business.
        sender: Scope of the sender that is asked for; empty for none.
    """
    days = DayRange(day_of(start_at, zone), day_of(end_at, zone))
    window = Window(days, zone, settle_days, end_at, reply_minutes=reply_minutes)
    kind = Kind.business if business else Kind.all
    wanted = Wanted(kind, window, business, wants_replies=events == "calls", shared_senders=shared_senders)
    if events == "usage":
        return usage_engine(connection, wanted)[0], ()
    engine = NearEngine(connection, wanted)
    values = {"sender": sender, "shared": list(shared_senders)}
    return engine, list(connection.scalars(_SENDERS, values)) if sender else ()
