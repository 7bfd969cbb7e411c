"""Whether the application's tables take the rows that are written into them: each kind is tried, and rolled back."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from smarttext_pipelines.core.statuses import RANK, REPORT_REQUEST_ID
from smarttext_pipelines.database.connect import connected, describe, is_about_a_row, name_refusal
from smarttext_pipelines.health.verdicts import Line, State

NAME = "table rows"
REPORTED = [status for status in RANK if status not in ("unknown", "rate_limited", "skipped")]
"""Statuses that Twilio tells."""

OLDEST_SECONDS = 900.0
"""How old an answer may be for those that ask every minute: a row that is rolled back leaves a dead one behind."""

_MAY = text(
    """
    SELECT t.name, c.relkind IN ('r', 'p') AS is_table,
           has_function_privilege('monitoring.add_' || t.name || '(jsonb)', 'EXECUTE')
               AND has_table_privilege('public.' || t.name, 'INSERT') AS may_insert
    FROM unnest(CAST(:names AS text[])) AS t (name) JOIN pg_class AS c ON c.oid = to_regclass('public.' || t.name)
    """
)
_READ_ONLY = text("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean")
_USES_GUARD = text("SELECT EXISTS (SELECT FROM monitoring.openai_reservations)")
_KEPT = text(
    "SELECT table_name, count(*) AS n, max(reason) AS reason FROM monitoring.refused_rows GROUP BY 1 ORDER BY 1"
)
_PATIENCE = "SET LOCAL statement_timeout = '5s'", "SET LOCAL lock_timeout = '2s'"

_answers: dict[str, tuple[float, Line]] = {}


@dataclass(frozen=True)
class Probe:
    """A row that is tried.

    Attributes:
        table: Where.
        what: What is written so.
        row: The row.
    """

    table: str
    what: str
    row: dict[str, Any]


def probes(now: datetime) -> Iterator[Probe]:
    """Yield a row of each kind that this installation, or the tracking library for it, writes."""
    at = now.isoformat()
    for status in REPORTED:
        row = {"message_sid": f"SM{uuid4().hex}", "from_number": "+15550100000", "to_number": "+15550100000"}
        told = {"status": status, "request_id": REPORT_REQUEST_ID, "created_at": at, "payload": {"source": "twilio"}}
        yield Probe("sms_events", f"the status '{status}'", {**row, **told})
    usage = {"tokens_used": 0, "request_id": str(uuid4()), "created_at": at, "reset_date": now.date().isoformat()}
    # Nothing is counted of a row without tokens and cost, so that no budget is locked.
    settled = {"service": "openai", "endpoint": "chat", "cost_estimate": 0, "model": "gpt-4o-mini"}
    yield Probe("api_usage", "a settled call", {**usage, **settled})
    yield Probe("api_usage", "a price", {**usage, "service": "twilio", "endpoint": "sms", "cost_estimate": "0.0079"})
    call = {"call_sid": f"CA{uuid4().hex}", "from_number": "+15550100000", "to_number": "+15550100000", "ts": at}
    for kind in ("voice.inbound", "voice.missed", "sms.inbound"):
        yield Probe("call_events", f"the event '{kind}'", {**call, "event_type": kind, "payload": {}})


def table_rows(engine: Engine, *, anew: bool) -> Line:
    """Judge whether the tables take our rows, and whether some wait because they did not.

    Args:
        engine: Result of ``open_engine``.
        anew: Whether an answer of the last quarter of an hour does not do.
    """
    place = f"{describe(engine.url)} {engine.url.username}"
    at, line = _answers.get(place, (0.0, None))
    if line is None or anew or time.monotonic() - at > OLDEST_SECONDS:
        line = _look(engine)
        _answers[place] = (time.monotonic(), line)
    return line


def _look(engine: Engine) -> Line:
    with connected(engine) as connection:
        kept = [f"{row.n} rows of {row.table_name} wait ({row.reason})" for row in connection.execute(_KEPT)]
        if connection.execute(_READ_ONLY).scalar_one():
            return Line(NAME, State.unknown, "not tried: the database is read only")
        tried = list(probes(datetime.now(UTC)))
        found = connection.execute(_MAY, {"names": sorted({probe.table for probe in tried})}).all()
        writable = {row.name for row in found if row.is_table and row.may_insert}
        is_guarded = bool(connection.execute(_USES_GUARD).scalar())
        connection.rollback()
        refusals = _refusals(connection, [probe for probe in tried if probe.table in writable])
    if refusals or kept:
        return _refused(refusals, kept, is_guarded=is_guarded)
    untried = sorted({row.name for row in found} - writable)
    if untried:
        return Line(NAME, State.unknown, f"not tried, because this role writes nothing there: {', '.join(untried)}")
    return Line(NAME, State.ok, "each kind of row that is written was taken, and rolled back")


def _refused(refusals: list[str], kept: list[str], *, is_guarded: bool) -> Line:
    # What is reported and tracked can be written later; what the guard cannot book, it holds back.
    holds_back = is_guarded and any(refusal.startswith("api_usage") for refusal in refusals)
    todo = "let the constraint allow it, or give the column a default; what waits is written within an hour then"
    return Line(NAME, State.fail if holds_back else State.warn, "; ".join([*refusals, *kept]), todo)


def _refusals(connection: Connection, tried: list[Probe]) -> list[str]:
    """Return what the tables refuse, a line for each table and reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    with connection.begin() as transaction:
        for setting in _PATIENCE:
            connection.exec_driver_sql(setting)
        for probe in tried:
            if reason := _refusal(connection, probe):
                reasons.setdefault((probe.table, reason), []).append(probe.what)
        transaction.rollback()
    return [f"{table} refuses {', '.join(what)}: {reason}" for (table, reason), what in reasons.items()]


def _refusal(connection: Connection, probe: Probe) -> str | None:
    statement = text(f"SELECT monitoring.add_{probe.table}(CAST(:rows AS jsonb))")
    attempt = connection.begin_nested()
    try:
        connection.execute(statement, {"rows": json.dumps([{"id": str(uuid4()), **probe.row}])})
    except DBAPIError as error:
        if not is_about_a_row(error):
            raise
        return name_refusal(error)
    finally:
        attempt.rollback()
    return None
