"""Views, functions, policies, grants and comments: replaced as a whole by every ``migrate``.

They hold no rows, and roles may appear after the first migration, so they have no revision of their own.
"""

from zoneinfo import ZoneInfo

from smarttext_pipelines.storage.explaining import view_statements
from smarttext_pipelines.storage.guardrail import PUBLIC_FUNCTIONS, guardrail_statements
from smarttext_pipelines.storage.migrations.lock import TAKE
from smarttext_pipelines.storage.roles import role_grants
from smarttext_pipelines.storage.schema import metadata
from smarttext_pipelines.storage.sources import ADD_FUNCTIONS, READ_FUNCTIONS

_WANTED = """
CREATE OR REPLACE TEMPORARY VIEW wanted_sms_failure_rates AS
SELECT business_id, date, total_attempts, successful, failed, failure_rate_percent::numeric AS failure_rate_percent,
       in_flight, suppressed, unknown, coverage_percent, failure_rate_lower_percent,
       failed_unreachable, failed_invalid_number, failed_opted_out, failed_filtered, failed_registration,
       failed_throughput, failed_account, failed_provider, failed_unmapped
FROM monitoring.sms_failure_rates;
CREATE OR REPLACE TEMPORARY VIEW wanted_openai_daily_usage AS
SELECT business_id, day AS date, sum(tokens_used)::bigint AS total_tokens, sum(cost_usd) AS total_cost,
       sum(request_count)::bigint AS requests, sum(unpriced_requests)::bigint AS unpriced_requests
FROM monitoring.spend
WHERE service = 'openai'
GROUP BY business_id, day;
"""

# Only what differs is changed, and locked: a migrate with nothing to do disturbs nobody.
_RELATIONS = """
DO $do$
DECLARE
    name text;
    definition text;
    relations text;
    has_service boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role');
    stale_tables text[] := ARRAY(
        SELECT c.relname FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relname IN ('businesses', 'call_events', 'sms_events', 'api_usage', 'owner_alerts', 'daily_stats')
            AND c.relkind IN ('r', 'p')
            AND (NOT c.relrowsecurity
                 OR EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'Service role can do all')
                 OR has_service AND NOT EXISTS (
                    SELECT FROM pg_policies WHERE schemaname = 'public' AND tablename = c.relname
                        AND policyname = 'service_role_all' AND roles = ARRAY['service_role'::name]
                        AND permissive = 'PERMISSIVE' AND cmd = 'ALL' AND qual = 'true' AND with_check = 'true')));
    stale_views text[] := ARRAY(
        SELECT v FROM unnest(ARRAY['sms_failure_rates', 'openai_daily_usage']) AS v
        LEFT JOIN pg_class AS c ON c.oid = to_regclass('public.' || v)
        WHERE pg_get_viewdef(c.oid) IS DISTINCT FROM pg_get_viewdef(('pg_temp.wanted_' || v)::regclass)
            OR c.reloptions IS DISTINCT FROM ARRAY['security_invoker=true']);
BEGIN
    relations := (
        SELECT string_agg(DISTINCT 'public.' || stale, ', ')
        FROM unnest(stale_tables || stale_views || ARRAY['api_usage']) AS stale
        WHERE to_regclass('public.' || stale) IS NOT NULL AND cardinality(stale_tables || stale_views) > 0);
{take}
    FOREACH name IN ARRAY stale_tables LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('DROP POLICY IF EXISTS "Service role can do all" ON public.%I', name);
        EXECUTE format('DROP POLICY IF EXISTS service_role_all ON public.%I', name);
        IF has_service THEN
            EXECUTE format('CREATE POLICY service_role_all ON public.%I TO service_role USING (true) WITH CHECK (true)',
                           name);
        END IF;
    END LOOP;
    FOREACH name IN ARRAY stale_views LOOP
        definition := format('CREATE OR REPLACE VIEW public.%I WITH (security_invoker = true) AS %s',
                             name, pg_get_viewdef(('pg_temp.wanted_' || name)::regclass));
        -- Replaced where possible, because what somebody has built on a view would forbid to drop it.
        BEGIN
            EXECUTE definition;
        EXCEPTION WHEN invalid_table_definition THEN
            EXECUTE format('DROP VIEW public.%I', name);
            EXECUTE definition;
        END;
    END LOOP;
    DROP VIEW pg_temp.wanted_sms_failure_rates, pg_temp.wanted_openai_daily_usage;
END $do$;
"""

_FUNCTIONS = """
DO $do$
DECLARE
    -- PostgREST calls a function by the names of its arguments: an adopted one keeps them.
    arguments text := pg_get_function_arguments(to_regprocedure('public.update_daily_stats(uuid, date)'));
BEGIN
    DROP FUNCTION IF EXISTS public.update_daily_stats(uuid, date);
    EXECUTE format($create$
CREATE FUNCTION public.update_daily_stats(%s) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO monitoring.rollup_requests (row_day, business_id, reason)
    VALUES (coalesce($2, (now() AT TIME ZONE (SELECT reporting_timezone FROM monitoring.installation))::date),
            $1, 'update_daily_stats()');
$$ $create$, coalesce(arguments, 'business_id_param uuid, date_param date'));
END $do$;
COMMENT ON FUNCTION public.update_daily_stats(uuid, date) IS 'Asks for a rollup of the day; a sensor serves it.';
"""

_GRANTS = """
DO $$
DECLARE
    relation text;
    grantee text;
    routine regprocedure;
    tables text[] := ARRAY['businesses', 'call_events', 'sms_events', 'api_usage', 'owner_alerts', 'daily_stats'];
    views text[] := ARRAY['sms_failure_rates', 'openai_daily_usage'];
    routines regprocedure[] := ARRAY[{routines}]::regprocedure[];
BEGIN
    FOREACH grantee IN ARRAY ARRAY['public', 'anon', 'authenticated', 'service_role'] LOOP
        CONTINUE WHEN grantee <> 'public' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = grantee);
        FOREACH relation IN ARRAY tables || views LOOP
            EXECUTE format('REVOKE ALL ON public.%I FROM %s', relation, grantee);
        END LOOP;
        FOREACH routine IN ARRAY routines LOOP
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', routine, grantee);
        END LOOP;
        EXECUTE format('REVOKE ALL ON SCHEMA monitoring FROM %s', grantee);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA monitoring FROM %s', grantee);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA monitoring FROM %s', grantee);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        FOREACH relation IN ARRAY tables LOOP
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO service_role', relation);
        END LOOP;
        FOREACH relation IN ARRAY views LOOP
            EXECUTE format('GRANT SELECT ON public.%I TO service_role', relation);
        END LOOP;
        FOREACH routine IN ARRAY routines LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', routine);
        END LOOP;
        GRANT USAGE ON SCHEMA monitoring TO service_role;
        GRANT SELECT ON monitoring.sms_failure_rates, monitoring.spend TO service_role;
        -- What the tracking library needs beyond the event tables.
        GRANT EXECUTE ON FUNCTION monitoring.reporting_day(timestamptz), {writing} TO service_role;
        GRANT SELECT (request_id) ON monitoring.openai_reservations TO service_role;
        GRANT SELECT, INSERT, UPDATE ON monitoring.tracking_writers TO service_role;
    END IF;
END $$;
"""

_RESET_DATE = """
DO $$
DECLARE
    relations text := 'public.api_usage';
BEGIN
    IF (SELECT a.attgenerated = '' FROM pg_attribute AS a
        WHERE a.attrelid = 'public.api_usage'::regclass AND a.attname = 'reset_date')
        AND strpos(coalesce((SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef AS d
                        JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                        WHERE a.attrelid = 'public.api_usage'::regclass AND a.attname = 'reset_date'), ''),
              'AT TIME ZONE \'\'{zone}\'\'') = 0 THEN
{take}
        ALTER TABLE public.api_usage ALTER COLUMN reset_date SET DEFAULT (now() AT TIME ZONE '{zone}')::date;
    END IF;
END $$
"""

_COMMENTS = """
DO $do$
DECLARE
    new record;
BEGIN
    FOR new IN SELECT v.* FROM (VALUES
        {values}
    ) AS v (relation, attribute, comment)
    JOIN pg_class AS c ON c.oid = v.relation AND c.relkind IN ('r', 'p')
    LEFT JOIN pg_attribute AS a ON a.attrelid = v.relation AND a.attname = v.attribute
    LEFT JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = v.relation
        AND d.objsubid = coalesce(a.attnum, 0)
    WHERE d.description IS DISTINCT FROM v.comment
    LOOP
        IF new.attribute IS NULL THEN
            EXECUTE format('COMMENT ON TABLE %s IS %L', new.relation, new.comment);
        ELSE
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', new.relation, new.attribute, new.comment);
        END IF;
    END LOOP;
END $do$
"""


def access_statements(zone: ZoneInfo) -> list[str]:
    """Return the statements that give views, functions, rights, defaults and comments their present state."""
    relations = _RELATIONS.replace("{take}", TAKE)
    routines = ", ".join(f"'public.{name}'" for name in ("update_daily_stats(uuid, date)", *PUBLIC_FUNCTIONS))
    grants = _GRANTS.replace("{routines}", routines).replace("{writing}", ", ".join(ADD_FUNCTIONS))
    guard = [f"public.{name}" for name in PUBLIC_FUNCTIONS]
    roles = role_grants(
        writer=[*guard[:3], *ADD_FUNCTIONS], pipeline=[*guard[3:], *READ_FUNCTIONS], reading=READ_FUNCTIONS
    )
    return [
        _WANTED,
        relations,
        reset_date_default(zone),
        _FUNCTIONS,
        *guardrail_statements(),
        *view_statements(),
        grants,
        roles,
        _comments(),
    ]


def reset_date_default(zone: ZoneInfo) -> str:
    """Return the statement that makes usage count for the reporting day of its insertion.

    The zone is a literal: a function in ``monitoring`` would make the insert of a role without rights there fail.
    """
    return _RESET_DATE.replace("{zone}", zone.key).replace("{take}", TAKE)


def _comments() -> str:
    tables = metadata.sorted_tables
    on_tables = [(table, None, table.comment) for table in tables]
    on_columns = [(table, column.name, column.comment) for table in tables for column in table.columns]
    values = (
        f"('{table.schema}.{table.name}'::regclass, {_literal(name)}, {_literal(comment)})"
        for table, name, comment in [*on_tables, *on_columns]
    )
    return _COMMENTS.replace("{values}", ",\n        ".join(values))


def _literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"
