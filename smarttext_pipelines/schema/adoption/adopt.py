"""Reads what ``plan`` judges and what others put back; revokes the right to write from the public roles."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.schema.access import Standing
from smarttext_pipelines.schema.adoption.change import COMPARED, Change, Facts, adopted_tables
from smarttext_pipelines.schema.adoption.plan import WATCHED_TABLES, ambiguous_overloads, put_back
from smarttext_pipelines.schema.adoption.record import (
    add_to_record,
    is_revoked,
    record_revocation,
    recorded,
)
from smarttext_pipelines.schema.adoption.rights_changes import rights_changes, rights_of
from smarttext_pipelines.schema.installation import is_put_back, stored_zone
from smarttext_pipelines.schema.installed import read_installed
from smarttext_pipelines.schema.public_state import FUNCTIONS, PUBLIC_ROLES, TABLES, VIEWS, State, read_state
from smarttext_pipelines.schema.rights.public_roles import SERVICE_ON_TABLES, function_rights, table_rights
from smarttext_pipelines.schema.rights.writers import read_writers
from smarttext_pipelines.schema.view_columns import order_of

Agree = Callable[[Sequence[Change]], None]
"""Shows what will change; raises SmartTextError where nobody agrees."""

_OPTIONS = {"no_parameters": True}
_ROLES = text("SELECT rolname, rolbypassrls FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')")


def read_facts(connection: Connection, zone: ZoneInfo | None = None) -> Facts:
    """Return what the plan needs in addition to the catalog; the zone only before a first migration."""
    is_down = is_put_back(connection)
    record = recorded(connection)
    roles = {row.rolname: row.rolbypassrls for row in connection.execute(_ROLES)}
    facts = Facts(
        zone=zone.key if zone else "",
        is_finished=stored_zone(connection) is not None and not is_down,
        record=(record or None) if is_down else record,
        installed=read_installed(connection),
        roles=frozenset(roles),
        needs_policy=roles.get("service_role") is False,
        is_revoked=is_revoked(connection),
    )
    tables = adopted_tables(read_state(connection), facts.record) if not facts.is_revoked else frozenset()
    writers = {table: who for table, who in read_writers(connection).items() if table in tables}
    return replace(facts, writers=writers)


def read_standing(connection: Connection, facts: Facts) -> Standing:
    """Return what stays in ``public``; a view that was dropped on the way is remembered."""
    found, record = read_state(connection), facts.record or {}
    definitions = {
        view: [state[("view", view)]["definition"] for state in (found, record) if ("view", view) in state]
        for view in VIEWS
    }
    orders = {view: next(filter(None, map(order_of, seen)), "") for view, seen in definitions.items()}
    return Standing(facts.writers, orders)


def put_back_lines(connection: Connection) -> list[str]:
    """Return, one line each, which of our objects others replaced, which are missing, and which cannot be called."""
    found, installed, record = read_state(connection), read_installed(connection), recorded(connection)
    lines = [f"{kind} public.{name} is not as migrate left it" for kind, name in put_back(found, installed)]
    lines += [
        f"{kind} public.{name} is missing" for kind, name in installed if kind in COMPARED and (kind, name) not in found
    ]
    lines += [f"function public.{name} answers the same call as ours" for name in ambiguous_overloads(found, record)]
    if "service_role" in {row.rolname for row in connection.execute(_ROLES)}:
        lines += _missing_rights(found)
    return lines


def _missing_rights(found: State) -> list[str]:
    lines = []
    for relation in (*TABLES, *VIEWS):
        kind, needed = ("view", ("SELECT",)) if relation in VIEWS else ("table", SERVICE_ON_TABLES)
        has = rights_of(found, relation, "service_role")
        missing = [right for right in needed if has.get(right, ()) is not None]
        if missing and (kind, relation) in found:
            lines.append(f"service_role lacks {', '.join(missing)} on public.{relation}")
    for name in FUNCTIONS:
        rights = found.get(("function", name), {}).get("rights") or {}
        if ("function", name) in found and "service_role" not in rights and "PUBLIC" not in rights:
            lines.append(f"service_role may not call public.{name}")
    return lines


def overload_statements(connection: Connection, facts: Facts) -> list[str]:
    """Return the statements that drop later functions that answer the same call as ours; they are on record."""
    return [f"DROP ROUTINE public.{name}" for name in ambiguous_overloads(read_state(connection), facts.record)]


def record_changes(changes: Sequence[Change]) -> list[str]:
    """Return the statements that record what is about to change; the first migration has recorded all of it."""
    keys = [key for change in changes for key in change.keys]
    return [add_to_record(keys)] if keys else []


def writing_roles(facts: Facts) -> dict[str, list[str]]:
    """Return which of the application's tables each public role writes."""
    found = {role: [t for t in WATCHED_TABLES if role in facts.writers.get(t, ())] for role in PUBLIC_ROLES}
    return {role: tables for role, tables in found.items() if tables}


def revoke_writers(engine: Engine, agree: Agree) -> list[Change]:
    """Revoke from the public roles what adoption left them on the application's tables, and remember it.

    Args:
        engine: Result of ``open_engine``, connected as the owner of the tables.
        agree: Receives the changes, and raises if nobody agrees.

    Returns:
        What was changed; empty where they had nothing left.
    """
    with connected(engine) as connection:
        facts = replace(read_facts(connection), is_revoked=True, writers={})
        changes = rights_changes(read_state(connection), facts)
        connection.rollback()
        if changes:
            agree(changes)
        for statement in (*record_changes(changes), record_revocation(), table_rights({}), function_rights({})):
            connection.exec_driver_sql(statement, execution_options=_OPTIONS)
        connection.commit()
    return changes
