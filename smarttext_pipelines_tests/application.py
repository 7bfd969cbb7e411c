"""The application's own statements, written anew from the data contract: its schema script, and its daily work."""

from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.legacy import EVENT_TABLES, TABLES, install_legacy

BUSINESS = "b0000001-0000-4000-8000-000000000000"

_ALTER = "".join(f"ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY;" for table in TABLES)
_POLICIES = "".join(
    f'DROP POLICY IF EXISTS "Service role can do all" ON public.{table};'
    f"CREATE POLICY \"Service role can do all\" ON public.{table} USING (auth.role() = 'service_role');"
    for table in TABLES
)
FUNCTIONS = """
CREATE OR REPLACE FUNCTION public.update_daily_stats(business_id_param uuid, date_param date) RETURNS void
LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO daily_stats (business_id, date, messages_sent)
    SELECT business_id_param, date_param, count(*) FROM sms_events
    WHERE business_id = business_id_param AND date(created_at) = date_param
    ON CONFLICT (business_id, date) DO UPDATE SET messages_sent = excluded.messages_sent;
END $$;
CREATE OR REPLACE FUNCTION public.reset_daily_openai_usage() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO api_usage (service, endpoint, business_id, tokens_used, cost_estimate)
    SELECT 'openai', 'daily_reset', id, 0, 0 FROM businesses;
END $$;
"""
SCHEMA_SCRIPT = f"""
CREATE TABLE IF NOT EXISTS public.businesses (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL);
CREATE TABLE IF NOT EXISTS public.api_usage (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), service text NOT NULL, endpoint text NOT NULL);
CREATE INDEX IF NOT EXISTS idx_sms_events_status ON public.sms_events (status);
CREATE INDEX IF NOT EXISTS idx_api_usage_reset_date ON public.api_usage (reset_date);
CREATE UNIQUE INDEX IF NOT EXISTS idx_daily_stats_business_date ON public.daily_stats (business_id, date);
{FUNCTIONS}
"""
SECURED_SCRIPT = f"{SCHEMA_SCRIPT}{_ALTER}{_POLICIES}"
"""The schema script of an installation with row level security."""

TRACKING = (
    "INSERT INTO public.sms_events (message_sid, from_number, to_number, business_id, status, request_id) "
    f"VALUES ('SM1', '+15550000001', '+15550000002', '{BUSINESS}', 'queued', 'req-1')",
    "INSERT INTO public.call_events (call_sid, from_number, to_number, business_id, event_type) "
    f"VALUES ('CA1', '+15550000002', '+15550000001', '{BUSINESS}', 'voice.missed')",
    "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, cost_estimate, model) "
    f"VALUES ('openai', 'chat', '{BUSINESS}', 500, 0.01, 'gpt-4o-mini')",
    "INSERT INTO public.owner_alerts (business_id, owner_phone, customer_phone, alert_type, message_content) "
    f"VALUES ('{BUSINESS}', '+15550000003', '+15550000002', 'missed_call', 'call back')",
)
BUSINESSES = "SELECT name FROM public.businesses ORDER BY name"
GUARD = (
    "SELECT coalesce(sum(tokens_used), 0) AS used FROM public.api_usage WHERE service = 'openai' "
    f"AND business_id = '{BUSINESS}' AND reset_date = (now() AT TIME ZONE 'UTC')::date"
)
STATS = f"SELECT public.update_daily_stats('{BUSINESS}', '2026-03-01')"
RESET = "SELECT public.reset_daily_openai_usage()"
VIEWS = (
    "SELECT business_id, date, total_attempts, successful, failed, failure_rate_percent FROM public.sms_failure_rates",
    "SELECT business_id, date, total_tokens, total_cost FROM public.openai_daily_usage",
)
TIMES = {"sms_events": "created_at", "call_events": "ts", "api_usage": "created_at", "owner_alerts": "created_at"}


def install_open(database: Database) -> None:
    """Install the application as one that lives on its anon key: no row level security, everything granted."""
    install_legacy(database)
    for table in TABLES:
        database.run(f"ALTER TABLE public.{table} DISABLE ROW LEVEL SECURITY")
    _add_business(database)


def install_with_policies(database: Database) -> None:
    """Install it with row level security and policies for signed-in users, who write events and read businesses."""
    install_legacy(database)
    for table in (*EVENT_TABLES, "daily_stats"):
        database.run(f"CREATE POLICY users_write ON public.{table} FOR INSERT TO authenticated WITH CHECK (true)")
    database.run("CREATE POLICY users_read ON public.businesses FOR SELECT TO authenticated USING (true)")
    _add_business(database)


def install_closed(database: Database) -> None:
    """Install it with row level security whose one policy is for the service key."""
    install_legacy(database)
    _add_business(database)


def _add_business(database: Database) -> None:
    database.run(f"INSERT INTO public.businesses (id, name) VALUES ('{BUSINESS}', 'Before')")
