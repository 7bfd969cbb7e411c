"""The texts, and the alerts to owners, behind a column."""

from typing import Any

import ibis
import ibis.expr.types as ir
from sqlalchemy import Connection

from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.core.statuses import STATUS_CLASS
from smarttext_pipelines.explain.near import Kind, NearEngine, Wanted
from smarttext_pipelines.metrics import owner_alerts, sms_outcomes
from smarttext_pipelines.metrics.messages import attempts, repeated, status_name

Row = dict[str, Any]

COLUMNS = tuple(sms_outcomes.DAILY)
ALERTS = tuple(owner_alerts.DAILY)


def found_texts(engine: NearEngine, wanted: Wanted, *, is_known: bool = False) -> ir.Table:
    """Return the attempted texts of the window with status, class and the fact's counts, each one or zero.

    Args:
        engine: Over their rows.
        wanted: With the window.
        is_known: Whether the engine knows already which keys are none.
    """
    if not is_known:
        engine.add_repeated([lambda: repeated(engine.tables, wanted.window)])
    found = attempts(engine.tables, wanted.window)
    counts = {name: ibis.ifelse(counts(found), 1, 0) for name, counts in sms_outcomes.COUNTS.items()}
    found = found.mutate(status=status_name(found.status_order), **counts)
    return found.mutate(status_class=found.status.cases(*STATUS_CLASS.items()))


def read(connection: Connection, column: str, wanted: Wanted) -> list[Row]:
    """Return the texts that a column counts."""
    engine = NearEngine(connection, wanted)
    found = found_texts(engine, wanted)
    found = found.filter(sms_outcomes.DAILY[column](found) > 0)
    if wanted.kind is not Kind.all:
        found = found.filter(is_of(found.business_id, wanted))
    return [told_text(row, wanted) for row in engine.fetch(found.order_by("first_at", "key"))]


def is_of(business_id: ir.Column, wanted: Wanted) -> ir.BooleanValue:
    """Return the condition of what belongs to the wanted business, or to none."""
    return business_id.isnull() if wanted.business is None else business_id == wanted.business


def told_text(row: Row, wanted: Wanted) -> Row:
    """Return a text for people."""
    failed = STATUS_CLASS[row["status"]] == "failed"
    found = class_of(row["error_code"]) if failed else None
    return {
        "at": row["first_at"],
        "message": row["key"][1:] if row["key"][0] == "s" else "(no sid)",
        "to": wanted.number(row["recipient"]),
        "audience": row["audience"],
        "status": row["status"],
        "code": row["error_code"] or "",
        "class": found.name if found else STATUS_CLASS[row["status"]].replace("_", " "),
        "who acts": found.who if found else "",
        "next step": found.next_step if found else "",
        "business": row["business_id"],
    }


def read_alerts(connection: Connection, column: str, wanted: Wanted) -> list[Row]:
    """Return the alerts to owners that a column counts."""
    engine = NearEngine(connection, wanted)
    found = owner_alerts.alerts(engine.tables, wanted.window)
    found = found.filter(found.is_sent if column == "owner_alerts_sent" else ~found.is_sent)
    if wanted.kind is not Kind.all:
        found = found.filter(is_of(found.business_id, wanted))
    return [
        {
            "at": row["created_at"],
            "alert": row["alert_type"],
            "message": row["message_sid"] or "(no sid)",
            "delivered": "" if row["delivered"] is None else "yes" if row["delivered"] else "no",
            "business": row["business_id"],
        }
        for row in engine.fetch(found.order_by("created_at", "id"))
    ]
