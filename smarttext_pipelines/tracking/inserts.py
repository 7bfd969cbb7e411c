"""How rows reach the database: one statement per table and batch, each row once by its id, bad rows set apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg.errors import DataError, IntegrityError

from smarttext_pipelines.storage.connect import parse_url

Row = tuple[str, str]
"""Table, and the row as a JSON object."""

STATEMENT_TIMEOUT = "20s"

# The day of usage is that of its call, also when it is written late; what was reserved is booked by its settlement.
_UNLESS_RESERVED = """
WHERE NOT EXISTS (
    SELECT FROM monitoring.openai_reservations AS reserved WHERE reserved.request_id = r.request_id)
"""


def _statement(table: str) -> str:
    if table != "api_usage":
        return f"SELECT monitoring.add_{table}(%s::jsonb)"
    return (
        "SELECT monitoring.add_api_usage(jsonb_agg(told || jsonb_build_object('service', 'openai', 'reset_date', "  # noqa: S608
        "monitoring.usage_date(r.created_at)))) FROM jsonb_array_elements(%s::jsonb) AS told, "
        f"jsonb_to_record(told) AS r (created_at timestamptz, request_id text) {_UNLESS_RESERVED}"
    )


_TABLES = ("sms_events", "call_events", "owner_alerts", "api_usage")
_STATEMENTS = {table: _statement(table) for table in _TABLES}


def connect(url: str) -> psycopg.Connection[Any]:
    """Return a connection that a transaction pooler can serve, and that notices within seconds when it is dead."""
    parsed = parse_url(url)
    names: Any = {**parsed.translate_connect_args(database="dbname", username="user"), **parsed.query}
    return psycopg.connect(
        **names,
        autocommit=True,
        prepare_threshold=None,
        connect_timeout=3,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )


def insert(connection: psycopg.Connection[Any], rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Insert rows; return table and reason of each that can never be written.

    Raises:
        psycopg.Error: The database cannot be reached or used now; nothing is known of the rows that were under way.
    """
    by_table: dict[str, list[str]] = {}
    for table, row in rows:
        by_table.setdefault(table, []).append(row)
    return [bad for table, some in by_table.items() for bad in _insert(connection, table, some)]


def _insert(connection: psycopg.Connection[Any], table: str, rows: Sequence[str]) -> list[tuple[str, str]]:
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
            connection.execute(_STATEMENTS[table], [f"[{','.join(rows)}]"])
    except (DataError, IntegrityError) as error:
        if len(rows) == 1:
            return [(table, _reason(error))]
        half = len(rows) // 2
        return _insert(connection, table, rows[:half]) + _insert(connection, table, rows[half:])
    return []


def _reason(error: psycopg.Error) -> str:
    """Return the error without DETAIL, which quotes the row."""
    if error.diag.constraint_name and error.sqlstate == "23503":
        return "business_id names no business"
    return (error.diag.message_primary or "the row cannot be stored").splitlines()[0]
