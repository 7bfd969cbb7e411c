"""A legacy installation: the application's database as its author left it, on Supabase or on a plain PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import open_engine, parse_url
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

EVENT_TABLES = ("sms_events", "call_events", "api_usage", "owner_alerts")
TABLES = ("businesses", *EVENT_TABLES, "daily_stats")
VIEWS = ("sms_failure_rates", "openai_daily_usage")
ROLES = ("anon", "authenticated", "service_role")
POLICY = "Service role can do all"
DAYS = DayRange(date(2026, 3, 1), date(2026, 3, 10))
"""Days of which ``add_history`` has events and statistics."""

_TABLES = """
CREATE TABLE public.businesses (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL, business_type text DEFAULT 'other',
    public_phone text, twilio_phone text, forwarding_number text, address text,
    subscription_tier text DEFAULT 'basic', trial_ends_at timestamptz, created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(), custom_settings jsonb DEFAULT '{}'::jsonb,
    hours_json jsonb DEFAULT '{}'::jsonb, faqs_json jsonb DEFAULT '[]'::jsonb
);
CREATE TABLE public.call_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), call_sid text, from_number text, to_number text,
    business_id uuid REFERENCES public.businesses (id), event_type text NOT NULL, call_status text,
    owner_notified boolean DEFAULT false, ts timestamptz DEFAULT now(), payload jsonb DEFAULT '{}'::jsonb
);
CREATE TABLE public.sms_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), message_sid text, from_number text NOT NULL,
    to_number text NOT NULL, business_id uuid REFERENCES public.businesses (id), status text NOT NULL,
    error_code text, error_message text, request_id text, body_length int, created_at timestamptz DEFAULT now(),
    payload jsonb DEFAULT '{}'::jsonb
);
CREATE TABLE public.api_usage (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), service text NOT NULL, endpoint text NOT NULL,
    business_id uuid REFERENCES public.businesses (id), tokens_used int DEFAULT 0,
    cost_estimate numeric(10, 6) DEFAULT 0, model text, created_at timestamptz DEFAULT now(),
    reset_date date DEFAULT current_date, request_id text, metadata jsonb DEFAULT '{}'::jsonb
);
CREATE TABLE public.owner_alerts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), business_id uuid NOT NULL REFERENCES public.businesses (id),
    owner_phone text NOT NULL, customer_phone text NOT NULL, alert_type text NOT NULL,
    message_content text NOT NULL, detection_source text, message_sid text, delivered boolean DEFAULT false,
    error_message text, created_at timestamptz DEFAULT now()
);
CREATE TABLE public.daily_stats (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), business_id uuid REFERENCES public.businesses (id),
    date date NOT NULL, calls_total int DEFAULT 0, calls_missed int DEFAULT 0, calls_answered int DEFAULT 0,
    messages_received int DEFAULT 0, messages_sent int DEFAULT 0, sms_success_count int DEFAULT 0,
    sms_failure_count int DEFAULT 0, openai_tokens_used int DEFAULT 0,
    openai_cost_estimate numeric(10, 6) DEFAULT 0, owner_alerts_sent int DEFAULT 0,
    updated_at timestamptz DEFAULT now(), UNIQUE (business_id, date)
);
CREATE INDEX idx_call_events_business_id ON public.call_events (business_id);
CREATE INDEX idx_call_events_call_sid ON public.call_events (call_sid);
CREATE INDEX idx_call_events_ts ON public.call_events (ts);
CREATE INDEX idx_sms_events_business_id ON public.sms_events (business_id);
CREATE INDEX idx_sms_events_created_at ON public.sms_events (created_at);
CREATE INDEX idx_sms_events_message_sid ON public.sms_events (message_sid);
CREATE INDEX idx_sms_events_status ON public.sms_events (status);
CREATE INDEX idx_api_usage_business_id ON public.api_usage (business_id);
CREATE INDEX idx_api_usage_created_at ON public.api_usage (created_at);
CREATE INDEX idx_api_usage_reset_date ON public.api_usage (reset_date);
CREATE INDEX idx_owner_alerts_business_id ON public.owner_alerts (business_id);
CREATE INDEX idx_owner_alerts_created_at ON public.owner_alerts (created_at);
CREATE INDEX idx_daily_stats_business_id ON public.daily_stats (business_id);
CREATE INDEX idx_daily_stats_date ON public.daily_stats (date);
"""

_VIEWS_AND_FUNCTIONS = """
CREATE VIEW public.sms_failure_rates AS
SELECT business_id, created_at::date AS date, count(*) AS total_attempts,
       count(*) FILTER (WHERE status IN ('sent', 'delivered')) AS successful,
       count(*) FILTER (WHERE status IN ('failed', 'undelivered')) AS failed,
       round(100.0 * count(*) FILTER (WHERE status IN ('failed', 'undelivered')) / count(*), 2) AS failure_rate_percent
FROM public.sms_events GROUP BY 1, 2;
CREATE VIEW public.openai_daily_usage AS
SELECT business_id, reset_date AS date, sum(tokens_used) AS total_tokens, sum(cost_estimate) AS total_cost
FROM public.api_usage WHERE service = 'openai' GROUP BY 1, 2;
CREATE FUNCTION public.update_daily_stats(business_id_param uuid, date_param date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    calls record;
    texts record;
    usage record;
BEGIN
    SELECT count(*) AS total, count(*) FILTER (WHERE event_type = 'voice.missed') AS missed,
           count(*) FILTER (WHERE event_type = 'sms.inbound') AS received
    INTO calls FROM call_events WHERE business_id = business_id_param AND ts::date = date_param;
    SELECT count(*) AS sent, count(*) FILTER (WHERE status IN ('sent', 'delivered')) AS successful,
           count(*) FILTER (WHERE status IN ('failed', 'undelivered')) AS failed
    INTO texts FROM sms_events WHERE business_id = business_id_param AND created_at::date = date_param;
    SELECT coalesce(sum(tokens_used), 0) AS tokens, coalesce(sum(cost_estimate), 0) AS cost
    INTO usage FROM api_usage
    WHERE service = 'openai' AND business_id = business_id_param AND reset_date = date_param;
    INSERT INTO daily_stats (business_id, date, calls_total, calls_missed, calls_answered, messages_received,
        messages_sent, sms_success_count, sms_failure_count, openai_tokens_used, openai_cost_estimate,
        owner_alerts_sent)
    VALUES (business_id_param, date_param, calls.total, calls.missed, calls.total - calls.missed, calls.received,
        texts.sent, texts.successful, texts.failed, usage.tokens, usage.cost,
        (SELECT count(*) FROM owner_alerts
         WHERE delivered AND business_id = business_id_param AND created_at::date = date_param))
    ON CONFLICT (business_id, date) DO UPDATE SET calls_total = excluded.calls_total,
        calls_missed = excluded.calls_missed, calls_answered = excluded.calls_answered,
        messages_received = excluded.messages_received, messages_sent = excluded.messages_sent,
        sms_success_count = excluded.sms_success_count, sms_failure_count = excluded.sms_failure_count,
        openai_tokens_used = excluded.openai_tokens_used, openai_cost_estimate = excluded.openai_cost_estimate,
        owner_alerts_sent = excluded.owner_alerts_sent, updated_at = now();
END $$;
CREATE FUNCTION public.reset_daily_openai_usage() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO api_usage (service, endpoint, business_id)
    SELECT 'openai', 'daily_reset', id FROM businesses AS b
    WHERE NOT EXISTS (SELECT FROM api_usage AS u
                      WHERE u.business_id = b.id AND u.endpoint = 'daily_reset' AND u.reset_date = current_date);
END $$;
"""

SCHEMA_SCRIPT = _TABLES + _VIEWS_AND_FUNCTIONS
"""What the application's author runs on a plain PostgreSQL."""

_POLICIES = "".join(
    f"ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY;"
    f"CREATE POLICY \"{POLICY}\" ON public.{table} USING (auth.role() = 'service_role');"
    for table in TABLES
)
_KNOWN_STATS = (
    "id, business_id, date, calls_total, calls_missed, calls_answered, messages_received, messages_sent, "
    "sms_success_count, sms_failure_count, openai_tokens_used, openai_cost_estimate, owner_alerts_sent, updated_at"
)

_CREATE_ROLE = """
DO $$
BEGIN
    CREATE ROLE {role} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another worker was faster
END $$
"""
_SUPABASE = """
CREATE SCHEMA auth;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('role', true) $$;
GRANT USAGE ON SCHEMA auth, public TO PUBLIC;
"""
_OLD_DEFAULT_PRIVILEGES = """
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
"""

# Every message is two rows (the sender's without a business, the caller's with it); every fourth has failed and has no
# sid; every call is repeated by a retried webhook.
_HISTORY = """
INSERT INTO public.businesses (id, name, twilio_phone)
SELECT ('b000000' || n || '-0000-4000-8000-000000000000')::uuid, 'Business ' || n, '+1555000000' || n
FROM generate_series(1, 2) AS n;
CREATE TEMPORARY TABLE moments AS
SELECT b.id AS business_id, b.twilio_phone, day::date AS day, n, day + n * interval '1 hour' AS at,
       to_char(day, 'MMDD') || left(b.id::text, 8) || n AS key
FROM public.businesses AS b, generate_series('2026-03-01'::date, '2026-03-10'::date, '1 day') AS day,
     generate_series(1, 22, 3) AS n;
INSERT INTO public.sms_events (message_sid, from_number, to_number, business_id, status, error_code, request_id,
                               body_length, created_at)
SELECT CASE WHEN n % 4 = 0 THEN '' ELSE 'SM' || key END, twilio_phone, '+1999' || n, owner, status,
       CASE WHEN n % 4 = 0 THEN '30003' END, 'req-' || key, 40 + n, at
FROM moments, LATERAL (
    VALUES (NULL, CASE WHEN n % 4 = 0 THEN 'failed' ELSE 'queued' END),
           (business_id, CASE WHEN n % 4 = 0 THEN 'failed' ELSE 'delivered' END)
) AS r (owner, status);
INSERT INTO public.call_events (call_sid, from_number, to_number, business_id, event_type, ts)
SELECT 'CA' || key, '+1999' || n, twilio_phone, business_id, kind, at
FROM moments, LATERAL (VALUES ('voice.inbound'), ('voice.missed'), ('voice.missed')) AS r (kind);
INSERT INTO public.call_events (call_sid, from_number, to_number, business_id, event_type, ts)
SELECT 'SM' || key, '+1999' || n, twilio_phone, business_id, 'sms.inbound', at FROM moments;
INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, cost_estimate, model, created_at, reset_date)
SELECT 'openai', 'chat', business_id, 100 + n, 0.000123, 'gpt-4o', at, day FROM moments;
INSERT INTO public.owner_alerts (business_id, owner_phone, customer_phone, alert_type, message_content, message_sid,
                                 delivered, created_at)
SELECT business_id, '+1777', '+1999' || n, 'missed_call', 'call back', 'AL' || key, true, at FROM moments;
SELECT public.update_daily_stats(business_id, day) FROM moments GROUP BY business_id, day;
INSERT INTO public.daily_stats (business_id, date, messages_sent, updated_at)
SELECT NULL, '2026-03-02', n, '2026-03-03'::timestamptz + n * interval '1 hour' FROM generate_series(1, 3) AS n;
"""


_CATALOG = """
WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('public', 'monitoring'))
SELECT 'relation' AS kind, nspname AS place, relname AS name,
       concat_ws(' ', relkind, relrowsecurity, reloptions,
                 (SELECT array_agg(a ORDER BY a) FROM unnest(relacl::text[]) AS a)) AS state
FROM pg_class JOIN ours ON ours.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL
SELECT 'column', nspname, relname || '.' || attname,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
                 col_description(attrelid, attnum))
FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid JOIN ours ON ours.oid = relnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm')
UNION ALL
SELECT 'index', schemaname, indexname, indexdef FROM pg_indexes JOIN ours ON nspname = schemaname
UNION ALL
SELECT 'constraint', nspname, conrelid::regclass || '.' || conname, pg_get_constraintdef(c.oid)
FROM pg_constraint AS c JOIN ours ON ours.oid = connamespace
UNION ALL
SELECT 'policy', schemaname, tablename || '.' || policyname, concat_ws(' ', roles, cmd, qual, with_check)
FROM pg_policies JOIN ours ON nspname = schemaname
UNION ALL
SELECT 'view', schemaname, viewname, definition FROM pg_views JOIN ours ON nspname = schemaname
UNION ALL
SELECT 'function', nspname, f.oid::regprocedure::text,
       concat_ws(' ', pg_get_functiondef(f.oid), (SELECT array_agg(a ORDER BY a) FROM unnest(proacl::text[]) AS a))
FROM pg_proc AS f JOIN ours ON ours.oid = pronamespace
ORDER BY 1, 2, 3
"""


def catalog(database: Database, schema: str | None = None) -> list[dict[str, Any]]:
    """Return everything that is defined in our schemas, or in one of them: kind, place, name, state."""
    found = database.rows(_CATALOG)
    return [row for row in found if schema in (None, row["place"])]


def create_roles(server: Server, names: tuple[str, ...] = ROLES) -> None:
    """Create the roles that Supabase has; they belong to the whole server and stay.

    Unlike there ``service_role`` cannot bypass row security, so that the policies have to let it in.
    """
    with server.connect() as connection:
        for name in names:
            connection.execute(_CREATE_ROLE.format(role=name))


def prepare_supabase(database: Database, *, grants_by_default: bool = True) -> None:
    """Give a database what Supabase gives it before its author writes anything."""
    create_roles(database.server)
    _run(database, _SUPABASE + (_OLD_DEFAULT_PRIVILEGES if grants_by_default else ""))


def install_legacy(database: Database, *, on_supabase: bool = True) -> None:
    """Create what the application's author created, without rows."""
    if on_supabase:
        prepare_supabase(database)
    _run(database, SCHEMA_SCRIPT)
    if on_supabase:
        _run(database, _POLICIES)


def add_history(database: Database) -> None:
    """Add two businesses, eight messages, calls, requests and alerts each on every day, and their statistics."""
    _run(database, f"SET timezone = 'UTC'; {_HISTORY}")


def clean_up(database: Database, before: str) -> None:
    """Delete old events as the application's own script does: by their time, in every table."""
    for table in EVENT_TABLES:
        at = "ts" if table == "call_events" else "created_at"
        database.run(f"DELETE FROM public.{table} WHERE {at} < %s", before)


def rows_of(database: Database, table: str) -> list[dict[str, Any]]:
    """Return every row of a table, with the columns that the application knows."""
    known = _KNOWN_STATS if table == "daily_stats" else "*"
    return database.rows(f"SELECT {known} FROM public.{table} ORDER BY id")


@contextmanager
def owned_database(server: Server) -> Iterator[tuple[Database, Engine]]:
    """Give a legacy database whose owner is an ordinary role, and an engine that acts as the owner."""
    owner = f"owner_{uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {owner} NOLOGIN")
    try:
        with fresh_database(server) as database:
            database.run(f"ALTER DATABASE {database.name} OWNER TO {owner}")
            prepare_supabase(database)
            _run(database, f"SET ROLE {owner};{SCHEMA_SCRIPT}{_POLICIES}")
            with acting_as(database, owner) as engine:
                yield database, engine
    finally:
        with server.connect() as connection:
            connection.execute(f"DROP ROLE {owner}")


@contextmanager
def acting_as(database: Database, role: str) -> Iterator[Engine]:
    """Give an engine whose sessions act as the role, whatever the server's authentication is."""
    url = parse_url(database.url).update_query_dict({"options": f"-c role={role}"})
    engine = open_engine(url.render_as_string(hide_password=False))
    try:
        yield engine
    finally:
        engine.dispose()


def _run(database: Database, script: str) -> None:
    with database.server.connect(database.name) as connection:
        connection.execute(script)
