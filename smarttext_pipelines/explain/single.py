"""One message or one call: every row in order, and what it amounts to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import day_of
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.core.statuses import PLACEHOLDER_SIDS, RANK, STATUS_CLASS, UNKNOWN, counted_code
from smarttext_pipelines.explain.column import Row, find_replies, told_call, window_of

_MESSAGE = text(
    """
    SELECT created_at AS at, status, error_code AS code, is_report AS "from Twilio", sender, recipient AS "to",
           request_id
    FROM monitoring.message_rows WHERE message_sid = :sid ORDER BY created_at, status
    """
)
_CALL = text(
    """
    SELECT ts AS at, event_type AS event, call_status AS status, caller, called
    FROM monitoring.call_rows WHERE call_sid = :sid ORDER BY ts, event_type
    """
)


@dataclass(frozen=True)
class Explained:
    """Rows in order of time, and what they amount to in a sentence each."""

    rows: list[Row]
    sentences: list[str]


def explain_message(connection: Connection, sid: str) -> Explained:
    """Return the rows of a message, its outcome, class, who acts and the next step; InputError for an unknown sid."""
    if sid in PLACEHOLDER_SIDS:
        msg = f"{sid} stands where there is no sid, and so for no one message"
        raise InputError(msg)
    rows = [dict(row) for row in connection.execute(_MESSAGE, {"sid": sid}).mappings()]
    if not rows:
        msg = f"no row names the message {sid}"
        raise InputError(msg)

    def rank(row: Row) -> tuple[int, str]:
        return RANK.get(row["status"], 0), row["status"] if row["status"] in RANK else UNKNOWN

    status = max(map(rank, rows))[1]
    status_class = STATUS_CLASS[status]
    sentences = [
        f"It counts as {status} ({status_class.replace('_', ' ')}): the status of the highest rank, in any order."
    ]
    if status_class == "failed":
        code = max((rank(row)[0], *_weighed(row["code"])) for row in rows)[2].decode()
        found = class_of(code or None)
        sentences += [f"Why: {found.reason} ({code or 'no code'}, {found.name}). Who acts: {found.who}."]
        sentences += [f"Next step: {found.next_step}."]
    return Explained(rows, sentences)


def _weighed(code: str | None) -> tuple[int, bytes]:
    weight, counted = counted_code(code)
    return weight, counted.encode()


def explain_call(
    connection: Connection,
    sid: str,
    *,
    zone: ZoneInfo,
    settle_days: int,
    now: datetime,
    reply_minutes: int,
    shared_senders: Sequence[str] = (),
) -> Explained:
    """Return the rows of a call and, if it was missed, why it counts as answered or not.

    Raises:
        InputError: No row names the call.
    """
    rows = [dict(row) for row in connection.execute(_CALL, {"sid": sid}).mappings()]
    dated = [row["at"] for row in rows if row["at"] is not None]
    if not dated:
        msg = f"no row with a time names the call {sid}"
        raise InputError(msg)
    window = window_of(day_of(min(dated), zone), zone, settle_days, now, reply_minutes)
    found = [row for row in find_replies(connection, window, shared_senders) if row["key"] == f"cs{sid}"]
    if not found and any(row["event"] == "voice.missed" for row in rows):
        return Explained(rows, ["Many rows share this sid, so each of them counts as a call of its own."])
    if not found:
        return Explained(rows, ["It was not missed, so nothing was promised."])
    told = told_call(found[0])
    wait = f", {found[0]['wait_ms'] / 1000:.0f} s after it was missed" if found[0]["wait_ms"] is not None else ""
    return Explained(rows, [f"It counts as {told['state']}{wait}: {told['why']}. In time is {reply_minutes} min."])
