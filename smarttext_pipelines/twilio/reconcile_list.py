"""Compares Twilio's list of messages with ours: in both, only here, only there, and why if known. Pure.

The list is what Twilio's console exports as CSV, or the messages of its API as JSON.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any

from smarttext_pipelines.core.errors import InputError

_NAMES = {
    "sid": ("sid", "messagesid", "smssid"),
    "status": ("status", "messagestatus"),
    "at": ("datesent", "datecreated", "sentdate", "date"),
    "price": ("price", "cost"),
    "segments": ("numsegments", "segments"),
    "direction": ("direction",),
}
_ENDS = timedelta(hours=48)
"""A message nearer than that to an end of the month may count for the neighbouring month."""


@dataclass(frozen=True)
class Listed:
    """A message of Twilio's list."""

    sid: str
    status: str
    at: datetime | None
    price_usd: Decimal | None
    segments: int | None


@dataclass(frozen=True)
class Recorded:
    """One of our messages.

    Attributes:
        sid: Twilio's sid; empty where it never had one.
        status: As in the data contract.
        at: First row.
        price_usd: Recorded price; None where there is none.
        is_within: Whether it counts for the month that is compared.
    """

    sid: str
    status: str
    at: datetime
    price_usd: Decimal | None
    is_within: bool = True


@dataclass(frozen=True)
class Difference:
    """One message on which the two do not agree."""

    where: str
    sid: str
    ours: str
    twilios: str
    why: str


@dataclass(frozen=True)
class Reconciled:
    """What came out.

    Attributes:
        in_both: Messages that both have.
        without_sid: Our messages that never reached Twilio, so no list can have them.
        ours_usd: Sum of our prices of the messages that both have.
        twilios_usd: Sum of Twilio's prices of the same.
        differences: Where they do not agree.
    """

    in_both: int
    without_sid: int
    ours_usd: Decimal
    twilios_usd: Decimal
    differences: Sequence[Difference]


def read_list(content: str) -> list[Listed]:
    """Return the outbound messages of an exported list, each line as it is, repeated ones included.

    Raises:
        InputError: It is no list of messages.
    """
    rows = _json_rows(content) if content.lstrip()[:1] in ("{", "[") else list(csv.DictReader(io.StringIO(content)))
    named = [{_key(name): value for name, value in row.items() if name} for row in rows]
    if not named or not any(name in named[0] for name in _NAMES["sid"]):
        msg = "the file has no column with sids; export the messages from Twilio's console as CSV, or its API as JSON"
        raise InputError(msg)
    return [_listed(row) for row in named if not _text(row, "direction").startswith("inbound")]


def _json_rows(content: str) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(content)
    except ValueError:
        msg = "the file is no JSON; export the messages from Twilio's console as CSV, or its API as JSON"
        raise InputError(msg) from None
    rows = found.get("messages", []) if isinstance(found, dict) else found
    return [row for row in rows if isinstance(row, dict)]


def _key(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum())


def _text(row: Mapping[str, Any], field: str) -> str:
    return next((str(row[name]).strip() for name in _NAMES[field] if row.get(name) not in (None, "")), "")


def _listed(row: Mapping[str, Any]) -> Listed:
    segments = _text(row, "segments")
    return Listed(
        _text(row, "sid"),
        _text(row, "status").lower(),
        _instant(_text(row, "at")),
        _amount(_text(row, "price")),
        int(segments) if segments.isdecimal() else None,
    )


def _amount(text: str) -> Decimal | None:
    """Return a price as what is paid; Twilio writes it as a negative amount."""
    try:
        return abs(Decimal(text.replace("$", "").replace("USD", "").strip()))
    except InvalidOperation:
        return None


def _instant(text: str) -> datetime | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = parse(text)
        except (ValueError, TypeError):
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def reconcile(ours: Sequence[Recorded], listed: Sequence[Listed], begin: datetime, end: datetime) -> Reconciled:
    """Return where a list of Twilio's and ours differ.

    Args:
        ours: Messages of the month, and of the days around it.
        listed: Twilio's list.
        begin: First instant of the month.
        end: First instant after it.
    """
    known = {each.sid: each for each in ours if each.sid}
    theirs = {each.sid: each for each in listed}
    both = [(known[sid], theirs[sid]) for sid in theirs if sid in known]
    differences = [
        *_repeated(listed),
        *(found for one, other in both for found in _compare(one, other)),
        *(_only_there(each, begin, end) for sid, each in theirs.items() if sid not in known),
        *_missing(known, theirs, begin, end),
    ]
    without_sid = sum(each.is_within for each in ours if not each.sid)
    return Reconciled(len(both), without_sid, _sum([o for o, _ in both]), _sum([t for _, t in both]), differences)


def _repeated(listed: Sequence[Listed]) -> list[Difference]:
    lines = Counter(each.sid for each in listed)
    return [_twice(sid, count) for sid, count in lines.items() if count > 1]


def _sum(priced: Iterable[Recorded | Listed]) -> Decimal:
    return sum((each.price_usd or Decimal(0) for each in priced), start=Decimal(0))


def _missing(
    known: Mapping[str, Recorded], theirs: Mapping[str, Listed], begin: datetime, end: datetime
) -> list[Difference]:
    missing = [each for sid, each in known.items() if each.is_within and sid not in theirs]
    return [_only_here(each, begin, end) for each in missing]


def _twice(sid: str, count: int) -> Difference:
    return Difference("twice there", sid, "1 message", f"{count} lines", "Twilio's list repeats it; it is charged once")


def _compare(one: Recorded, other: Listed) -> list[Difference]:
    found = []
    if not one.is_within:
        said = f"{one.at:%Y-%m-%d %H:%M} UTC"
        why = "its first row is of another month in the reporting zone"
        there = f"{other.at:%Y-%m-%d %H:%M} UTC" if other.at else ""
        found.append(Difference("late", one.sid, said, there, why))
    if other.price_usd is not None and one.price_usd != other.price_usd:
        ours = "no price" if one.price_usd is None else f"{one.price_usd.normalize():f} USD"
        why = (
            "its price was never fetched" if one.price_usd is None else "Twilio changed the price after it was fetched"
        )
        found.append(Difference("price", one.sid, ours, f"{other.price_usd.normalize():f} USD", why))
    if other.status and other.status != one.status:
        why = "its delivery report was not fetched" if one.status in ("queued", "accepted", "sending", "sent") else ""
        found.append(Difference("status", one.sid, one.status, other.status, why))
    return found


def _near_an_end(at: datetime | None, begin: datetime, end: datetime) -> bool:
    return at is not None and (at < begin + _ENDS or at >= end - _ENDS)


def _only_there(each: Listed, begin: datetime, end: datetime) -> Difference:
    said = f"{each.status} {each.at:%Y-%m-%d %H:%M} UTC" if each.at else each.status
    why = "sent outside SmartText, or its row was lost"
    if each.at is not None and not begin <= each.at < end:
        why = "of another month in the reporting zone"
    return Difference("only there", each.sid, "", said, why)


def _only_here(each: Recorded, begin: datetime, end: datetime) -> Difference:
    why = "Twilio's list is of days in another zone" if _near_an_end(each.at, begin, end) else "the list lacks it"
    if each.status in ("rate_limited", "skipped", "canceled"):
        why = "it was never sent"
    return Difference("only here", each.sid, f"{each.status} {each.at:%Y-%m-%d %H:%M} UTC", "", why)
