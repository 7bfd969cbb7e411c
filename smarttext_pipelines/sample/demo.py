"""A scripted incident for ``smarttext up``: texts of one business are filtered, then delivered after all.

Ninety seconds after the start a third of a business's texts has failed; three minutes later they are reported as
delivered. With the shipped rules that opens an incident about three minutes after the start, and resolves it five
minutes after that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import Connection, insert, select

from smarttext_pipelines.database.connect import connected, open_engine
from smarttext_pipelines.sample.profiles import SHARED_SENDER
from smarttext_pipelines.schema.tables.source_tables import businesses, sms_events

FAILS_AFTER = timedelta(seconds=90)
MENDS_AFTER = timedelta(seconds=270)
_SPREAD = timedelta(minutes=10)
_TEXTS, _FAILED = 61, 23
_CUSTOMERS = 34


@dataclass(frozen=True)
class _Text:
    business: UUID
    sender: str
    begun: datetime
    number: int

    @property
    def has_failed(self) -> bool:
        return self.number < _FAILED

    def row(self, part: str, **columns: Any) -> dict[str, Any]:
        mark = f"demo {self.begun.isoformat()} {self.number}"
        return {
            "id": uuid5(NAMESPACE_URL, f"{mark} {part}"),
            "message_sid": "SM" + uuid5(NAMESPACE_URL, mark).hex,
            "from_number": self.sender,
            "to_number": f"+1555{2_000_000 + self.number % _CUSTOMERS}",
            "business_id": self.business if part == "attempt" else None,
            "body_length": 120,
            "payload": {},
            **columns,
        }


def play_incident(url: str, now: Callable[[], datetime], wait: Callable[[float], bool]) -> None:
    """Let the incident happen, from now on; ends early when ``wait`` returns true."""
    begun = now()
    if wait(FAILS_AFTER.total_seconds()):
        return
    with connected(open_engine(url)) as connection, connection.begin():
        texts = _texts(connection, begun)
        connection.execute(insert(sms_events), [row for text in texts for row in _attempt(text, now())])
    if wait((MENDS_AFTER - FAILS_AFTER).total_seconds()):
        return
    with connected(open_engine(url)) as connection, connection.begin():
        mended = [_report(text, "mended", "delivered", None, now()) for text in texts if text.has_failed]
        connection.execute(insert(sms_events), mended)


def _texts(connection: Connection, begun: datetime) -> list[_Text]:
    quiet = select(businesses.c.id, businesses.c.twilio_phone).where(businesses.c.twilio_phone != SHARED_SENDER)
    business, sender = connection.execute(quiet.order_by(businesses.c.name).limit(1)).one()
    return [_Text(business, sender, begun, number) for number in range(_TEXTS)]


def _attempt(text: _Text, at: datetime) -> list[dict[str, Any]]:
    sent_at = at - _SPREAD * text.number / _TEXTS
    attempt = text.row(
        "attempt", status="queued", error_code=None, request_id=f"demo-{text.number}", created_at=sent_at
    )
    status, code = ("undelivered", "30007") if text.has_failed else ("delivered", None)
    return [attempt, _report(text, "report", status, code, at)]


def _report(text: _Text, part: str, status: str, code: str | None, at: datetime) -> dict[str, Any]:
    return text.row(part, status=status, error_code=code, request_id="twilio-report", created_at=at)
