"""Functions in ``monitoring`` that find the rows of one answer by an index, with and without masked numbers.

Their columns are those of ``READ_COLUMNS``, so what a metric begins to read is found. Only a text needs a line here,
which says whether it is masked.
"""

from collections.abc import Iterable, Mapping
from importlib.resources import files

from smarttext_pipelines.core.statuses import (
    PLACEHOLDER_REQUESTS,
    PLACEHOLDER_SIDS,
    WHATSAPP_PREFIX,
    WITHHELD_CALLERS,
    WORDS_FOR_NONE,
)
from smarttext_pipelines.schema.near_rows import compared
from smarttext_pipelines.schema.sources import kind_of
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines.schema.tables.source_tables import READ_COLUMNS

_READ: Mapping[str, Iterable[str]] = {
    "call_events": (*READ_COLUMNS["call_events"], "call_status"),
    "sms_events": READ_COLUMNS["sms_events"],
    "owner_alerts": (*READ_COLUMNS["owner_alerts"], "owner_phone"),
    "businesses": ("id", "twilio_phone", "public_phone"),
}
_NAMES = {
    "call_sid": "sid", "message_sid": "sid", "call_status": "status", "ts": "at", "created_at": "at",
    "twilio_phone": "from_number", "public_phone": "to_number", "owner_phone": "to_number",
}  # fmt: skip
NEAR_COLUMNS = {table: {name: _NAMES.get(name, name) for name in names} for table, names in _READ.items()}
"""Table → its columns, under the names that they have among the rows of an answer."""

_FIRST = (
    "id", "business_id", "sid", "from_number", "to_number", "status", "error_code", "request_id", "event_type", "at",
    "alert_type", "delivered",
)  # fmt: skip
"""In this order; others come after them."""
_SHOWN = {"sid", "status", "error_code", "event_type", "alert_type"}
"""Texts that hold no number of a person."""
# A request may be called by a number.
_REQUEST = """CASE WHEN u.request_id ~ '[0-9][0-9() .-]{5,}[0-9]' AND u.request_id !~ '^[A-Z]{2}[0-9a-f]{32}(-owner)?$'
                     AND u.request_id NOT IN (SELECT c.sid FROM used AS c WHERE c.sid IS NOT NULL)
                THEN 'm' || md5(u.request_id) || substring(u.request_id FROM '-owner$|$') ELSE u.request_id END"""
_MASKED = {
    "from_number": "coalesce(f.mask, u.from_number)",
    "to_number": "coalesce(t.mask, u.to_number)",
    "request_id": _REQUEST,
}


def near_statements() -> list[str]:
    """Return the statements that create or replace the functions."""
    values = {
        "{nones}": _array(WORDS_FOR_NONE),
        "{placeholders}": _array(PLACEHOLDER_SIDS),
        "{withheld}": _array(WITHHELD_CALLERS),
        "{whatsapp}": WHATSAPP_PREFIX,
        "{compared_caller}": compared("e.from_number"),
        "{compared_recipient}": compared("e.to_number"),
        "{compared_any}": f"regexp_replace({compared('n')}, '^{WHATSAPP_PREFIX}', '')",
        "{is_sid}": f"coalesce(e.message_sid <> '' AND e.message_sid <> ALL ({_array(PLACEHOLDER_SIDS)}), false)",
        "{is_request}": f"coalesce(e.request_id <> '' AND e.request_id <> ALL ({_array(PLACEHOLDER_REQUESTS)}), false)",
        **_rows(_types()),
    }
    statement = (files(__package__) / "near_rows.sql").read_text()
    for name, value in values.items():
        statement = statement.replace(name, value)
    return [statement]


def _types() -> dict[str, str]:
    """Return the columns of an answer's rows after ``source``, with their types in PostgreSQL."""
    found = {
        shown: kind_of(table_named(table).columns[name].type)
        for table, names in NEAR_COLUMNS.items()
        for name, shown in names.items()
    }
    return {name: found[name] for name in dict.fromkeys((*_FIRST, *found))}


def _rows(types: Mapping[str, str]) -> dict[str, str]:
    """Return the lists of columns that the functions declare and select."""
    found = {"{columns}": ", ".join(["source text", *(f"{name} {kind}" for name, kind in types.items())])}
    for table, names in NEAR_COLUMNS.items():
        alias = {"owner_alerts": "a", "businesses": "b"}.get(table, "e")
        own = {shown: f"{alias}.{name}" for name, shown in names.items()}
        found[f"{{row_of_{table}}}"] = _selected(table, types, own)
    found["{row_of_shared_senders}"] = _selected("shared_senders", types, {"from_number": "s"})
    found["{masked_row}"] = ",\n           ".join(["u.source", *(_masked(name, kind) for name, kind in types.items())])
    return found


def _selected(source: str, types: Mapping[str, str], own: Mapping[str, str]) -> str:
    return ", ".join([f"'{source}'", *(own.get(name, f"NULL::{kind}") for name, kind in types.items())])


def _masked(name: str, kind: str) -> str:
    if name in _MASKED:
        return _MASKED[name]
    if kind == "text" and name not in _SHOWN:
        msg = f"the text {name} may hold a number: say in _SHOWN that it holds none, or in _MASKED what stands for it"
        raise ValueError(msg)
    return f"u.{name}"


def _array(words: tuple[str, ...]) -> str:
    return "'{" + ",".join(f'"{word}"' for word in words) + "}'::text[]"
