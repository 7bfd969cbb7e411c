"""Rights in ``public``, back to what adoption found. Pure."""

from collections.abc import Iterator

from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.adoption.rights_changes import rights_of, words
from smarttext_pipelines.schema.adoption.undo import Before, Undo, quoted
from smarttext_pipelines.schema.public_state import PUBLIC_ROLES, VIEWS
from smarttext_pipelines.schema.rights.roles import ROLES

_SUPABASE = (*PUBLIC_ROLES, "service_role")
_REVOKE = """
DO $do$
DECLARE
    holder text;
BEGIN
    FOR holder IN
        SELECT DISTINCT CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
        FROM {catalog} AS o, aclexplode({acl}) AS g WHERE o.oid = '{name}'::{kind} AND g.grantee <> {owner}
    LOOP
        EXECUTE format('REVOKE ALL ON {what} %s FROM %s', '{name}', holder);
    END LOOP;
END $do$
"""
_SHARED = """
DO $do$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM {roles}', current_database());
END $do$
"""


def rights_from_nothing(before: Before, kind: str, name: str) -> Iterator[str]:
    """Yield the statements that give a new view or function the rights on record, and what others were granted since.

    Default privileges may have granted it to anybody by then.
    """
    if kind == "view":
        catalog, acl, owner, type_, what = "pg_class", "o.relacl", "o.relowner", "regclass", "TABLE"
    else:
        catalog, owner, type_, what = "pg_proc", "o.proowner", "regprocedure", "ROUTINE"
        acl = "coalesce(o.proacl, acldefault('f', o.proowner))"
    thing = f"public.{name}"
    values = {"catalog": catalog, "acl": acl, "owner": owner, "kind": type_, "what": what, "name": thing}
    revoke = _REVOKE
    for part, value in values.items():
        revoke = revoke.replace("{" + part + "}", value)
    yield revoke
    now = before.found.get((kind, name), {}).get("rights") or {}
    had = before.record[kind, name]["rights"] or {}
    is_ours = (*_SUPABASE, *ROLES)
    wanted = {**had, **{grantee: rights for grantee, rights in now.items() if grantee not in is_ours}}
    for grantee, rights in wanted.items():
        if grantee in (*before.roles, "PUBLIC"):
            yield f"GRANT {', '.join(rights)} ON {what} {thing} TO {quoted(grantee)}"
    if kind == "view":
        yield from _column_grants(before, name)


def rights_back(before: Before) -> Iterator[Undo]:
    """Yield the rights of Supabase's roles on the application's tables, and what our own roles have in ``public``."""
    for table in before.adopted:
        for grantee in _SUPABASE:
            # Of the businesses, migrate changes the rights of no public role.
            is_left = table == "businesses" and grantee in PUBLIC_ROLES
            if is_left or grantee not in (*before.roles, "PUBLIC"):
                continue
            now, had = rights_of(before.found, table, grantee), rights_of(before.record, table, grantee)
            if now != had:
                change = Change(f"rights of {grantee} on {table}", words(now), words(had), ())
                yield Undo((change,), tuple(_table_rights(before, table, grantee)))
    ours = [role for role in ROLES if role in before.roles]
    if ours:
        roles = ", ".join(ours)
        tables = [name for kind, name in before.found if kind == "table" and _stays(before, name)]
        statements = [f"REVOKE ALL ON public.{table} FROM {roles}" for table in tables]
        statements += [f"REVOKE ALL ON SCHEMA public FROM {roles}", _SHARED.replace("{roles}", roles)]
        yield Undo((Change(f"rights of {roles} in public", "ours", "revoked", ()),), tuple(statements))


def _stays(before: Before, table: str) -> bool:
    return ("table", table) in before.record or table in before.filled


def _table_rights(before: Before, table: str, grantee: str) -> Iterator[str]:
    yield f"REVOKE ALL ON public.{table} FROM {quoted(grantee)}"
    rights = (before.record["table", table]["rights"] or {}).get(grantee)
    if rights:
        yield f"GRANT {', '.join(rights)} ON public.{table} TO {quoted(grantee)}"
    yield from _column_grants(before, table, grantee)


def _column_grants(before: Before, relation: str, only: str | None = None) -> Iterator[str]:
    for (kind, name), state in before.record.items():
        if kind != "column" or not name.startswith(f"{relation}."):
            continue
        if relation not in VIEWS and (kind, name) not in before.found:
            continue
        for grantee, rights in (state["rights"] or {}).items():
            if grantee in ({only} if only else {*before.roles, "PUBLIC"}):
                columns = quoted(name.partition(".")[2])
                each = ", ".join(f"{right} ({columns})" for right in rights)
                yield f"GRANT {each} ON public.{relation} TO {quoted(grantee)}"
