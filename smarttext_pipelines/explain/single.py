"""One message or one call: every row in order, and what it amounts to."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.core.statuses import PLACEHOLDER_SIDS, RANK, STATUS_CLASS, UNKNOWN, counted_code
from smarttext_pipelines.explain.behind_calls import find_call, told_call
from smarttext_pipelines.explain.behind_texts import found_texts
from smarttext_pipelines.explain.column import named
from smarttext_pipelines.explain.near import Kind, NearEngine, Span, Wanted, span_of
from smarttext_pipelines.metrics import Window

Row = dict[str, Any]

_MESSAGE = text(
    """
    SELECT created_at AS at, lower(status) AS status, error_code AS code,
           CASE WHEN request_id = 'twilio-report' THEN 'yes' ELSE '' END AS "from Twilio", from_number AS sender,
           to_number AS "to"
    FROM pg_temp.near_sms_events WHERE message_sid = :sid ORDER BY created_at, status
    """
)
_CALL = text(
    """
    SELECT ts AS at, event_type AS event, call_status AS status, from_number AS caller, to_number AS called
    FROM pg_temp.near_call_events WHERE call_sid = :sid ORDER BY ts, event_type
    """
)


@dataclass(frozen=True)
class Reading:
    """How answers are read.

    Attributes:
        zone: Reporting zone.
        settle_days: Days around a day in which rows of its messages and calls are looked for.
        now: Time of reading.
        reply_minutes: Minutes that count as in time.
        shared_senders: Numbers that identify no business.
        reveals: Whether numbers can be read.
    """

    zone: ZoneInfo
    settle_days: int
    now: datetime
    reply_minutes: int
    shared_senders: Sequence[str] = ()
    reveals: bool = False

    def window(self, first: datetime, last: datetime) -> Window:
        """Return the window of the days of two instants."""
        days = DayRange(day_of(first, self.zone), day_of(last, self.zone))
        return Window(days, self.zone, self.settle_days, self.now, reply_minutes=self.reply_minutes)


@dataclass(frozen=True)
class Explained:
    """Rows in order of time, the texts that were tried, and what it amounts to in a sentence each."""

    rows: list[Row]
    sentences: list[str]
    texts: list[Row] = field(default_factory=list)


def explain_message(connection: Connection, sid: str, reading: Reading) -> Explained:
    """Return the rows of a message, its outcome, class, who acts and the next step; InputError for an unknown sid."""
    if sid in PLACEHOLDER_SIDS:
        msg = f"{sid} stands where there is no sid, and so for no one message"
        raise InputError(msg)
    span = span_of(connection, Kind.message, sids=[sid])
    if span is None:
        msg = f"no row names the message {sid}"
        raise InputError(msg)
    wanted = _wanted(Kind.message, sid, span, reading)
    engine = NearEngine(connection, wanted)
    found = connection.execute(_MESSAGE, {"sid": sid}).mappings()
    rows = [dict(row) | {name: wanted.number(row[name]) for name in ("sender", "to")} for row in found]
    counted = [_counted(row, wanted) for row in found_texts(engine, wanted) if row["key"] == f"s{sid}"]
    of_sid = named(connection, counted)
    sentences = _outcome(rows)
    if of_sid:
        days = ", ".join(str(row["day"]) for row in of_sid)
        audience = "callers" if of_sid[0]["audience"] == "customer" else "owners"
        sentences.insert(1, f"It counts for {of_sid[0]['business']} on {days}, among the texts to {audience}.")
    return Explained(rows, sentences)


def _counted(row: Row, wanted: Wanted) -> Row:
    return {
        "day": row.get("day", wanted.window.days.first),
        "audience": row["audience"],
        "business": row["business_id"],
    }


def _wanted(kind: Kind, sid: str, span: Span, reading: Reading) -> Wanted:
    return Wanted(
        kind, reading.window(*span), sids=[sid], shared_senders=reading.shared_senders, reveals=reading.reveals
    )


def _outcome(rows: list[Row]) -> list[str]:
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
    return sentences


def _weighed(code: str | None) -> tuple[int, bytes]:
    weight, counted = counted_code(code)
    return weight, counted.encode()


def explain_call(connection: Connection, sid: str, reading: Reading) -> Explained:
    """Return the rows of a call and, if it was missed, each text that was tried and why the call counts as it does.

    Raises:
        InputError: No row names the call.
    """
    span = span_of(connection, Kind.call, sids=[sid])
    if span is None:
        msg = f"no row with a time names the call {sid}"
        raise InputError(msg)
    window = reading.window(span[0], span[0])
    around = replace(window, days=window.days.widen(1))
    wanted = replace(_wanted(Kind.call, sid, span, reading), window=around, wants_replies=True)
    engine = NearEngine(connection, wanted)
    found = connection.execute(_CALL, {"sid": sid}).mappings()
    rows = [dict(row) | {name: wanted.number(row[name]) for name in ("caller", "called")} for row in found]
    call, texts = find_call(engine, window, around, f"cs{sid}")
    if call is None and any(row["event"] == "voice.missed" for row in rows):
        return Explained(rows, ["Many rows share this sid, so each of them counts as a call of its own."])
    if call is None:
        return Explained(rows, ["It was not missed, so nothing was promised."])
    told = told_call(call, wanted)
    wait = f", {call['wait_ms'] / 1000:.0f} s after it was missed" if call["wait_ms"] is not None else ""
    said = f"It counts as {told['state']}{wait}: {told['why']}. In time is {reading.reply_minutes} min."
    tried = [_tried(each, call, min(row["at"] for row in rows if row["at"])) for each in texts]
    return Explained(rows, [said], named(connection, tried))


def _tried(each: Row, call: Row, started: datetime) -> Row:
    return {
        "at": each["first_at"],
        "text": each["key"][1:] if each["key"][0] == "s" else "(no sid)",
        "status": each["status"],
        "code": each["error_code"] or "",
        "business": each["business_id"],
        "does it count": why_it_counts(each, call, started),
    }


_DAY = timedelta(hours=24)
_TOGETHER = timedelta(seconds=5)


def why_it_counts(each: Row, call: Row, started: datetime) -> str:
    """Return why a text to the caller counts as an answer, or does not.

    Args:
        each: The text: audience, business_id, first_at, names_call, status_class.
        call: The call: business, missed_at, replied_at, state.
        started: First row of the call.
    """
    at = each["first_at"]
    earliest = started - (_DAY if each["names_call"] else _TOGETHER)
    if each["audience"] == "owner":
        return "no: it went to an owner"
    if each["business_id"] and str(each["business_id"]) != str(call["business"]):
        return "no: it is of another business"
    if not earliest <= at <= call["missed_at"] + _DAY:
        return "no: it went out before the call" if at < earliest else "no: it went out more than 24 hours later"
    if each["status_class"] in ("failed", "suppressed"):
        return f"no: it {'failed' if each['status_class'] == 'failed' else 'was not sent'}"
    if each["status_class"] != "successful":
        return "not known: its outcome is open"
    if not each["business_id"]:
        return "not known: it has no business"
    if call["replied_at"] == at:
        return f"yes: the first that reached the caller, {call['state'].replace('_', ' ')}"
    return "no: another text had reached the caller before"


__all__ = ["Explained", "Reading", "explain_call", "explain_message", "why_it_counts"]
