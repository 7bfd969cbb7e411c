"""The texts, and the alerts to owners, behind a column."""

from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

import ibis
import ibis.expr.types as ir
from sqlalchemy import Connection

from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.core.statuses import STATUS_CLASS
from smarttext_pipelines.explain.near import Kind, NearEngine, Wanted
from smarttext_pipelines.metrics import Window, owner_alerts, sms_outcomes
from smarttext_pipelines.metrics.messages import attempts, repeated, status_name
from smarttext_pipelines.metrics.windowed import Tables, Windowed, remembered

Row = dict[str, Any]

COLUMNS = tuple(sms_outcomes.DAILY)
ALERTS = tuple(owner_alerts.DAILY)


def _texts(tables: Tables, window: Window) -> ir.Table:
    found = attempts(tables, window)
    counts = {name: ibis.ifelse(counts(found), 1, 0) for name, counts in sms_outcomes.COUNTS.items()}
    found = found.mutate(status=status_name(found.status_order), **counts)
    return found.mutate(status_class=found.status.cases(*STATUS_CLASS.items())).order_by("first_at", "key")


texts_in_order = remembered(_texts)
"""The attempted texts of the window with status, class and the fact's counts, each one or zero."""


@remembered
def _alerts_in_order(tables: Tables, window: Window) -> ir.Table:
    return owner_alerts.alerts(tables, window).order_by("created_at", "id")


@cache
def _counted_by(column: str) -> Callable[[Tables, Window], Windowed]:
    def build(tables: Tables, window: Window) -> ir.Table:
        found = _texts(tables, window)
        return found.filter(sms_outcomes.DAILY[column](found) > 0)

    return remembered(build)


def found_texts(engine: NearEngine, wanted: Wanted) -> list[Row]:
    """Return ``texts_in_order`` of what is wanted."""
    engine.add_repeated([lambda: repeated(engine.tables, wanted.window)])
    return engine.fetch(texts_in_order(engine.tables, wanted.window))


def read(connection: Connection, column: str, wanted: Wanted) -> list[Row]:
    """Return the texts that a column counts."""
    engine = NearEngine(connection, wanted)
    engine.add_repeated([lambda: repeated(engine.tables, wanted.window)])
    found = engine.fetch(_counted_by(column)(engine.tables, wanted.window))
    return [told_text(row, wanted) for row in found if is_of(row["business_id"], wanted)]


def is_of(business: UUID | str | None, wanted: Wanted) -> bool:
    """Return whether what has this business is wanted."""
    return wanted.kind not in (Kind.business, Kind.none) or str(business) == str(wanted.business)


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
    is_sent = column == "owner_alerts_sent"
    found = engine.fetch(_alerts_in_order(engine.tables, wanted.window))
    return [
        {
            "at": row["created_at"],
            "alert": row["alert_type"],
            "message": row["message_sid"] or "(no sid)",
            "delivered": "" if row["delivered"] is None else "yes" if row["delivered"] else "no",
            "business": row["business_id"],
        }
        for row in found
        if row["is_sent"] == is_sent and is_of(row["business_id"], wanted)
    ]
