"""Row level security and the two views in ``public``: only what differs is changed, and locked.

A view keeps the columns that it had, with their order and types, and what it was sorted by; ours come after them. Row
level security stays as it was found on a table of the application; on ours it is on.
"""

from collections.abc import Mapping

from smarttext_pipelines.schema.migrations.lock import TAKE
from smarttext_pipelines.schema.public_state import TABLES, VIEWS

SOURCES = {"sms_failure_rates": "monitoring.sms_failure_rates", "openai_daily_usage": "monitoring.spend"}
"""View → what it reads."""

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

_RELATIONS = """
DO $do$
DECLARE
    name text;
    chosen text;
    definition text;
    relations text;
    holder record;
    others jsonb;
    needs_policy boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role' AND NOT rolbypassrls);
    stale_tables text[] := ARRAY(
        SELECT c.relname FROM pg_class AS c
        CROSS JOIN LATERAL (
            -- What was found without it stays so: its grants say who reads.
            SELECT c.relrowsecurity OR NOT EXISTS (
                SELECT FROM monitoring.adoption_record AS r
                WHERE r.occasion = 'adoption' AND r.kind = 'table' AND r.object = c.relname
                    AND (c.relname = 'businesses' OR r.state ->> 'row_security' = 'false')) AS is_secured
        ) AS wanted
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY ('{{tables}}') AND wanted.is_secured
            AND c.relkind IN ('r', 'p')
            AND (NOT c.relrowsecurity
                 OR needs_policy AND NOT EXISTS (
                    SELECT FROM pg_policies WHERE schemaname = 'public' AND tablename = c.relname
                        AND policyname = 'service_role_all' AND roles = ARRAY['service_role'::name]
                        AND permissive = 'PERMISSIVE' AND cmd = 'ALL' AND qual = 'true' AND with_check = 'true')));
    stale_views text[] := '{}';
BEGIN
    FOREACH name IN ARRAY '{{views}}'::text[] LOOP
        -- A view of others that has more columns than we know cannot be kept.
        chosen := (
            SELECT string_agg(
                CASE WHEN f.atttypid IS NULL OR (f.atttypid, f.atttypmod) = (o.atttypid, o.atttypmod)
                     THEN format('w.%I', o.attname)
                     ELSE format('w.%1$I::%2$s AS %1$I', o.attname, format_type(f.atttypid, f.atttypmod)) END,
                ', ' ORDER BY f.attnum, o.attnum)
            FROM pg_attribute AS o
            LEFT JOIN pg_attribute AS f ON f.attname = o.attname AND f.attnum > 0
                AND f.attrelid = to_regclass('public.' || name)
                AND NOT EXISTS (
                    SELECT FROM pg_attribute AS more WHERE more.attrelid = f.attrelid AND more.attnum > 0
                        AND more.attname NOT IN (
                            SELECT attname FROM pg_attribute WHERE attrelid = o.attrelid AND attnum > 0))
            WHERE o.attrelid = ('pg_temp.wanted_' || name)::regclass AND o.attnum > 0);
        EXECUTE format('CREATE TEMPORARY VIEW target_%s AS SELECT %s FROM (%s) AS w%s', name, chosen,
                       rtrim(pg_get_viewdef(('pg_temp.wanted_' || name)::regclass), ';'),
                       '{orders}'::jsonb ->> name);
        IF pg_get_viewdef(to_regclass('public.' || name))
               IS DISTINCT FROM pg_get_viewdef(('pg_temp.target_' || name)::regclass)
           OR (SELECT reloptions FROM pg_class WHERE oid = to_regclass('public.' || name))
               IS DISTINCT FROM ARRAY['security_invoker=true'] THEN
            stale_views := stale_views || name;
        END IF;
    END LOOP;
    relations := (
        SELECT string_agg(DISTINCT 'public.' || stale, ', ')
        FROM unnest(stale_tables || stale_views || ARRAY['api_usage']) AS stale
        WHERE to_regclass('public.' || stale) IS NOT NULL AND cardinality(stale_tables || stale_views) > 0);
{take}
    FOREACH name IN ARRAY stale_tables LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('DROP POLICY IF EXISTS service_role_all ON public.%I', name);
        IF needs_policy THEN
            EXECUTE format('CREATE POLICY service_role_all ON public.%I TO service_role USING (true) WITH CHECK (true)',
                           name);
        END IF;
    END LOOP;
    FOREACH name IN ARRAY stale_views LOOP
        definition := format('CREATE OR REPLACE VIEW public.%I WITH (security_invoker = true) AS %s',
                             name, pg_get_viewdef(('pg_temp.target_' || name)::regclass));
        -- Replaced where possible, because what somebody has built on a view would forbid to drop it.
        BEGIN
            EXECUTE definition;
        EXCEPTION WHEN invalid_table_definition THEN
            others := (SELECT r.state -> 'rights' FROM monitoring.adoption_record AS r
                       WHERE r.occasion = 'adoption' AND r.kind = 'view' AND r.object = name);
            EXECUTE format('DROP VIEW public.%I', name);
            EXECUTE definition;
            FOR holder IN
                SELECT key, value FROM jsonb_each(coalesce(nullif(others, 'null'), '{}')) JOIN pg_roles ON rolname = key
            LOOP
                EXECUTE format('GRANT %s ON public.%I TO %I',
                               (SELECT string_agg(v, ', ') FROM jsonb_array_elements_text(holder.value) AS v),
                               name, holder.key);
            END LOOP;
        END;
    END LOOP;
    DROP VIEW pg_temp.target_sms_failure_rates, pg_temp.target_openai_daily_usage;
    DROP VIEW pg_temp.wanted_sms_failure_rates, pg_temp.wanted_openai_daily_usage;
END $do$;
"""


def public_view_statements(orders: Mapping[str, str]) -> list[str]:
    """Return the statements that bring row level security and the views to their present state.

    Args:
        orders: View → its sort order; other views are not sorted.
    """
    clauses = ", ".join(f'"{view}": " ORDER BY {_json(order)}"' for view, order in orders.items() if order)
    values = {
        "{{tables}}": f"{{{','.join(TABLES)}}}",
        "{{views}}": f"{{{','.join(VIEWS)}}}",
        "{orders}": f"{{{clauses}}}".replace("'", "''"),
        "{take}": TAKE,
    }
    statement = _RELATIONS
    for name, value in values.items():
        statement = statement.replace(name, value)
    return [_WANTED, statement]


def _json(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
