"""The story of one caller: every call and text of a number in order, what was promised and what became of it."""

from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from smarttext_pipelines.core.days import day_of
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.core.phones import mask_phone
from smarttext_pipelines.core.statuses import SEPARATORS, STATUS_CLASS, WHATSAPP_PREFIX
from smarttext_pipelines.explain.behind_calls import STATES, replies_in_order, sid_of, told_call
from smarttext_pipelines.explain.behind_texts import texts_in_order
from smarttext_pipelines.explain.column import named
from smarttext_pipelines.explain.near import Kind, NearEngine, Wanted, span_of
from smarttext_pipelines.explain.single import Reading
from smarttext_pipelines.metrics import replies
from smarttext_pipelines.metrics.call_volume import CALLS
from smarttext_pipelines.metrics.messages import TEXTS
from smarttext_pipelines.metrics.window_tables import WINDOW_TABLES

Row = dict[str, Any]

_MIN_DIGITS, _NATIONAL_DIGITS = 4, 10
_WITHOUT = str.maketrans("", "", SEPARATORS)


def is_number(word: str) -> bool:
    """Tell whether a word is a telephone number rather than a column or a sid."""
    bare = word.strip().removeprefix(WHATSAPP_PREFIX).translate(_WITHOUT)
    digits = bare.removeprefix("+")
    return digits.isascii() and digits.isdecimal() and len(digits) >= _MIN_DIGITS


def spellings(word: str) -> list[str]:
    """Return the forms in which a number may have been recorded, as they are compared; the likeliest first.

    Raises:
        InputError: It is no number.
    """
    if not is_number(word):
        msg = "that is no telephone number; write it as +15551234567"
        raise InputError(msg)
    bare = word.strip().removeprefix(WHATSAPP_PREFIX).translate(_WITHOUT)
    forms = [bare] if bare.startswith("+") else [f"+{bare}", bare]
    if not bare.startswith("+") and len(bare) == _NATIONAL_DIGITS:
        forms.insert(0, f"+1{bare}")
    return [*forms, *(WHATSAPP_PREFIX + form for form in forms)]


def tell_story(connection: Connection, number: str, reading: Reading, day: date | None = None) -> list[Row]:
    """Return every call and text of a number, in order of time.

    Args:
        connection: In a transaction.
        number: As somebody typed it.
        reading: How answers are read.
        day: Only what began on that day.

    Raises:
        InputError: It is no number, or nothing was ever recorded of it.
    """
    numbers = spellings(number)
    span = span_of(connection, Kind.number, numbers=numbers)
    if span is None:
        msg = f"nothing was recorded of {mask_phone(number)}; write the number with its country code, as +15551234567"
        raise InputError(msg)
    # One day more: a range groups by day, and neighbours are looked at.
    window = reading.window(span[0] - timedelta(days=1), span[1])
    wanted = Wanted(
        Kind.number, window, numbers=numbers, shared_senders=reading.shared_senders, reveals=reading.reveals
    )
    engine = NearEngine(connection, wanted)
    engine.add_repeated([lambda: replies.repeated(engine.tables, window)])
    for name in (CALLS, TEXTS):
        engine.keep(WINDOW_TABLES[name](engine.tables, window), name)
    promised = {row["key"]: row for row in engine.fetch(replies_in_order(engine.tables, window))}
    calls = engine.fetch(engine.tables[CALLS])
    texts = engine.fetch(texts_in_order(engine.tables, window))
    answers = {(row["replied_at"], row["business"]): key for key, row in promised.items() if row["replied_at"]}
    rows = [*(_call(row, promised.get(row["key"]), wanted) for row in calls), *(_text(row, answers) for row in texts)]
    rows = [row for row in rows if day is None or day_of(row["at"], reading.zone) == day]
    return named(connection, sorted(rows, key=lambda row: (row["at"], row["what"])))


def _call(row: Row, promise: Row | None, wanted: Wanted) -> Row:
    what = "text from the caller" if row["is_text"] else "missed call" if row["is_missed"] else "call, not missed"
    told = told_call(promise, wanted) if promise else None
    became = ""
    if promise and told:
        by = wanted.window.reply_minutes
        waited = f" after {told['waited']}" if told["waited"] else ""
        became = f"a text was promised within {by} min: {told['state']}{waited}"
        became += "" if promise["state"] in ("in_time", "late") else f" ({told['why'] or STATES['never']})"
    return {
        "at": row["first_at"],
        "what": what,
        "sid": sid_of(row["key"]),
        "what became of it": became,
        "business": row["business_id"],
    }


def _text(row: Row, answers: dict[Any, str]) -> Row:
    business = str(row["business_id"]) if row["business_id"] else None
    answered = answers.get((row["first_at"], business))
    became = row["status"]
    if STATUS_CLASS[row["status"]] == "failed":
        found = class_of(row["error_code"] or None)
        became += f": {found.reason} ({row['error_code'] or 'no code'})"
    elif answered and STATUS_CLASS[row["status"]] == "successful":
        became += f": the answer to {sid_of(answered)}"
    return {
        "at": row["first_at"],
        "what": "text to the owner" if row["audience"] == "owner" else "text to the caller",
        "sid": row["key"][1:] if row["key"][0] == "s" else "(no sid)",
        "what became of it": became,
        "business": row["business_id"],
    }
