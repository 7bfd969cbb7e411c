"""Rights and row level security that ``migrate`` changes in ``public``. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from smarttext_pipelines.schema.adoption.change import Change, Facts, Key, adopted_tables
from smarttext_pipelines.schema.public_state import (
    APPLICATION_FUNCTIONS,
    FUNCTIONS,
    PUBLIC_ROLES,
    TABLES,
    VIEWS,
    State,
)
from smarttext_pipelines.schema.rights.public_roles import SERVICE_ON_TABLES, USAGE_COLUMNS

_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN", "EXECUTE")


def rights_changes(found: State, facts: Facts) -> list[Change]:
    """Return what will change of the rights of Supabase's roles in ``public``."""
    adopted = adopted_tables(found, facts.record)
    return [*_rights(found, facts, adopted), *_function_rights(found, facts)]


def rights_of(found: State, relation: str, grantee: str) -> dict[str, frozenset[str] | None]:
    """Return each right with the columns that it is limited to, or None for the whole relation."""
    kind = "view" if relation in VIEWS else "table"
    whole = (found.get((kind, relation), {}).get("rights") or {}).get(grantee, [])
    limited: dict[str, set[str]] = {}
    for (kind, name), state in found.items():
        if kind == "column" and name.startswith(f"{relation}."):
            for right in (state["rights"] or {}).get(grantee, []):
                limited.setdefault(right, set()).add(name.partition(".")[2])
    return {**{right: frozenset(columns) for right, columns in limited.items()}, **dict.fromkeys(whole)}


def kept_rights(found: State, facts: Facts, relation: str, grantee: str) -> dict[str, frozenset[str] | None]:
    """Return what a public role keeps of its rights on a relation."""
    had = rights_of(found, relation, grantee)
    if facts.is_revoked or relation in VIEWS or relation not in adopted_tables(found, facts.record):
        return {}
    kept = {right: columns for right, columns in had.items() if right == "INSERT"}
    if relation == "api_usage" and "SELECT" in had and grantee in facts.writers.get(relation, ()):
        there = {column for column in USAGE_COLUMNS if ("column", f"{relation}.{column}") in found}
        kept["SELECT"] = frozenset(there & (had["SELECT"] if had["SELECT"] is not None else there))
    return {right: columns for right, columns in kept.items() if columns is None or columns}


def words(rights: Mapping[str, frozenset[str] | None]) -> str:
    """Return rights as people write them."""
    ordered = sorted(rights, key=_RIGHTS.index)
    return ", ".join(r + (f" ({', '.join(sorted(c))})" if (c := rights[r]) is not None else "") for r in ordered) or "-"


def _rights(found: State, facts: Facts, adopted: frozenset[str]) -> Iterator[Change]:
    for relation in (*TABLES, *VIEWS):
        key = ("view" if relation in VIEWS else "table", relation)
        was_there = relation in adopted or key in (facts.record or found)
        if key not in found or not (was_there or facts.is_finished):
            continue
        grantees = () if relation == "businesses" and relation in adopted else PUBLIC_ROLES
        keys = (key, *(k for k in found if k[0] == "column" and k[1].startswith(f"{relation}.")))
        kept = {grantee: kept_rights(found, facts, relation, grantee) for grantee in grantees}
        yield from _public_rights(found, relation, kept, keys)
        if "service_role" in facts.roles:
            yield from _service_rights(found, relation, key)


def _public_rights(
    found: State, relation: str, kept: Mapping[str, Mapping[str, frozenset[str] | None]], keys: tuple[Key, ...]
) -> Iterator[Change]:
    for grantee, then in kept.items():
        now = rights_of(found, relation, grantee)
        if now != then:
            yield Change(f"rights of {grantee} on {relation}", words(now), words(then), keys)


def _service_rights(found: State, relation: str, key: Key) -> Iterator[Change]:
    now = rights_of(found, relation, "service_role")
    needed = SERVICE_ON_TABLES if relation in TABLES else ("SELECT",)
    if any(now.get(right, ()) is not None for right in needed):
        then = {**now, **dict.fromkeys(needed)}
        yield Change(f"rights of service_role on {relation}", words(now), words(then), (key,))


def _function_rights(found: State, facts: Facts) -> Iterator[Change]:
    for function in FUNCTIONS:
        state = found.get(("function", function))
        if state is None:
            continue
        now = {grantee: rights for grantee, rights in (state["rights"] or {}).items() if grantee in _ROLES}
        may = {g for g in facts.writers.get(APPLICATION_FUNCTIONS.get(function, ""), ()) if not facts.is_revoked}
        could = may if "PUBLIC" in now else may & set(now)
        then = (
            could | ({"service_role"} & facts.roles) | (_other_writers(found, function) if "PUBLIC" in now else set())
        )
        if set(now) != then:
            yield Change(f"may call {function}", ", ".join(sorted(now)) or "-", ", ".join(sorted(then)) or "-",
                         (("function", function),))  # fmt: skip


def _other_writers(found: State, function: str) -> set[str]:
    """Return the application's own roles that write what a function of the application writes."""
    rights = found.get(("table", APPLICATION_FUNCTIONS.get(function, "")), {}).get("rights") or {}
    return {grantee for grantee, what in rights.items() if "INSERT" in what and grantee not in _ROLES}


_ROLES = (*PUBLIC_ROLES, "service_role")


def _was_open(facts: Facts, table: str, state: Mapping[str, Any]) -> bool:
    """Whether a table of the application had no row level security, or is ``businesses``, which keeps its own."""
    before = state if facts.record is None else facts.record.get(("table", table))
    return before is not None and (table == "businesses" or not before["row_security"])


def row_security_changes(found: State, facts: Facts) -> Iterator[Change]:
    """Yield tables whose row level security is enabled again, and the policy that admits ``service_role``."""
    adopted = adopted_tables(found, facts.record)
    for table in TABLES:
        state = found.get(("table", table))
        if state is None or (table not in adopted and not facts.is_finished):
            continue
        stays = state["row_security"] or _was_open(facts, table, state)
        if not stays:
            yield Change(f"row level security of {table}", "off", "on", (("table", table),))
        policy = found.get(("policy", f"{table}.service_role_all"))
        if facts.needs_policy and policy is None and (state["row_security"] or not stays):
            keys = (("policy", f"{table}.service_role_all"),)
            yield Change(f"policy service_role_all on {table}", "-", "service_role: all rows", keys)
