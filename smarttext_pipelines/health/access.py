"""Rights as intended: nothing for the public roles, row level security on every table that an API exposes."""

from sqlalchemy import Connection, text

from smarttext_pipelines.core.health import Line, State
from smarttext_pipelines.storage.roles import FUNCTIONS

_OPEN = text(
    """
    SELECT grantee, count(*) AS things, min(thing) AS thing FROM (
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
               c.oid::regclass::text AS thing
        FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.relnamespace IN ('public'::regnamespace, to_regnamespace('monitoring'))
            AND (c.relnamespace <> 'public'::regnamespace OR c.relname = ANY (:ours))
        UNION ALL
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, p.oid::regprocedure::text
        FROM pg_proc AS p
        CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
        WHERE p.pronamespace = to_regnamespace('monitoring') OR p.pronamespace = 'public'::regnamespace
            AND p.proname = ANY (:routines)
    ) AS granted
    WHERE grantee IN ('PUBLIC', 'anon', 'authenticated') GROUP BY grantee ORDER BY grantee
    """
)
_UNSECURED = text(
    """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND relname = ANY (:tables) AND NOT relrowsecurity ORDER BY relname
    """
)
TABLES = ("businesses", "call_events", "sms_events", "api_usage", "owner_alerts", "daily_stats")
VIEWS = ("sms_failure_rates", "openai_daily_usage")
ROUTINES = tuple(
    signature.removeprefix("public.").split("(")[0] for signature in FUNCTIONS if signature.startswith("public.")
)
_TODO = "run `smarttext migrate`, which sets rights and row level security; see SECURITY.md"


def access(connection: Connection) -> Line:
    """Judge roles and row level security."""
    found = connection.execute(_OPEN, {"ours": [*TABLES, *VIEWS], "routines": list(ROUTINES)})
    faults = [f"{row.grantee} has rights on {row.things} objects such as {row.thing}" for row in found]
    unsecured = connection.execute(_UNSECURED, {"tables": list(TABLES)}).scalars().all()
    faults += [f"row level security is off on {', '.join(unsecured)}"] if unsecured else []
    if faults:
        return Line("access", State.fail, "; ".join(faults), _TODO)
    return Line("access", State.ok, "nothing for anon, authenticated and PUBLIC; row level security is on")
