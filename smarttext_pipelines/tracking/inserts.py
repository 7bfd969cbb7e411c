"""How rows reach the database: one statement per table and batch, each row once by its id, refused rows set apart."""

from collections.abc import Sequence
from typing import Any

import psycopg

from smarttext_pipelines.database.connect import parse_url
from smarttext_pipelines.tracking import fork_gate
from smarttext_pipelines.tracking.answers import About, about, reason

# Another table should not wait long for one that somebody has locked.
_LIMITS = "SELECT set_config('statement_timeout', '20s', true), set_config('lock_timeout', '2s', true)"

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


TABLES = ("sms_events", "call_events", "owner_alerts", "api_usage")
_STATEMENTS = {table: _statement(table) for table in TABLES}


def connect(url: str) -> psycopg.Connection[Any]:
    """Return a connection that works behind a transaction pooler, and notices within seconds when it is dead."""
    parsed = parse_url(url)
    names: Any = {**parsed.translate_connect_args(database="dbname", username="user"), **parsed.query}
    with fork_gate.opening():
        return _open(names)


def _open(names: Any) -> psycopg.Connection[Any]:
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


def insert(connection: psycopg.Connection[Any], table: str, rows: Sequence[str]) -> list[tuple[str, str]]:
    """Insert rows; return each that can never be written, and why.

    Raises:
        psycopg.Error: Connection or table cannot be used now; rows that are written again are written once.
    """
    refused = _insert(connection, table, rows)
    if len(refused) == len(rows):
        for _, error in refused:
            if about(error) is About.some_row:
                raise error
    return [(row, reason(error)) for row, error in refused]


def _insert(connection: psycopg.Connection[Any], table: str, rows: Sequence[str]) -> list[tuple[str, psycopg.Error]]:
    try:
        with connection.transaction():
            connection.execute(_LIMITS)
            connection.execute(_STATEMENTS[table], [f"[{','.join(rows)}]"])
    except psycopg.Error as error:
        if about(error) in (About.connection, About.table):
            raise
        if len(rows) == 1:
            return [(rows[0], error)]
        half = len(rows) // 2
        return _insert(connection, table, rows[:half]) + _insert(connection, table, rows[half:])
    return []
