"""What ``migrate`` is about to change in objects of others: object, now, then. Pure; ``adopt`` reads and asks.

Objects that it creates in schema ``monitoring``, and our own objects that it repairs, are not listed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from smarttext_pipelines.schema.adoption.change import COMPARED, Change, Facts, Key, adopted_tables
from smarttext_pipelines.schema.adoption.rights_changes import rights_changes, row_security_changes
from smarttext_pipelines.schema.adoption.structure_changes import public_tables, structure_changes
from smarttext_pipelines.schema.public_state import (
    EVENT_TABLES,
    FUNCTIONS,
    State,
)
from smarttext_pipelines.schema.view_columns import order_of
from smarttext_pipelines.schema.views import SOURCES

_THIS_VERSION = "as this version has it"


def plan(found: State, facts: Facts) -> list[Change]:
    """Return what will change in objects of others, in the order in which people look for it."""
    adopted = adopted_tables(found, facts.record)
    rules = (
        rights_changes(found, facts),
        row_security_changes(found, facts),
        _replaced(found, facts),
        _overloads(found, facts),
        () if facts.is_finished else structure_changes(found, facts, adopted),
        _comments(found, adopted),
    )
    return [change for rule in rules for change in rule]


def put_back(found: State, installed: State) -> list[Key]:
    """Return what is no longer as the last migrate left it."""
    return [key for key, state in installed.items() if key in found and _differs(found[key], state, key[0])]


def ambiguous_overloads(found: State, record: State | None) -> list[str]:
    """Return functions that were added later under one of our names and answer the same call."""
    functions = {name: state for (kind, name), state in found.items() if kind == "function"}
    others = [name for name in functions if name not in FUNCTIONS and ("function", name) not in (record or {})]
    return [
        name for name in others if any(_answers(functions[name], functions[o]) for o in _namesakes(name, functions))
    ]


def _replaced(found: State, facts: Facts) -> Iterator[Change]:
    back = put_back(found, facts.installed)
    for (kind, name), state in found.items():
        key = (kind, name)
        if key in back if key in facts.installed else _is_theirs(kind, name, state, facts):
            keys = (key, *(k for k in found if k[0] == "column" and kind == "view" and k[1].startswith(f"{name}.")))
            now = "not as migrate left it" if key in facts.installed else "the application's"
            yield Change(f"{kind} {name}", now, _view_then(found, name) if kind == "view" else _THIS_VERSION, keys)


def _is_theirs(kind: str, name: str, state: Mapping[str, Any], facts: Facts) -> bool:
    """Whether the application made the object that a first migrate replaces."""
    if kind == "policy":
        return name.endswith(".service_role_all") and facts.needs_policy and not _lets_service_in(state)
    replaced = {"view": SOURCES, "function": FUNCTIONS}.get(kind, ())
    return name in replaced and "monitoring." not in (state.get("definition") or "")


def _view_then(found: State, name: str) -> str:
    order = order_of(found["view", name]["definition"])
    return f"reads {SOURCES[name]}" + (f", sorted by {order}" if order else "")


def _overloads(found: State, facts: Facts) -> Iterator[Change]:
    for name in ambiguous_overloads(found, facts.record) if facts.is_finished else ():
        yield Change(f"function {name}", "answers the same call as ours", "dropped", (("function", name),))


def _comments(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for table in public_tables(adopted - {"businesses"}):
        named = [("table", table.name), *(("column", f"{table.name}.{column.name}") for column in table.columns)]
        empty = tuple(key for key in named if key in found and found[key]["comment"] is None)
        if empty:
            then = "meaning of each; what people wrote stays"
            yield Change(f"comments on {table.name}", f"{len(empty)} without", then, empty)


def _differs(found: Mapping[str, Any], wanted: Mapping[str, Any], kind: str) -> bool:
    return any(found.get(part) != wanted.get(part) for part in COMPARED.get(kind, ()))


def _namesakes(name: str, functions: State | Mapping[str, Any]) -> list[str]:
    return [ours for ours in FUNCTIONS if ours in functions and ours.split("(")[0] == name.split("(")[0]]


def _answers(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Return whether a call of our function, with or without argument names, is also answered by theirs."""
    shared = range(max(theirs["least"], ours["least"]), min(theirs["most"], ours["most"]) + 1)
    names = (theirs["arguments"] or [], ours["arguments"] or [])
    return any(count == 0 or names[0][:count] == names[1][:count] for count in shared)


WATCHED_TABLES = (*EVENT_TABLES, "daily_stats")
"""Tables that the public roles should no longer write once the application has a key of its own."""


def _lets_service_in(state: Mapping[str, Any]) -> bool:
    asked = [state[part] for part in COMPARED["policy"]]
    return asked == [True, "*", ["service_role"], "true", "true"]
