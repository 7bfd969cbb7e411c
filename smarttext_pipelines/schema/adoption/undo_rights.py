"""Rights in ``public``, back to what adoption found. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.adoption.rights_changes import rights_of, words
from smarttext_pipelines.schema.adoption.undo import Before, Undo, literal, quoted
from smarttext_pipelines.schema.public_state import PUBLIC_ROLES
from smarttext_pipelines.schema.rights.roles import ROLES

_SUPABASE = (*PUBLIC_ROLES, "service_role")
_ITEM = re.compile(r'(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<name>[^"=]*))=(?P<rights>[\w*]*)/')
_LETTERS = {
    "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "D": "TRUNCATE", "x": "REFERENCES", "t": "TRIGGER",
    "m": "MAINTAIN", "X": "EXECUTE",
}  # fmt: skip
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
_IF_COLUMN = """
DO $do$
BEGIN
    -- A definition that the application gave it later may have other columns.
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.{view}'::regclass AND attname = {column}) THEN
        {grants};
    END IF;
END $do$
"""
_SHARED = """
DO $do$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM {roles}', current_database());
END $do$
"""


def rights_from_nothing(before: Before, kind: str, name: str) -> Iterator[str]:
    """Yield the statements that give a new view or function its rights of before, and what others were granted since.

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
    for grantee, state in _holders(before, kind, name).items():
        if grantee in (*before.roles, "PUBLIC"):
            yield from _grants(state, grantee, f"{what} {thing}")
    if kind == "view":
        yield from _view_column_grants(before, name)


def _holders(before: Before, kind: str, name: str) -> dict[str, Mapping[str, Any]]:
    """Return who gets rights on a view or function, and the state that says which.

    What replaced ours in place still has the rights that migrate gave to Supabase's roles: those are as they were at
    first. A new object has its own.
    """
    now, later = before.found.get((kind, name)), before.later(kind, name)
    first = before.record.get((kind, name))
    if later and (first is None or _is_new(kind, later)):
        first = later
    found = dict.fromkeys((first or {}).get("rights") or (), first or {})
    for state in filter(None, (later, now)):
        of_view = state is later and kind == "view"
        found |= {grantee: state for grantee in state["rights"] or () if _is_own(grantee, replaced_view=of_view)}
    return found


def _is_own(grantee: str, *, replaced_view: bool) -> bool:
    """Whether a right is somebody's own, and not one that migrate gave."""
    return grantee not in (*_SUPABASE, *ROLES) or (replaced_view and grantee in PUBLIC_ROLES)


def _is_new(kind: str, state: Mapping[str, Any]) -> bool:
    """Whether an object was created, not replaced: migrate leaves rights on a view, and PUBLIC none on a function."""
    return state["acl"] is None if kind == "view" else "PUBLIC" in (state["rights"] or {})


def _grants(state: Mapping[str, Any], grantee: str, thing: str, column: str = "") -> Iterator[str]:
    """Yield what gives a role the rights that a state says, those that it may pass on apart."""
    rights = (state["rights"] or {}).get(grantee, [])
    passed_on = _may_pass_on(state["acl"] or [], grantee)
    of = f" ({quoted(column)})" if column else ""
    for chosen, ending in (
        ([right for right in rights if right not in passed_on], ""),
        ([right for right in rights if right in passed_on], " WITH GRANT OPTION"),
    ):
        if chosen:
            yield f"GRANT {', '.join(right + of for right in chosen)} ON {thing} TO {quoted(grantee)}{ending}"


def _may_pass_on(acl: Iterable[str], grantee: str) -> set[str]:
    """Return the rights with grant option, from access privileges as PostgreSQL writes them: ``name=ar*w/grantor``."""
    found = set()
    for item in acl:
        match = _ITEM.match(item)
        if not match:
            continue
        name = match["name"] if match["quoted"] is None else match["quoted"].replace('""', '"')
        if name == grantee:
            found |= {_LETTERS[letter] for letter in re.findall(r"(\w)\*", match["rights"]) if letter in _LETTERS}
    return found


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
    now, had = rights_of(before.found, table, grantee), rights_of(before.record, table, grantee)
    # What has not changed is not revoked: others may have it from this role.
    changed = [right for right in now if now[right] != had.get(right, ())]
    if changed:
        yield f"REVOKE {', '.join(changed)} ON public.{table} FROM {quoted(grantee)}"
    yield from _grants(before.record["table", table], grantee, f"public.{table}")
    for (kind, name), state in before.record.items():
        if kind == "column" and name.startswith(f"{table}.") and (kind, name) in before.found:
            yield from _grants(state, grantee, f"public.{table}", name.partition(".")[2])


def _view_column_grants(before: Before, view: str) -> Iterator[str]:
    later = before.theirs if ("view", view) in before.theirs else {}
    states = before.found if before.is_replaced("view", view) else {**before.record, **later}
    for (kind, name), state in states.items():
        if kind != "column" or not name.startswith(f"{view}."):
            continue
        column = name.partition(".")[2]
        for grantee in state["rights"] or ():
            if grantee in (*before.roles, "PUBLIC"):
                grants = "; ".join(_grants(state, grantee, f"public.{view}", column))
                yield _IF_COLUMN.format(view=view, column=literal(column), grants=grants)
