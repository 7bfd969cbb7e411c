"""The objects in ``public`` whose names this project shares with the application, as the catalog has them.

One query serves the record of what was found, the table of changes, and the search for what others restored.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from smarttext_pipelines.schema.rights.roles import FUNCTIONS as ROLES_OF_FUNCTIONS

State = Mapping[tuple[str, str], Mapping[str, Any]]
"""(kind, object) → its state: table, view, column, policy, constraint, index, trigger or function."""

EVENT_TABLES = ("call_events", "sms_events", "api_usage", "owner_alerts")
TABLES = ("businesses", *EVENT_TABLES, "daily_stats")
VIEWS = ("sms_failure_rates", "openai_daily_usage")
PUBLIC_ROLES = ("PUBLIC", "anon", "authenticated")
"""The roles of callers with the public key, which is in every browser, or with none."""

APPLICATION_FUNCTIONS = {
    "update_daily_stats(uuid, date)": "daily_stats",
    "reset_daily_openai_usage()": "api_usage",
}
"""Functions that the application has, too, and the table that each of them is about."""

FUNCTIONS = tuple(each.removeprefix("public.") for each in ROLES_OF_FUNCTIONS if each.startswith("public."))
FUNCTION_NAMES = tuple(dict.fromkeys(each.split("(")[0] for each in FUNCTIONS))

_RIGHTS = """(
        SELECT jsonb_object_agg(g.grantee, g.rights) FROM (
            SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS grantee,
                   jsonb_agg(DISTINCT a.privilege_type ORDER BY a.privilege_type) AS rights
            FROM aclexplode({acl}) AS a WHERE a.grantee <> {owner} GROUP BY 1
        ) AS g)"""

STATE = f"""
WITH relations AS (
    SELECT c.* FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
        AND c.relname IN ({", ".join(f"'{name}'" for name in (*TABLES, *VIEWS))})
)
SELECT CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END AS kind, c.relname::text AS object,
       jsonb_build_object(
           'relkind', c.relkind, 'owner', pg_get_userbyid(c.relowner), 'row_security', c.relrowsecurity,
           'forced', c.relforcerowsecurity, 'acl', c.relacl::text[], 'options', c.reloptions,
           'rights', {_RIGHTS.format(acl="c.relacl", owner="c.relowner")},
           'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
           'comment', obj_description(c.oid, 'pg_class')) AS state
FROM relations AS c
UNION ALL
SELECT 'column', c.relname || '.' || a.attname,
       jsonb_build_object(
           'place', a.attnum, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
           'default', pg_get_expr(d.adbin, d.adrelid), 'generated', a.attgenerated, 'identity', a.attidentity,
           'acl', a.attacl::text[], 'rights', {_RIGHTS.format(acl="a.attacl", owner="c.relowner")},
           'comment', col_description(a.attrelid, a.attnum))
FROM relations AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT 'policy', c.relname || '.' || p.polname,
       jsonb_build_object(
           'permissive', p.polpermissive, 'command', p.polcmd, 'roles', ARRAY(
               SELECT CASE WHEN r = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
               FROM unnest(p.polroles) AS r ORDER BY 1),
           'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid),
           'comment', obj_description(p.oid, 'pg_policy'))
FROM relations AS c JOIN pg_policy AS p ON p.polrelid = c.oid
UNION ALL
SELECT 'constraint', c.relname || '.' || k.conname,
       jsonb_build_object('definition', pg_get_constraintdef(k.oid), 'comment', obj_description(k.oid, 'pg_constraint'))
FROM relations AS c JOIN pg_constraint AS k ON k.conrelid = c.oid
UNION ALL
SELECT 'index', c.relname || '.' || x.relname,
       jsonb_build_object(
           'definition', pg_get_indexdef(i.indexrelid), 'is_valid', i.indisvalid, 'is_partial', i.indpred IS NOT NULL,
           'is_key', k.oid IS NOT NULL, 'is_unique', i.indisunique,
           'columns', ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, true) FROM generate_series(1, i.indnkeyatts) AS n),
           'comment', obj_description(i.indexrelid, 'pg_class'))
FROM relations AS c JOIN pg_index AS i ON i.indrelid = c.oid JOIN pg_class AS x ON x.oid = i.indexrelid
LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
UNION ALL
SELECT 'trigger', c.relname || '.' || t.tgname,
       jsonb_build_object('definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled)
FROM relations AS c JOIN pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'function', f.proname || '(' || oidvectortypes(f.proargtypes) || ')',
       jsonb_build_object(
           'definition', pg_get_functiondef(f.oid), 'owner', pg_get_userbyid(f.proowner), 'acl', f.proacl::text[],
           'rights', {_RIGHTS.format(acl="coalesce(f.proacl, acldefault('f', f.proowner))", owner="f.proowner")},
           'arguments', f.proargnames[1:f.pronargs], 'most', f.pronargs, 'least', f.pronargs - f.pronargdefaults,
           'comment', obj_description(f.oid, 'pg_proc'))
FROM pg_proc AS f
WHERE f.pronamespace = 'public'::regnamespace AND f.prokind IN ('f', 'p')
    AND f.proname IN ({", ".join(f"'{name}'" for name in FUNCTION_NAMES)})
"""  # noqa: S608 - constant names
"""Rows of kind, object, state. Names are qualified where ``search_path`` is ``pg_catalog``, which the reader sets."""


def read_state(connection: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the objects in ``public`` with our names; locks and changes nothing."""
    before = connection.execute(text("SELECT current_setting('search_path')")).scalar_one()
    set_path = text("SELECT set_config('search_path', :path, true)")
    connection.execute(set_path, {"path": "pg_catalog"})
    rows = connection.exec_driver_sql(STATE, execution_options={"no_parameters": True}).all()
    connection.execute(set_path, {"path": before})
    return {(row.kind, row.object): row.state for row in rows}
