"""Functions that say whom not to text: one recipient for the application, all of them for people.

Both fill the same expressions into their statements, so that they agree. Nothing is stored for them: they read events,
and find those of a number by the indexes of ``near_rows``.
"""

import re
from collections.abc import Callable
from importlib.resources import files

from smarttext_pipelines.core.customer_keys import NATIONAL, e164_in_sql
from smarttext_pipelines.core.failure_classes import failure_classes
from smarttext_pipelines.core.opt_outs import START_WORDS, STOP_WORDS
from smarttext_pipelines.core.phones import masked_in_sql
from smarttext_pipelines.core.statuses import (
    CODE_PATTERN,
    DELIVERED_STATUSES,
    INBOUND_STATUSES,
    PLACEHOLDER_REQUESTS,
    PLACEHOLDER_SIDS,
    REPORT_REQUEST_ID,
    STATUS_CLASS,
    WHATSAPP_PREFIX,
)
from smarttext_pipelines.schema.near_rows import compared

UNREACHABLE_HOURS = 24
"""How long a phone that could not be reached counts as unreachable, unless a later text is delivered."""

_FILES = ("check_recipient.sql", "suppressed_recipients.sql")
_WAYS = ("", WHATSAPP_PREFIX)
_CLASSES = ("opted_out", "invalid_number", "unreachable")


def suppression_statements() -> list[str]:
    """Return the statements that create or replace the functions."""
    return [_filled((files(__package__) / name).read_text()) for name in _FILES]


def _filled(statement: str) -> str:
    statement = _CALL.sub(lambda found: _WRITERS[found[1]](found[2]), statement)
    for name, value in _values().items():
        statement = statement.replace("{" + name + "}", value)
    return statement


def _recipient(number: str) -> str:
    """Return the digits of a number with its country, whatever its spelling; NULL for what is nobody's number."""
    return f"substr({e164_in_sql(number)}, 2)"


def _forms(digits: str) -> str:
    """Return the array of spellings, as they are indexed, of which ``_recipient`` makes these digits."""
    prefixed = ", ".join(f"'{way}{prefix}' || {digits}" for way in _WAYS for prefix in ("+", "00", "011"))
    alone, national = (", ".join(f"'{way}' || {each}" for way in _WAYS) for each in (digits, f"substr({digits}, 2)"))
    return (
        f"(ARRAY[{prefixed}] || CASE WHEN {digits} !~ '{NATIONAL}' THEN ARRAY[{alone}] ELSE '{{}}' END"
        f" || CASE WHEN {digits} ~ '^1' AND substr({digits}, 2) ~ '{NATIONAL}' THEN ARRAY[{national}] ELSE '{{}}' END)"
    )


def _sender(number: str) -> str:
    """Return a sender as it is compared; one of WhatsApp is another than the same number's of texts."""
    bare = f"regexp_replace({compared(number)}, '^({WHATSAPP_PREFIX})?\\+?', '')"
    whatsapp = f"CASE WHEN {compared(number)} LIKE '{WHATSAPP_PREFIX}%' THEN '{WHATSAPP_PREFIX}' ELSE '' END"
    return f"nullif({whatsapp} || coalesce({_recipient(number)}, {bare}), '')"


def _reason(word: str) -> str:
    known = " ".join(f"WHEN {word} = ANY ({_array(_codes(name))}) THEN '{_said(name)}'" for name in _CLASSES)
    return f"CASE {known} ELSE 'replied STOP' END || coalesce(' (' || substring({word} FROM '^[0-9]+$') || ')', '')"


_WRITERS: dict[str, Callable[[str], str]] = {
    "recipient of": _recipient,
    "forms of": _forms,
    "sender of": _sender,
    "reason of": _reason,
    "masked": masked_in_sql,
}
_CALL = re.compile(rf"\{{({'|'.join(_WRITERS)}) ([^{{}}]+)\}}")


def _values() -> dict[str, str]:
    code = f"(regexp_match(e.error_code, '{CODE_PATTERN}'))[2]"
    word = (
        "upper(btrim(coalesce(nullif(e.payload ->> 'OptOutType', ''), e.payload ->> 'Body', e.payload ->> 'body'),"
        " E' \\t\\r\\n'))"
    )
    unsent = (*INBOUND_STATUSES, *(status for status, kind in STATUS_CLASS.items() if kind == "suppressed"))
    key = (
        f"CASE WHEN e.message_sid <> '' AND e.message_sid <> ALL ({_array(PLACEHOLDER_SIDS)}) THEN 's' || e.message_sid"
        f" WHEN e.request_id <> '' AND e.request_id <> ALL ({_array(PLACEHOLDER_REQUESTS)}) THEN 'r' || e.request_id"
        " ELSE 'i' || e.id::text END"
    )
    delivered = f"r.status = ANY ({_array(DELIVERED_STATUSES)})"
    failed = {name: f"coalesce(bool_or(r.code = ANY ({_array(_codes(name))})), false)" for name in _CLASSES}
    first_code = "min(r.code) FILTER (WHERE r.code = ANY ({codes}))"
    return {
        "row": f"{key} AS key, {_sender('e.from_number')} AS sender, e.business_id, lower(e.status) AS status, "
        f"{code} AS code, {_dated('e.created_at')} AS at, coalesce(e.request_id = '{REPORT_REQUEST_ID}', false) "
        "AS is_report",
        # A text of which only reports are known began at a time that nobody recorded: it proves no delivery.
        "measures": 'min(r.sender COLLATE "C") AS sender, min(r.business_id::text COLLATE "C")::uuid AS business_id, '
        f"min(r.at) AS at, bool_or({delivered}) AND NOT bool_and(r.is_report) AS is_delivered, "
        f"NOT bool_or({delivered}) AND {failed['opted_out']} AS is_opted_out, "
        f"NOT bool_or({delivered}) AND {failed['invalid_number']} AS is_invalid, "
        f"NOT bool_or({delivered}) AND {failed['unreachable']} AS is_unreachable, "
        f"NOT bool_and(r.is_report) AND NOT bool_or(r.status = ANY ({_array(unsent)})) AS is_sent, "
        f"max(r.at) FILTER (WHERE r.code = ANY ({_array(_codes('unreachable'))})) AS failed_at, coalesce("
        + ", ".join(first_code.format(codes=_array(_codes(name))) for name in _CLASSES)
        + ") AS code",
        "inbound": f"{_sender('e.to_number')} AS sender, e.business_id, {_dated('e.ts')} AS at, {word} AS word",
        "code": code,
        "word": word,
        "suppressing": _array(tuple(code for name in _CLASSES for code in _codes(name))),
        "stops": _array(STOP_WORDS),
        "starts": _array(START_WORDS),
        "compared_recipient": compared("e.to_number"),
        "compared_caller": compared("e.from_number"),
        "unreachable_hours": str(UNREACHABLE_HOURS),
    }


def _dated(at: str) -> str:
    """Return a time; a row without one counts as earlier than all others."""
    return f"CASE WHEN isfinite({at}) THEN {at} ELSE '-infinity' END"


def _codes(name: str) -> tuple[str, ...]:
    return failure_classes()[name].codes


def _said(name: str) -> str:
    return failure_classes()[name].reason.replace("'", "''")


def _array(words: tuple[str, ...]) -> str:
    return "'{" + ",".join(f'"{word}"' for word in words) + "}'::text[]"
