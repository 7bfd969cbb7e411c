"""Which of the public roles really write and read a table: a grant alone says nothing where a policy decides.

Policies are evaluated, not parsed: each condition runs as the role, with the claims that its key has. One that needs a
row, or that we may not evaluate, counts as admitting: no right is revoked because we could not look.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from smarttext_pipelines.schema.public_state import PUBLIC_ROLES, TABLES

_ROLES = text("SELECT rolname FROM pg_roles WHERE rolname = ANY (:names)")
_TABLES = text(
    """
    SELECT c.relname AS name, c.relrowsecurity AS is_secured,
           CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS grantee
    FROM pg_class AS c LEFT JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
    CROSS JOIN LATERAL (SELECT * FROM aclexplode(c.relacl) UNION ALL SELECT * FROM aclexplode(t.attacl)) AS a
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:tables) AND a.privilege_type = 'INSERT'
    GROUP BY 1, 2, 3
    """
)
_POLICIES = text(
    """
    SELECT coalesce(pg_get_expr(p.polwithcheck, p.polrelid), pg_get_expr(p.polqual, p.polrelid), 'true') AS condition
    FROM pg_policy AS p
    WHERE p.polrelid = to_regclass('public.' || :name) AND p.polpermissive AND p.polcmd IN ('a', '*')
        AND (0 = ANY (p.polroles) OR EXISTS (
            SELECT FROM unnest(p.polroles) AS r
            WHERE r <> 0 AND pg_has_role(to_regrole(:role)::oid, r, 'USAGE')))
    """
)
_CLAIMS = text(
    """
    SELECT set_config('request.jwt.claim.role', :role, true), set_config('request.jwt.claim.sub', '', true),
           set_config('request.jwt.claims', json_build_object('role', CAST(:role AS text))::text, true)
    """
)

_MAY_BE = text("SELECT pg_has_role(current_user, CAST(:role AS name), 'MEMBER')")

Writers = Mapping[str, frozenset[str]]
"""Table → which of ``PUBLIC_ROLES`` can insert into it."""


def read_writers(connection: Connection) -> dict[str, frozenset[str]]:
    """Return, for each table, which of the public roles can insert a row now."""
    known = set(connection.execute(_ROLES, {"names": list(PUBLIC_ROLES)}).scalars())
    found: dict[str, set[str]] = {table: set() for table in TABLES}
    for row in connection.execute(_TABLES, {"tables": list(TABLES)}).all():
        if row.grantee not in PUBLIC_ROLES:
            continue
        # What everybody may is tried as the one who has the public key.
        role = row.grantee if row.grantee != "PUBLIC" else "anon"
        if not row.is_secured or role not in known or _is_admitted(connection, row.name, role):
            found[row.name].add(row.grantee)
    return {table: frozenset(grantees) for table, grantees in found.items()}


def _is_admitted(connection: Connection, table: str, role: str) -> bool:
    conditions = connection.execute(_POLICIES, {"name": table, "role": role}).scalars().all()
    return any(_holds(connection, condition, role) for condition in conditions)


def _holds(connection: Connection, condition: str, role: str) -> bool:
    attempt = connection.begin_nested()
    try:
        connection.execute(_CLAIMS, {"role": role})
        if connection.execute(_MAY_BE, {"role": role}).scalar_one():
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        options = {"no_parameters": True}
        answer = connection.exec_driver_sql(f"SELECT ({condition}) IS TRUE", execution_options=options).scalar_one()
    except SQLAlchemyError:
        return True
    finally:
        attempt.rollback()
    return bool(answer)
