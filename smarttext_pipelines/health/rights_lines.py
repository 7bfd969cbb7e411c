"""Rights as intended: the public roles have what adoption left them and no more; they should write no more some day."""

from sqlalchemy import Connection, text

from smarttext_pipelines.health.verdicts import Line, State
from smarttext_pipelines.schema.adoption.adopt import read_facts, writing_roles
from smarttext_pipelines.schema.adoption.change import Facts
from smarttext_pipelines.schema.adoption.rights_changes import rights_changes, row_security_changes
from smarttext_pipelines.schema.public_state import read_state

_OPEN = text(
    """
    SELECT grantee, count(*) AS things, min(thing) AS thing FROM (
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
               c.oid::regclass::text AS thing
        FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.relnamespace = to_regnamespace('monitoring')
        UNION ALL
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, p.oid::regprocedure::text
        FROM pg_proc AS p
        CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
        WHERE p.pronamespace = to_regnamespace('monitoring')
    ) AS granted
    WHERE grantee IN ('PUBLIC', 'anon', 'authenticated') GROUP BY grantee ORDER BY grantee
    """
)
_SHOWN = 5
_TODO = "run `smarttext migrate`, which sets rights and row level security; see SECURITY.md"
_REVOKE = "give the application its service key, then run `smarttext access --revoke-writers`; see SECURITY.md"


def access(connection: Connection) -> Line:
    """Judge roles and row level security."""
    facts = read_facts(connection)
    faults = [
        f"{row.grantee} has rights on {row.things} objects such as {row.thing}" for row in connection.execute(_OPEN)
    ]
    faults += _public_faults(connection, facts)
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        return Line("access", State.fail, "; ".join(faults[:_SHOWN]) + more, _TODO)
    writers = [f"{role} writes {', '.join(tables)}" for role, tables in writing_roles(facts).items()]
    if writers:
        return Line("access", State.warn, "; ".join(writers), _REVOKE)
    return Line("access", State.ok, "the public roles read and write nothing; row level security is as intended")


def _public_faults(connection: Connection, facts: Facts) -> list[str]:
    found = read_state(connection)
    changes = [*rights_changes(found, facts), *row_security_changes(found, facts)]
    return [f"{change.what}: {change.now}, intended: {change.then}" for change in changes]
