"""The messages of a month, one row each, for the reconciliation with Twilio's list."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.explain.behind_texts import found_texts, is_of
from smarttext_pipelines.explain.near import Kind, NearEngine, Wanted
from smarttext_pipelines.explain.single import Reading
from smarttext_pipelines.metrics import Window

_PAID = text(
    """
    SELECT sid, max(price) AS price, max(segments) AS segments
    FROM monitoring.message_prices(CAST(:sids AS text[])) GROUP BY sid
    """
)


@dataclass(frozen=True)
class MonthMessage:
    """One message as it counts.

    Attributes:
        sid: Twilio's sid; empty for a message that never had one.
        at: First row.
        audience: ``customer`` or ``owner``.
        status: As in the data contract.
        error_code: Twilio's code; empty for none.
        segments: Parts that Twilio charges for; None where nobody recorded it.
        price_usd: Recorded price; None where there is none.
        business_id: Business; None for none.
    """

    sid: str
    at: datetime
    audience: str
    status: str
    error_code: str
    segments: int | None
    price_usd: Decimal | None
    business_id: UUID | None


def days_of_month(month: date, last: date) -> DayRange:
    """Return the days of a month up to a day."""
    following = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    return DayRange(month.replace(day=1), min(date.fromordinal(following.toordinal() - 1), max(last, month)))


def read_month_messages(
    connection: Connection, days: DayRange, reading: Reading, *, business: UUID | None = None, is_all: bool = False
) -> list[MonthMessage]:
    """Return every message attempted in some days, in order of time.

    Args:
        connection: In a transaction.
        days: The days.
        reading: How answers are read.
        business: A business; None for what has none.
        is_all: Every business.
    """
    kind = Kind.all if is_all else Kind.none if business is None else Kind.business
    window = Window(days, reading.zone, reading.settle_days, reading.now, reply_minutes=reading.reply_minutes)
    wanted = Wanted(kind, window, business, shared_senders=reading.shared_senders)
    engine = NearEngine(connection, wanted)
    rows = [row for row in found_texts(engine, wanted) if is_of(row["business_id"], wanted)]
    sids = [row["key"][1:] for row in rows if row["key"].startswith("s")]
    paid = {row.sid: row for row in connection.execute(_PAID, {"sids": sids})}
    return list(_told(rows, paid))


def _told(rows: list[dict[str, Any]], paid: dict[str, Any]) -> Iterator[MonthMessage]:
    for row in rows:
        sid = row["key"][1:] if row["key"].startswith("s") else ""
        found = paid.get(sid)
        yield MonthMessage(
            sid,
            row["first_at"],
            row["audience"],
            row["status"],
            row["error_code"] or "",
            found.segments if found else None,
            found.price if found else None,
            row["business_id"],
        )
