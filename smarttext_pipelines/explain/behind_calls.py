"""The calls behind a column, and why each counts as answered or not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ibis.expr.types as ir
from sqlalchemy import Connection

from smarttext_pipelines.core.statuses import STATUS_CLASS
from smarttext_pipelines.explain.behind_texts import is_of
from smarttext_pipelines.explain.near import NearEngine, Wanted
from smarttext_pipelines.metrics import Window, call_volume
from smarttext_pipelines.metrics.messages import STATUS_NAMES, attempts
from smarttext_pipelines.metrics.replies import repeated, replied_calls
from smarttext_pipelines.metrics.windowed import Tables, remembered

Row = dict[str, Any]

STATES = {
    "in_time": "a text of the business reached the caller in time",
    "late": "the first text that reached the caller came later",
    "never": "no text of the business reached the caller within 24 hours",
    "unknown": "",
}
_ANSWERED = ("in_time", "late")

STATES_OF_COLUMN: Mapping[str, Sequence[str]] = {
    "calls_missed": tuple(STATES),
    "missed_calls_replied": _ANSWERED,
    "missed_calls_unreplied": ("never",),
    "missed_calls_reply_unknown": ("unknown",),
    "replied_in_time_count": ("in_time",),
    "replied_late_count": ("late",),
    "unreplied_count": ("never",),
    "reply_unknown_count": ("unknown",),
    "wait_p50_ms": _ANSWERED,
    "wait_p95_ms": _ANSWERED,
}
VOLUME = ("calls_total", "calls_answered", "messages_received")


# Nothing of one answer stands in these statements, so that they are compiled once; its rows are few.
@remembered
def replies_in_order(tables: Tables, window: Window) -> ir.Table:
    """Return the missed calls of a window with their states."""
    return replied_calls(tables, window).order_by("missed_at", "key")


@remembered
def _attempts_in_order(tables: Tables, window: Window) -> ir.Table:
    return attempts(tables, window).order_by("first_at", "key")


@remembered
def _calls_in_order(tables: Tables, window: Window) -> ir.Table:
    return call_volume.calls(tables, window).order_by("first_at", "key")


def find_replies(connection: Connection, wanted: Wanted) -> list[Row]:
    """Return every missed call of the window with its state; see ``metrics.replies``."""
    engine = NearEngine(connection, replace(wanted, wants_replies=True))
    engine.add_repeated([lambda: repeated(engine.tables, wanted.window)])
    found = engine.fetch(replies_in_order(engine.tables, wanted.window))
    return [row for row in found if is_of(row["business"], wanted)]


def find_call(engine: NearEngine, window: Window, around: Window, key: str) -> tuple[Row | None, list[Row]]:
    """Return a missed call, and the texts to its caller that were tried around it, in order of time.

    Args:
        engine: Over the rows of the call and of the texts to its caller.
        window: Day of the call.
        around: That day and its neighbours.
        key: Key of the call.
    """
    # The texts of a call are those of three days, and so are the keys that are none.
    engine.add_repeated([lambda: repeated(engine.tables, window)])
    call = next((row for row in engine.fetch(replies_in_order(engine.tables, window)) if row["key"] == key), None)
    if call is None or call["caller"] is None:
        return call, []
    tried = engine.fetch(_attempts_in_order(engine.tables, around))
    rows = [row for row in tried if row["recipient"] == call["caller"]]
    naming = engine.sids_naming(key[2:])
    by_request = f"r{len(key) - 2}:{key[2:]}"

    def names(text: str) -> bool:
        return text[1:] in naming if text.startswith("s") else text.startswith(by_request)

    told = [row | {"status": STATUS_NAMES[row["status_order"]], "names_call": names(row["key"])} for row in rows]
    return call, [row | {"status_class": STATUS_CLASS[row["status"]]} for row in told]


def read_replies(connection: Connection, column: str, wanted: Wanted) -> list[Row]:
    """Return the missed calls that a column counts."""
    found = [row for row in find_replies(connection, wanted) if row["state"] in STATES_OF_COLUMN[column]]
    if column.startswith("wait_"):
        found = sorted(found, key=lambda row: (row["wait_ms"], row["key"]))
    return [told_call(row, wanted) for row in found]


def told_call(row: Row, wanted: Wanted) -> Row:
    """Return a missed call for people, with the reason why it counts as what it does."""
    return {
        "missed": row["missed_at"],
        "call": sid_of(row["key"]),
        "caller": wanted.number(row["caller"]) if row["caller"] else "withheld",
        "replied": row["replied_at"] or "",
        "waited": "" if row["wait_ms"] is None else f"{row['wait_ms'] / 1000:,.0f} s",
        "state": row["state"].replace("_", " "),
        "why": STATES[row["state"]] or _why_unknown(row),
        "business": row["business"],
    }


def _why_unknown(row: Row) -> str:
    if not row["business"]:
        return "the call has no business"
    if not row["caller"]:
        return "the caller withholds the number"
    if row["is_open"]:
        return "a text went out, but its outcome or its business is not known"
    return "the time for a text is not over"


def sid_of(key: str) -> str:
    """Return the sid in the key of a call or an inbound text."""
    return key[2:] if key[1:2] == "s" else "(no sid)"


def read_volume(connection: Connection, column: str, wanted: Wanted) -> list[Row]:
    """Return the calls or inbound texts that a column counts."""
    engine = NearEngine(connection, wanted)
    engine.add_repeated([lambda: call_volume.repeated(engine.tables, wanted.window)])
    found = engine.fetch(_calls_in_order(engine.tables, wanted.window))
    of_kind = [row for row in found if row["is_text"] == (column == "messages_received")]
    return [
        {
            "at": row["first_at"],
            "message" if row["is_text"] else "call": sid_of(row["key"]),
            "from": wanted.number(row["caller"]) if row["caller"] else "withheld",
            "what": "text from a caller" if row["is_text"] else "missed" if row["is_missed"] else "not missed",
            "business": row["business_id"],
        }
        for row in of_kind
        if is_of(row["business_id"], wanted) and not (column == "calls_answered" and row["is_missed"])
    ]
