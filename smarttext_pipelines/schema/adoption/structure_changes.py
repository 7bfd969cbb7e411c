"""Columns, types, indexes, keys and triggers that a first migration adds to tables of the application. Pure."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.dialects import postgresql

from smarttext_pipelines.schema.adoption.change import Change, Facts
from smarttext_pipelines.schema.near_rows import NUMBER_INDEXES
from smarttext_pipelines.schema.public_state import (
    State,
)
from smarttext_pipelines.schema.tables import PUBLIC, metadata

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


INDEXED = {
    "call_events": ("business_id", "call_sid", "ts"),
    "sms_events": ("business_id", "created_at", "message_sid", "status"),
    "api_usage": ("business_id", "created_at", "reset_date"),
    "owner_alerts": ("business_id", "created_at", "message_sid"),
    "daily_stats": ("date",),
}
"""Table → the columns that must lead an index."""


WIDENED = {
    ("api_usage", "cost_estimate"): ("numeric(18,6)", {"numeric(10,6)"}),
    ("daily_stats", "openai_tokens_used"): ("bigint", None),
    ("daily_stats", "openai_cost_estimate"): ("numeric(38,6)", None),
}
"""Column → the type it gets, and the only types that are changed; None is any other."""


def structure_changes(found: State, facts: Facts, adopted: frozenset[str]) -> Iterator[Change]:
    """Yield what only a first migration does."""
    yield from _columns(found, adopted)
    yield from _types(found, adopted)
    yield from _indexes(found, adopted)
    yield from _number_indexes(found, adopted)
    yield from _key_of_stats(found, adopted)
    yield from _triggers(found, adopted)


def _columns(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for table in public_tables(adopted):
        for column in table.columns:
            key = ("column", f"{table.name}.{column.name}")
            if key not in found:
                kind = str(column.type.compile(_DIALECT)).lower().replace(", ", ",")
                yield Change(f"column {key[1]}", "-", kind, (key,))


def _types(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for (table, column), (wanted, only) in WIDENED.items():
        key = ("column", f"{table}.{column}")
        now = found[key]["type"] if key in found and table in adopted else wanted
        if now != wanted and (only is None or now in only):
            yield Change(f"type of {key[1]}", now, wanted, (key,))


def _indexes(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for table, columns in INDEXED.items():
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


def _number_indexes(found: State, adopted: frozenset[str]) -> Iterator[Change]:
    for table, column in NUMBER_INDEXES.items():
        name = f"{table}.{table}_{column}_idx"
        kind = found.get(("column", f"{table}.{column}"), {}).get("type", "text")
        is_text = kind == "text" or kind.startswith("character varying")
        if table in adopted and ("index", name) not in found and is_text:
            yield Change(f"index {name}", "-", f"({column}, without separators)", (("index", name),))


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


def public_tables(names: frozenset[str]) -> Iterator[Any]:
    """Yield the tables of the schema with these names."""
    for table in metadata.sorted_tables:
        if table.schema == PUBLIC and table.name in names:
            yield table
