"""The rows behind a column of ``daily_stats``, found by the same expressions that counted them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir
from sqlalchemy import Connection

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.core.phones import mask_phone
from smarttext_pipelines.core.statuses import STATUS_CLASS
from smarttext_pipelines.engines import Parameters, PostgresEngine, add_repeated_keys
from smarttext_pipelines.metrics import Window, sms_outcomes
from smarttext_pipelines.metrics.messages import attempts, status_name
from smarttext_pipelines.metrics.replies import repeated, replied_calls
from smarttext_pipelines.metrics.spend import is_unpriced, usage
from smarttext_pipelines.schema.installation import counts_usage_by_time

Row = dict[str, Any]

STATES = {
    "in_time": "a text of the business reached the caller in time",
    "late": "the first text that reached the caller came later",
    "never": "no text of the business reached the caller within 24 hours",
    "unknown": "",
}

_STATES_OF_COLUMN: Mapping[str, Sequence[str]] = {
    "calls_missed": tuple(STATES),
    "missed_calls_replied": ("in_time", "late"),
    "missed_calls_unreplied": ("never",),
    "missed_calls_reply_unknown": ("unknown",),
}
_ROWS_OF_USAGE: Mapping[str, Callable[[ir.Table], ir.BooleanValue]] = {
    # A sum shows what adds nothing to it, too: the request without a cost is what people look for.
    "openai_tokens_used": lambda _: ibis.literal(True),
    "openai_cost_estimate": lambda _: ibis.literal(True),
    "openai_requests": lambda t: t.is_request,
    "openai_unpriced_requests": is_unpriced,
}
_USAGE_COLUMNS = ("created_at", "endpoint", "model", "tokens_used", "cost_estimate", "request_id")


def window_of(day: date, zone: ZoneInfo, settle_days: int, now: datetime, reply_minutes: int) -> Window:
    """Return the window of one day as a rollup would see it now."""
    return Window(DayRange(day, day), zone, settle_days, now, reply_minutes=reply_minutes)


def explain_column(
    connection: Connection,
    column: str,
    business: UUID | None,
    window: Window,
    *,
    shared_senders: Sequence[str] = (),
) -> list[Row]:
    """Return the rows that a column counts for a business on a day, in order of time.

    Args:
        connection: In a transaction.
        column: Column of ``daily_stats``.
        business: Business; None for what has none.
        window: Result of ``window_of``.
        shared_senders: Numbers that identify no business.

    Raises:
        InputError: The column cannot be explained.
    """
    readers: Mapping[str, Callable[[], list[Row]]] = {
        **dict.fromkeys(sms_outcomes.DAILY, lambda: _messages(connection, column, business, window, shared_senders)),
        **dict.fromkeys(_STATES_OF_COLUMN, lambda: _calls(connection, column, business, window, shared_senders)),
        **dict.fromkeys(_ROWS_OF_USAGE, lambda: _usage(connection, column, business, window)),
    }
    if column not in readers:
        msg = f"'{column}' cannot be explained; one of {', '.join(readers)} can"
        raise InputError(msg)
    return readers[column]()


def _run(
    connection: Connection, window: Window, shared: Sequence[str], build: Callable[[Any, Window], ir.Table]
) -> list[Row]:
    engine = PostgresEngine(connection, Parameters(window, shared))
    add_repeated_keys(engine, [repeated(engine.tables, window)])
    return engine.fetch(build(engine.tables, window))


def _messages(
    connection: Connection, column: str, business: UUID | None, window: Window, shared: Sequence[str]
) -> list[Row]:
    def build(tables: Any, window: Window) -> ir.Table:
        found = attempts(tables, window)
        found = found.mutate(status=status_name(found.status_order), message_count=ibis.literal(1))
        found = found.mutate(status_class=found.status.cases(*STATUS_CLASS.items()))
        return found.filter(sms_outcomes.DAILY[column](found) > 0).order_by("first_at")

    rows = _run(connection, window, shared, build)
    return [_message(row) for row in rows if row["business_id"] == business]


def _message(row: Row) -> Row:
    failed = STATUS_CLASS[row["status"]] == "failed"
    found = class_of(row["error_code"]) if failed else None
    return {
        "at": row["first_at"],
        "message": row["key"][1:] if row["key"][0] == "s" else "(no sid)",
        "to": mask_phone(row["recipient"]),
        "status": row["status"],
        "code": row["error_code"] or "",
        "class": found.name if found else STATUS_CLASS[row["status"]],
        "who acts": found.who if found else "",
        "next step": found.next_step if found else "",
    }


def find_replies(connection: Connection, window: Window, shared: Sequence[str]) -> list[Row]:
    """Return every missed call of the window's day with its state; see ``metrics.replies``."""
    return _run(connection, window, shared, lambda tables, w: replied_calls(tables, w).order_by("missed_at"))


def _calls(
    connection: Connection, column: str, business: UUID | None, window: Window, shared: Sequence[str]
) -> list[Row]:
    named = str(business) if business else None
    return [
        told_call(row)
        for row in find_replies(connection, window, shared)
        if row["business"] == named and row["state"] in _STATES_OF_COLUMN[column]
    ]


def told_call(row: Row) -> Row:
    """Return a missed call for people, with the reason why it counts as what it does."""
    return {
        "missed": row["missed_at"],
        "call": row["key"][2:] if row["key"].startswith("cs") else "(no sid)",
        "caller": mask_phone(row["caller"]) if row["caller"] else "withheld",
        "replied": row["replied_at"] or "",
        "state": row["state"].replace("_", " "),
        "why": STATES[row["state"]] or _why_unknown(row),
    }


def _why_unknown(row: Row) -> str:
    if not row["business"]:
        return "the call has no business"
    if not row["caller"]:
        return "the caller withholds the number"
    if row["is_open"]:
        return "a text went out, but its outcome or its business is not known"
    return "the time for a text is not over"


def _usage(connection: Connection, column: str, business: UUID | None, window: Window) -> list[Row]:
    engine = PostgresEngine(connection, Parameters(window))
    found = usage(engine.tables, replace(window, usage_by_time=counts_usage_by_time(connection)))
    is_of_business = found.business_id.isnull() if business is None else found.business_id == business
    wanted = found.filter(found.service == "openai", is_of_business, _ROWS_OF_USAGE[column](found))
    return engine.fetch(wanted.order_by("created_at").select(*_USAGE_COLUMNS))
