"""Views, functions, policies, grants and comments: replaced as a whole by every ``migrate``.

They hold no rows, and roles may appear after the first migration, so they have no revision of their own.
"""

from zoneinfo import ZoneInfo

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import ExecutableDDLElement, SetColumnComment, SetTableComment

from smarttext_pipelines.storage.schema import metadata

_VIEWS = """
DROP VIEW IF EXISTS public.sms_failure_rates;
DROP VIEW IF EXISTS public.openai_daily_usage;
CREATE VIEW public.sms_failure_rates WITH (security_invoker = true) AS
SELECT business_id, date, total_attempts, successful, failed, failure_rate_percent,
       in_flight, suppressed, unknown, coverage_percent, failure_rate_lower_percent
FROM monitoring.sms_failure_rates;
CREATE VIEW public.openai_daily_usage WITH (security_invoker = true) AS
SELECT business_id, day AS date, sum(tokens_used)::bigint AS total_tokens, sum(cost_usd) AS total_cost,
       sum(request_count)::bigint AS requests, sum(unpriced_requests)::bigint AS unpriced_requests
FROM monitoring.spend
WHERE service = 'openai'
GROUP BY business_id, day;
"""

_FUNCTIONS = """
DROP FUNCTION IF EXISTS public.update_daily_stats(uuid, date);
CREATE FUNCTION public.update_daily_stats(p_business_id uuid, p_date date) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO monitoring.rollup_requests (row_day, business_id, reason)
    VALUES (coalesce(p_date, (now() AT TIME ZONE (SELECT reporting_timezone FROM monitoring.installation))::date),
            p_business_id, 'update_daily_stats()');
$$;
COMMENT ON FUNCTION public.update_daily_stats(uuid, date) IS 'Asks for a rollup of the day; a sensor serves it.';
"""

_ACCESS = """
DO $$
DECLARE
    relation text;
    role_name text;
    old record;
    relations text[] := ARRAY['businesses', 'call_events', 'sms_events', 'api_usage', 'owner_alerts', 'daily_stats'];
    views text[] := ARRAY['sms_failure_rates', 'openai_daily_usage'];
    has_service boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role');
BEGIN
    REVOKE ALL ON SCHEMA monitoring FROM PUBLIC;
    REVOKE ALL ON ALL TABLES IN SCHEMA monitoring FROM PUBLIC;
    REVOKE ALL ON FUNCTION public.update_daily_stats(uuid, date) FROM PUBLIC;
    FOREACH relation IN ARRAY relations LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', relation);
        FOR old IN SELECT polname FROM pg_policy WHERE polrelid = format('public.%I', relation)::regclass
            AND polname IN ('Service role can do all', 'service_role_all') LOOP
            EXECUTE format('DROP POLICY %I ON public.%I', old.polname, relation);
        END LOOP;
        IF has_service THEN
            EXECUTE format('CREATE POLICY service_role_all ON public.%I TO service_role USING (true) WITH CHECK (true)',
                           relation);
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO service_role', relation);
        END IF;
    END LOOP;
    FOREACH relation IN ARRAY relations || views LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC', relation);
    END LOOP;
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name);
        FOREACH relation IN ARRAY relations || views LOOP
            EXECUTE format('REVOKE ALL ON public.%I FROM %I', relation, role_name);
        END LOOP;
        EXECUTE format('REVOKE ALL ON FUNCTION public.update_daily_stats(uuid, date) FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON SCHEMA monitoring FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA monitoring FROM %I', role_name);
    END LOOP;
    IF has_service THEN
        FOREACH relation IN ARRAY views LOOP
            EXECUTE format('REVOKE ALL ON public.%I FROM service_role', relation);
            EXECUTE format('GRANT SELECT ON public.%I TO service_role', relation);
        END LOOP;
        GRANT USAGE ON SCHEMA monitoring TO service_role;
        REVOKE ALL ON ALL TABLES IN SCHEMA monitoring FROM service_role;
        GRANT SELECT ON monitoring.sms_failure_rates, monitoring.spend TO service_role;
        GRANT EXECUTE ON FUNCTION public.update_daily_stats(uuid, date) TO service_role;
    END IF;
END $$;
"""


def access_statements(zone: ZoneInfo) -> list[str]:
    """Return the statements that give views, functions, rights, defaults and comments their present state."""
    return [_VIEWS, _FUNCTIONS, _ACCESS, reset_date_default(zone), *_comments()]


def reset_date_default(zone: ZoneInfo) -> str:
    """Return the statement that makes usage count for the reporting day of its insertion.

    The zone is a literal: a function in ``monitoring`` would make the insert of a role without rights there fail.
    """
    return f"ALTER TABLE public.api_usage ALTER COLUMN reset_date SET DEFAULT (now() AT TIME ZONE '{zone.key}')::date"


def _comments() -> list[str]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    tables = metadata.sorted_tables
    on_tables = [SetTableComment(table) for table in tables]
    on_columns = [SetColumnComment(column) for table in tables for column in table.columns]
    comments: list[ExecutableDDLElement] = [*on_tables, *on_columns]
    # The compiler doubles percent signs for drivers that take parameters; these statements take none.
    return [str(ddl.compile(dialect=dialect)).replace("%%", "%") for ddl in comments]
