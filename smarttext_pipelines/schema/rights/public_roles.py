"""The rights of ``PUBLIC``, ``anon``, ``authenticated`` and ``service_role``.

On an adopted table every role that could insert still can; reading and changing are revoked. Usage of paid services
stays readable for roles that both read and wrote it, in the columns that a limit of the application's own sums up.
``businesses`` is left alone. On tables that we made, and once ``smarttext access --revoke-writers`` was run, the public
roles have no rights. ``service_role`` is granted what it needs and keeps what it had.
"""

from collections.abc import Iterable

from smarttext_pipelines.schema.adoption.record import IS_REVOKED
from smarttext_pipelines.schema.public_state import APPLICATION_FUNCTIONS, FUNCTIONS, TABLES, VIEWS
from smarttext_pipelines.schema.rights.roles import SERVICE, functions_of
from smarttext_pipelines.schema.rights.writers import Writers

USAGE_COLUMNS = ("id", "service", "endpoint", "business_id", "tokens_used", "cost_estimate", "created_at", "reset_date")
"""Columns of ``api_usage`` without personal data: what a limit on usage sums up."""

SERVICE_ON_TABLES = ("DELETE", "INSERT", "SELECT", "UPDATE")

_OF_TABLES = """
DO $$
DECLARE
    holder record;
    relation text;
    item record;
    kept text;
    is_adopted boolean;
    is_revoked boolean := {is_revoked};
BEGIN
    FOR holder IN
        SELECT oid, rolname, quote_ident(rolname) AS name FROM pg_roles
        WHERE rolname IN ('anon', 'authenticated', 'service_role')
        UNION ALL SELECT 0, 'PUBLIC', 'PUBLIC'
    LOOP
        FOREACH relation IN ARRAY '{{relations}}'::text[] LOOP
            is_adopted := EXISTS (
                SELECT FROM monitoring.adoption_record AS r
                WHERE r.occasion = 'adoption' AND r.kind = 'table' AND r.object = relation);
            CONTINUE WHEN is_adopted AND relation = 'businesses' OR is_adopted AND holder.rolname = 'service_role';
            kept := (
                SELECT string_agg(quote_ident(a.attname), ', ')
                FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
                WHERE is_adopted AND NOT is_revoked AND relation = 'api_usage' AND holder.rolname = ANY ('{{readers}}')
                    AND c.oid = 'public.api_usage'::regclass AND a.attname = ANY ('{{usage}}') AND EXISTS (
                        SELECT FROM (
                            SELECT * FROM aclexplode(c.relacl) UNION ALL SELECT * FROM aclexplode(a.attacl)) AS g
                        WHERE g.privilege_type = 'SELECT' AND g.grantee = holder.oid));
            FOR item IN
                SELECT DISTINCT g.privilege_type FROM pg_class AS c
                LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
                CROSS JOIN LATERAL (
                    SELECT * FROM aclexplode(c.relacl) UNION ALL SELECT * FROM aclexplode(a.attacl)) AS g
                WHERE c.oid = to_regclass('public.' || relation) AND g.grantee = holder.oid
                    AND NOT (g.privilege_type = 'INSERT' AND is_adopted AND NOT is_revoked)
                    AND NOT (holder.rolname = 'service_role' AND c.relkind <> 'v'
                             AND g.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
            LOOP
                EXECUTE format('REVOKE %s ON public.%I FROM %s', item.privilege_type, relation, holder.name);
            END LOOP;
            IF kept <> '' THEN
                EXECUTE format('GRANT SELECT (%s) ON public.api_usage TO %s', kept, holder.name);
            END IF;
        END LOOP;
        EXECUTE format('REVOKE ALL ON SCHEMA monitoring FROM %s', holder.name);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA monitoring FROM %s', holder.name);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA monitoring FROM %s', holder.name);
    END LOOP;
    -- The views read as their caller: whoever was granted them reads what they read.
    FOR item IN
        SELECT DISTINCT pg_get_userbyid(g.grantee) AS holder,
               CASE c.relname WHEN 'sms_failure_rates' THEN 'sms_failure_rates' ELSE 'spend' END AS source
        FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS g
        WHERE c.oid IN (to_regclass('public.sms_failure_rates'), to_regclass('public.openai_daily_usage'))
            AND g.privilege_type = 'SELECT' AND g.grantee NOT IN (0, c.relowner)
            AND pg_get_userbyid(g.grantee) NOT IN ('anon', 'authenticated')
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA monitoring TO %I', item.holder);
        EXECUTE format('GRANT SELECT ON monitoring.%I TO %I', item.source, item.holder);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        FOREACH relation IN ARRAY '{{relations}}'::text[] LOOP
            EXECUTE format('GRANT %s ON public.%I TO service_role',
                           CASE WHEN relation = ANY ('{{views}}') THEN 'SELECT'
                                ELSE 'SELECT, INSERT, UPDATE, DELETE' END, relation);
        END LOOP;
        GRANT USAGE ON SCHEMA monitoring TO service_role;
        GRANT SELECT ON monitoring.sms_failure_rates, monitoring.spend TO service_role;
        -- What the tracking library needs beyond the event tables.
        GRANT EXECUTE ON FUNCTION {service} TO service_role;
        GRANT SELECT (request_id) ON monitoring.openai_reservations TO service_role;
        GRANT SELECT, INSERT, UPDATE ON monitoring.tracking_writers TO service_role;
    END IF;
END $$;
"""

_OF_FUNCTIONS = """
DO $$
DECLARE
    each record;
BEGIN
    -- PUBLIC comes last: until then it is seen who could call by its right.
    FOR each IN
        SELECT f.routine::regprocedure AS routine, coalesce(quote_ident(r.rolname), 'PUBLIC') AS grantee, r.is_public,
               CASE WHEN r.rolname IS NULL THEN 'PUBLIC' = ANY (f.callers)
                    WHEN r.rolname = 'service_role' THEN true
                    ELSE (r.rolname = ANY (f.callers) OR NOT r.is_public)
                        AND has_function_privilege(r.oid, f.routine::regprocedure, 'EXECUTE') END AS may_call
        FROM (VALUES
            {functions}
        ) AS f (routine, source, callers)
        CROSS JOIN (
            SELECT oid, rolname, rolname IN ('anon', 'authenticated', 'service_role') AS is_public FROM pg_roles
            UNION ALL SELECT 0, NULL, true
        ) AS r
        WHERE r.is_public OR EXISTS (
            SELECT FROM pg_class AS c, aclexplode(c.relacl) AS g
            WHERE c.oid = to_regclass('public.' || f.source) AND g.grantee = r.oid AND g.grantee <> c.relowner
                AND g.privilege_type = 'INSERT')
        ORDER BY r.rolname NULLS LAST
    LOOP
        IF each.is_public THEN
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', each.routine, each.grantee);
        END IF;
        IF each.may_call THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', each.routine, each.grantee);
        END IF;
    END LOOP;
END $$;
"""


def function_rights(writers: Writers) -> str:
    """Return the statement that sets the rights on the functions in ``public``.

    A role that writes a table, and could call the application's own function that writes it, still can.
    """
    callers = {function: sorted(writers.get(APPLICATION_FUNCTIONS.get(function, ""), ())) for function in FUNCTIONS}
    values = (
        f"('public.{function}', '{APPLICATION_FUNCTIONS.get(function, '')}', '{_array(names)}'::text[])"
        for function, names in callers.items()
    )
    return _OF_FUNCTIONS.replace("{functions}", ",\n            ".join(values))


def table_rights(writers: Writers) -> str:
    """Return the statement that sets the rights on tables and views, and in ``monitoring``."""
    values = {
        "{is_revoked}": IS_REVOKED,
        "{{relations}}": _array((*TABLES, *VIEWS)),
        "{{views}}": _array(VIEWS),
        "{{readers}}": _array(sorted(writers.get("api_usage", ()))),
        "{{usage}}": _array(USAGE_COLUMNS),
        "{service}": ", ".join(each for each in functions_of(SERVICE) if each.startswith("monitoring.")),
    }
    statement = _OF_TABLES
    for name, value in values.items():
        statement = statement.replace(name, value)
    return statement


def _array(names: Iterable[str]) -> str:
    return "{" + ",".join(names) + "}"
