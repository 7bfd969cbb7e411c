"""How rows reach the database: one statement per table and batch, each row once by its id, refused rows set apart."""

from collections.abc import Sequence
from typing import Any

import psycopg

from smarttext_pipelines.storage.connect import parse_url
from smarttext_pipelines.tracking.answers import About, about, reason

# Another table shall not wait long for one that somebody has locked.
_LIMITS = "SELECT set_config('statement_timeout', '20s', true), set_config('lock_timeout', '2s', true)"

_COLUMNS = {
    "sms_events": "id uuid, message_sid text, from_number text, to_number text, business_id uuid, status text, "
    "error_code text, error_message text, request_id text, body_length integer, created_at timestamptz, payload jsonb",
    "call_events": "id uuid, call_sid text, from_number text, to_number text, business_id uuid, event_type text, "
    "call_status text, owner_notified boolean, ts timestamptz, payload jsonb",
    "owner_alerts": "id uuid, business_id uuid, owner_phone text, customer_phone text, alert_type text, "
    "message_content text, detection_source text, message_sid text, delivered boolean, error_message text, "
    "created_at timestamptz",
    "api_usage": "id uuid, endpoint text, business_id uuid, tokens_used integer, cost_estimate numeric, model text, "
    "created_at timestamptz, request_id text, metadata jsonb",
}
# The day of usage is that of its call, also when it is written late; what was reserved is booked by its settlement.
_EXTRA = {"api_usage": (", service, reset_date", ", 'openai', monitoring.reporting_day(r.created_at)")}
_UNLESS_RESERVED = """
WHERE NOT EXISTS (
    SELECT FROM monitoring.openai_reservations AS reserved WHERE reserved.request_id = r.request_id)
"""


def _statement(table: str) -> str:
    names = ", ".join(column.split()[0] for column in _COLUMNS[table].split(", "))
    more, values = _EXTRA.get(table, ("", ""))
    condition = _UNLESS_RESERVED if table == "api_usage" else ""
    return (
        f"INSERT INTO public.{table} ({names}{more}) SELECT {names}{values} "  # noqa: S608 - names of ours
        f"FROM jsonb_to_recordset(%s::jsonb) AS r ({_COLUMNS[table]}) {condition} ON CONFLICT (id) DO NOTHING"
    )


TABLES = tuple(_COLUMNS)
_STATEMENTS = {table: _statement(table) for table in _COLUMNS}


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
