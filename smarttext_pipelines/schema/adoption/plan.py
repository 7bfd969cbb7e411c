"""What ``migrate`` is about to change of what others made: object, now, then. Pure; ``adopting`` reads and asks.

Whatever is created beside it in schema ``monitoring``, or put right again where it is ours, is not in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.dialects import postgresql

from smarttext_pipelines.schema.public_state import (
    APPLICATION_FUNCTIONS,
    EVENT_TABLES,
    FUNCTIONS,
    PUBLIC_ROLES,
    TABLES,
    VIEWS,
    State,
)
from smarttext_pipelines.schema.rights.public_roles import SERVICE_ON_TABLES, USAGE_COLUMNS
from smarttext_pipelines.schema.rights.writers import Writers
from smarttext_pipelines.schema.tables import PUBLIC, metadata
from smarttext_pipelines.schema.view_columns import order_of
from smarttext_pipelines.schema.views import SOURCES

Key = tuple[str, str]

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_INDEXED = {
    "call_events": ("business_id", "call_sid", "ts"),
    "sms_events": ("business_id", "created_at", "message_sid", "status"),
    "api_usage": ("business_id", "created_at", "reset_date"),
    "owner_alerts": ("business_id", "created_at", "message_sid"),
    "daily_stats": ("date",),
}
_WIDENED = {
    ("api_usage", "cost_estimate"): ("numeric(18,6)", {"numeric(10,6)"}),
    ("daily_stats", "openai_tokens_used"): ("bigint", None),
    ("daily_stats", "openai_cost_estimate"): ("numeric(38,6)", None),
}
"""Column → the type it gets, and the only types that are changed; None is any other."""

COMPARED = {
    "function": ("definition",),
    "view": ("definition", "options"),
    "trigger": ("definition", "enabled"),
    "policy": ("permissive", "command", "roles", "using", "check"),
}
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN", "EXECUTE")
_THIS_VERSION = "as this version has it"


@dataclass(frozen=True)
class Change:
    """One line of the table.

    Attributes:
        what: The object, as people name it.
        now: What is there.
        then: What will be there.
        keys: What of the catalog it concerns.
    """

    what: str
    now: str
    then: str
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Facts:
    """What the catalog of ``public`` does not say.

    Attributes:
        zone: Reporting zone.
        is_finished: Whether a first migration has come to its end.
        record: What was found at first; None where nothing was recorded yet.
        installed: What the last migrate left there.
        roles: Which of Supabase's roles there are.
        needs_policy: Whether ``service_role`` is bound by row level security.
        writers: Who of the public roles really inserts where.
        is_revoked: Whether they write no more, by a person's decision.
    """

    zone: str
    is_finished: bool = False
    record: State | None = None
    installed: State = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    needs_policy: bool = False
    writers: Writers = field(default_factory=dict)
    is_revoked: bool = False


def plan(found: State, facts: Facts) -> list[Change]:
    """Return what will change of what others made, in the order in which people look for it."""
    adopted = adopted_tables(found, facts.record)
    rules = (
        rights_changes(found, facts),
        row_security_changes(found, facts),
        _replaced(found, facts),
        _overloads(found, facts),
        () if facts.is_finished else _first(found, facts, adopted),
        _comments(found, adopted),
    )
    return [change for rule in rules for change in rule]


def rights_changes(found: State, facts: Facts) -> list[Change]:
    """Return what will change of the rights of Supabase's roles in ``public``."""
    adopted = adopted_tables(found, facts.record)
    return [*_rights(found, facts, adopted), *_function_rights(found, facts)]


def _first(found: State, facts: Facts, adopted: frozenset[str]) -> Iterator[Change]:
    """Yield what only a first migration does."""
    yield from _columns(found, adopted)
    yield from _types(found, adopted)
    yield from _indexes(found, adopted)
    yield from _key_of_stats(found, adopted)
    yield from _triggers(found, adopted)


def adopted_tables(found: State, record: State | None) -> frozenset[str]:
    """Return the tables that the application made."""
    return frozenset(name for kind, name in (found if record is None else record) if kind == "table")


def put_back(found: State, installed: State) -> list[Key]:
    """Return what is there and no more what the last migrate left there."""
    return [key for key, state in installed.items() if key in found and _differs(found[key], state, key[0])]


def ambiguous_overloads(found: State, record: State | None) -> list[str]:
    """Return functions that came later under a name of ours and answer the same call."""
    functions = {name: state for (kind, name), state in found.items() if kind == "function"}
    others = [name for name in functions if name not in FUNCTIONS and ("function", name) not in (record or {})]
    return [
        name for name in others if any(_answers(functions[name], functions[o]) for o in _namesakes(name, functions))
    ]


def rights_of(found: State, relation: str, grantee: str) -> dict[str, frozenset[str] | None]:
    """Return right → the columns that it is limited to, or None for the whole relation."""
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
        is_ours = relation not in adopted and key not in (facts.record or found)
        if key not in found or (is_ours and not facts.is_finished):
            continue
        keys = (key, *(k for k in found if k[0] == "column" and k[1].startswith(f"{relation}.")))
        for grantee in PUBLIC_ROLES if relation != "businesses" or relation not in adopted else ():
            now, then = rights_of(found, relation, grantee), kept_rights(found, facts, relation, grantee)
            if now != then:
                yield Change(f"rights of {grantee} on {relation}", words(now), words(then), keys)
        if "service_role" in facts.roles:
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


def row_security_changes(found: State, facts: Facts) -> Iterator[Change]:
    """Yield tables whose row level security is put on again, and the policy that lets ``service_role`` in."""
    adopted = adopted_tables(found, facts.record)
    for table in TABLES:
        state = found.get(("table", table))
        if state is None or (table not in adopted and not facts.is_finished):
            continue
        before = state if facts.record is None else facts.record.get(("table", table))
        stays = state["row_security"] or (before is not None and (table == "businesses" or not before["row_security"]))
        if not stays:
            yield Change(f"row level security of {table}", "off", "on", (("table", table),))
        policy = found.get(("policy", f"{table}.service_role_all"))
        if facts.needs_policy and policy is None and (state["row_security"] or not stays):
            keys = (("policy", f"{table}.service_role_all"),)
            yield Change(f"policy service_role_all on {table}", "-", "service_role: all rows", keys)


def _replaced(found: State, facts: Facts) -> Iterator[Change]:
    back = put_back(found, facts.installed)
    for (kind, name), state in found.items():
        key = (kind, name)
        if key in facts.installed:
            is_theirs = key in back
        elif kind == "policy":
            is_theirs = name.endswith(".service_role_all") and facts.needs_policy and not _lets_service_in(state)
        else:
            is_ours = "monitoring." in (state.get("definition") or "")
            is_theirs = (kind == "view" and name in SOURCES and not is_ours) or (
                kind == "function" and name in FUNCTIONS and not is_ours
            )
        if is_theirs:
            keys = (key, *(k for k in found if k[0] == "column" and kind == "view" and k[1].startswith(f"{name}.")))
            now = "not as migrate left it" if key in facts.installed else "the application's"
            yield Change(f"{kind} {name}", now, _view_then(found, name) if kind == "view" else _THIS_VERSION, keys)


def _view_then(found: State, name: str) -> str:
    order = order_of(found["view", name]["definition"])
    return f"reads {SOURCES[name]}" + (f", sorted by {order}" if order else "")


def _overloads(found: State, facts: Facts) -> Iterator[Change]:
    for name in ambiguous_overloads(found, facts.record) if facts.is_finished else ():
        yield Change(f"function {name}", "answers the same call as ours", "dropped", (("function", name),))


def _columns(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for table in _public_tables(adopted):
        for column in table.columns:
            key = ("column", f"{table.name}.{column.name}")
            if key not in found:
                kind = str(column.type.compile(_DIALECT)).lower().replace(", ", ",")
                yield Change(f"column {key[1]}", "-", kind, (key,))


def _types(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for (table, column), (wanted, only) in _WIDENED.items():
        key = ("column", f"{table}.{column}")
        now = found[key]["type"] if key in found and table in adopted else wanted
        if now != wanted and (only is None or now in only):
            yield Change(f"type of {key[1]}", now, wanted, (key,))


def _indexes(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for table, columns in _INDEXED.items():
        for column in columns if table in adopted else ():
            leading = {
                key: state
                for key, state in found.items()
                if key[0] == "index" and key[1].startswith(f"{table}.")
                and state["columns"][0] == column and not state["is_partial"]
            }  # fmt: skip
            broken = [key for key, state in leading.items() if not state["is_valid"]]
            for key in broken:
                yield Change(f"index {key[1]}", "not valid", "dropped", (key,))
            if len(broken) == len(leading):
                name = f"{table}.{table}_{column}_idx"
                yield Change(f"index {name}", "-", f"({column})", (("index", name),))


def _key_of_stats(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    wanted = "daily_stats_business_id_date_key"
    new = (("index", f"daily_stats.{wanted}"), ("constraint", f"daily_stats.{wanted}"))
    if "daily_stats" not in adopted or "NULLS NOT DISTINCT" in found.get(new[0], {}).get("definition", ""):
        return
    then = "unique (business_id, date), rows without business equal"
    for (kind, name), state in found.items():
        is_unique = kind == "index" and name.startswith("daily_stats.") and state["is_unique"]
        if is_unique and sorted(state["columns"]) == ["business_id", "date"]:
            keys = ((kind, name), ("constraint", name))
            becomes = then if keys == new else "dropped"
            yield Change(f"index {name}", "unique (business_id, date), rows without business apart", becomes, keys)
    if new[0] not in found:
        yield Change(f"index daily_stats.{wanted}", "-", then, new)


def _triggers(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    keys = tuple(
        ("trigger", f"api_usage.smarttext_count_{event}") for event in ("insert", "update", "delete", "truncate")
    )
    missing = [key for key in keys if key not in found]
    if "api_usage" in adopted and missing:
        yield Change("triggers on api_usage", "-", "count OpenAI usage of every business and day", tuple(missing))


def _comments(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for table in _public_tables(adopted - {"businesses"}):
        named = [("table", table.name), *(("column", f"{table.name}.{column.name}") for column in table.columns)]
        empty = tuple(key for key in named if key in found and found[key]["comment"] is None)
        if empty:
            then = "meaning of each; what people wrote stays"
            yield Change(f"comments on {table.name}", f"{len(empty)} without", then, empty)


def _public_tables(names: frozenset[str]) -> Iterator[Any]:
    for table in metadata.sorted_tables:
        if table.schema == PUBLIC and table.name in names:
            yield table


def _differs(found: Mapping[str, Any], wanted: Mapping[str, Any], kind: str) -> bool:
    return any(found.get(part) != wanted.get(part) for part in COMPARED.get(kind, ()))


def _lets_service_in(state: Mapping[str, Any]) -> bool:
    asked = [state[part] for part in COMPARED["policy"]]
    return asked == [True, "*", ["service_role"], "true", "true"]


def _namesakes(name: str, functions: State | Mapping[str, Any]) -> list[str]:
    return [ours for ours in FUNCTIONS if ours in functions and ours.split("(")[0] == name.split("(")[0]]


def _answers(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Tell whether a call of ours, with the names of its arguments or with none, is answered by theirs, too."""
    shared = range(max(theirs["least"], ours["least"]), min(theirs["most"], ours["most"]) + 1)
    names = (theirs["arguments"] or [], ours["arguments"] or [])
    return any(count == 0 or names[0][:count] == names[1][:count] for count in shared)


WATCHED_TABLES = (*EVENT_TABLES, "daily_stats")
"""Tables into which the public roles should write no more once the application has a key of its own."""
