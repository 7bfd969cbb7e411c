"""Rows that a table of the application refuses: found one by one, kept without personal data, tried again later."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import md5
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from smarttext_pipelines.database.connect import is_about_a_row, name_refusal
from smarttext_pipelines.schema.tables.delivery_reports import refused_rows
from smarttext_pipelines.twilio.poll import Report

STATUS_ROWS, PRICE_ROWS = "sms_events", "api_usage"
PAUSE = timedelta(hours=1)
"""How long a refused row waits for its next try."""

MAX_RETRIED = 10_000
"""Rows of one run that are tried again, those first that were not tried for the longest time."""

Add = Callable[[Sequence[Report]], int]


def write_each(
    connection: Connection, table: str, reports: Sequence[Report], add: Add, now: datetime
) -> tuple[int, int]:
    """Write reports at once, or in halves down to one by one where the table refuses any.

    Args:
        connection: In a transaction, which goes on after a refusal.
        table: ``STATUS_ROWS`` or ``PRICE_ROWS``.
        reports: What to write.
        add: Inserts the rows of reports, and returns how many were new.
        now: Time of the fetch.

    Returns:
        How many rows were written, and how many were refused and kept.
    """
    if not reports:
        return 0, 0
    try:
        with connection.begin_nested():
            written = add(reports)
    except DBAPIError as error:
        if not is_about_a_row(error):
            raise
        if len(reports) == 1:
            _keep(connection, table, reports[0], name_refusal(error), now)
            return 0, 1
    else:
        connection.execute(delete(refused_rows).where(_those(table, reports)))
        return written, 0
    half = len(reports) // 2
    first, second = (write_each(connection, table, part, add, now) for part in (reports[:half], reports[half:]))
    return first[0] + second[0], first[1] + second[1]


def count_refused(connection: Connection, now: datetime) -> int:
    """Return how many rows are to be tried again."""
    return connection.scalar(select(func.count()).where(_is_due(now))) or 0


def read_refused(connection: Connection, now: datetime) -> list[Report]:
    """Return what was refused and is to be tried again."""
    t = refused_rows.c
    found = select(t.row).where(_is_due(now)).order_by(t.last_refused_at, t.row_id).limit(MAX_RETRIED)
    return [_report(row) for row in connection.execute(found).scalars()]


def row_id(table: str, report: Report) -> UUID:
    """Return the id that the row of a report has in its table."""
    said = f"twilio-report:{report.sid}:{report.status}:{report.error_code}"
    key = said if table == STATUS_ROWS else f"twilio-price:{report.sid}"
    return UUID(md5(key.encode()).hexdigest())  # noqa: S324 - an id, as PostgreSQL derives it


def _is_due(now: datetime) -> Any:
    return refused_rows.c.last_refused_at <= now - PAUSE


def _those(table: str, reports: Sequence[Report]) -> Any:
    t = refused_rows.c
    return (t.table_name == table) & t.row_id.in_([row_id(table, report) for report in reports])


def _keep(connection: Connection, table: str, report: Report, reason: str, now: datetime) -> None:
    row = {"sid": report.sid, "status": "", "error_code": "", "price": None, "price_unit": "", "segments": ""}
    if table == STATUS_ROWS:
        row |= {"status": report.status, "error_code": report.error_code, "segments": report.segments}
    else:
        row |= {"price": str(report.price), "price_unit": report.price_unit}
    values = {"table_name": table, "row_id": row_id(table, report), "row": row, "reason": reason, "refused_count": 1}
    kept = insert(refused_rows).values(**values, first_refused_at=now, last_refused_at=now)
    again = {
        "reason": kept.excluded.reason,
        "refused_count": refused_rows.c.refused_count + 1,
        "last_refused_at": func.greatest(refused_rows.c.last_refused_at, kept.excluded.last_refused_at),
    }
    connection.execute(kept.on_conflict_do_update(index_elements=["table_name", "row_id"], set_=again))


def _report(row: dict[str, Any]) -> Report:
    price = None if row["price"] is None else Decimal(row["price"])
    told = {key: row[key] for key in ("sid", "status", "error_code", "price_unit", "segments")}
    return Report(**told, price=price, is_outbound=True)
