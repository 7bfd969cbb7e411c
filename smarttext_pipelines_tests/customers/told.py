"""Events of one recipient and two senders, and a reference of whom not to text, ten lines long."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from smarttext_pipelines_tests.strategies import BUSINESS_IDS, Events, business, call_event, events, sms_event

RECIPIENT = "+15557654321"
SENDERS = ("+15550001000", "+15550002000")
BEGIN = datetime(2026, 3, 16, 12, tzinfo=UTC)
WORDS = {"stop": ("STOP", " stop\n", "StopAll", "Quit"), "start": ("START", "unstop ", "Yes"), "chat": ("STOP it", "")}
OUT, IN = ("stop", "refused"), ("start", "delivered")
TEXTS = ("refused", "delivered", "sent", "failed")


class Move(NamedTuple):
    """Something between the recipient and a sender, at a minute."""

    minute: int
    kind: str
    sender: int

    @property
    def at(self) -> datetime:
        return BEGIN + timedelta(minutes=self.minute)


def opted_out(moves: Iterable[Move]) -> dict[int, datetime]:
    """Return sender → since when the recipient is opted out of it; at one instant, to be out comes after to be in."""
    since: dict[int, datetime] = {}
    for move in sorted(moves, key=lambda m: (m.minute, m.kind in OUT)):
        if move.kind in OUT:
            since.setdefault(move.sender, move.at)
        elif move.kind in IN:
            since.pop(move.sender, None)
    return since


def in_spite(moves: list[Move]) -> dict[int, int]:
    """Return sender → texts that were attempted after an opt-out, where there are any."""
    sent = [m for m in moves if m.kind in TEXTS and m.sender in opted_out(o for o in moves if o.minute < m.minute)]
    return {sender: count for sender in (0, 1) if (count := sum(m.sender == sender for m in sent))}


def as_events(moves: list[Move], chance: Any) -> Events:
    """Return the rows that an application and Twilio's reports leave of them, spelled in many ways."""
    texts: list[dict[str, Any]] = []
    inbound: list[dict[str, Any]] = []
    spellings = (RECIPIENT, "+1 (555) 765-4321", "15557654321", "555.765.4321", f"whatsapp:{RECIPIENT}")
    for move in moves:
        ours = {"business_id": chance.choice((None, BUSINESS_IDS[move.sender]))}
        to, sender = chance.choice(spellings), chance.choice((SENDERS[move.sender], SENDERS[move.sender][1:]))
        if move.kind not in TEXTS:
            told = {chance.choice(("Body", "body")): chance.choice(WORDS[move.kind])}
            inbound += [{"at": move.at, "event_type": "sms.inbound", "from_number": to, "to_number": sender,
                         "payload": told, **ours}] * chance.choice((1, 2))  # fmt: skip
            continue
        text = {"from_number": sender, "to_number": to, "message_sid": f"SM{uuid4().hex}", **ours}
        late = move.at + timedelta(minutes=chance.choice((0, 3, 4000)))
        report = {**text, "at": late, "business_id": None, "request_id": "twilio-report"}
        rows = {
            "refused": [{**text, "at": move.at, "status": "failed", "error_code": "Error 21610", "message_sid": ""}],
            "delivered": [{**text, "at": move.at}, {**report, "status": "Delivered"}],
            "sent": [{**text, "at": move.at, "status": "sent"}],
            "failed": [{**text, "at": move.at}, {**report, "status": "undelivered", "error_code": "30007"}],
        }
        texts += rows[move.kind]
    chance.shuffle(texts)
    return events(
        businesses=[business(n + 1, twilio_phone=sender) for n, sender in enumerate(SENDERS)],
        sms_events=[sms_event(n, row.pop("at"), **row) for n, row in enumerate(map(dict, texts))],
        call_events=[call_event(n, row.pop("at"), **row) for n, row in enumerate(map(dict, inbound))],
    )
