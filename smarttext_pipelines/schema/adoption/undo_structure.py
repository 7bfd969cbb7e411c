"""Triggers, columns, types, indexes, keys, rows and tables, back to what adoption found. Pure."""

from collections.abc import Iterator

from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.adoption.structure_changes import INDEXED, WIDENED, public_tables
from smarttext_pipelines.schema.adoption.undo import Before, Undo, literal, quoted
from smarttext_pipelines.schema.near_rows import NUMBER_INDEXES
from smarttext_pipelines.schema.public_state import TABLES

KEY_OF_STATS = "daily_stats_business_id_date_key"
KEPT_VALUES = "monitoring.values_before_down"
"""Values of columns that are dropped, by table and id, until the next migrate fills the columns again."""

_CREATE_KEPT = f"""
CREATE TABLE IF NOT EXISTS {KEPT_VALUES} (
    relation text NOT NULL, id uuid NOT NULL, "row" jsonb NOT NULL, PRIMARY KEY (relation, id))
"""
_ROWS_BACK = """
INSERT INTO public.daily_stats ({columns})
SELECT {values} FROM (
    SELECT jsonb_populate_record(NULL::public.daily_stats, s."row") AS r FROM ({set_aside}) AS s
) AS back
ON CONFLICT DO NOTHING
"""
_SET_ASIDE = """
SELECT a.id, a."row" FROM (
    SELECT id, "row", row_number() OVER (PARTITION BY business_id, date
                                         ORDER BY "row" ->> 'updated_at' DESC NULLS LAST, id) AS place
    FROM monitoring.daily_stats_adopted
    WHERE adopted_at = (SELECT max(adopted_at) FROM monitoring.daily_stats_adopted)
) AS a
WHERE a.place > 1 AND NOT EXISTS (SELECT FROM public.daily_stats AS s WHERE s.id = a.id)
"""
_SET_ASIDE_EARLIER = f"""
UNION SELECT k.id, k."row" FROM {KEPT_VALUES} AS k
WHERE k.relation = 'set aside' AND NOT EXISTS (SELECT FROM public.daily_stats AS s WHERE s.id = k.id)
"""  # noqa: S608 - constant
AGAIN_ASIDE = f"""
DELETE FROM public.daily_stats AS s USING {KEPT_VALUES} AS k
WHERE k.relation = 'set aside' AND k.id = s.id AND jsonb_strip_nulls(to_jsonb(s)) = jsonb_strip_nulls(k."row")
"""  # noqa: S608 - constant
"""Takes out again what the way down has put back and nobody has changed since."""


def set_aside_rows(*, has_kept: bool) -> str:
    """Return the query for id and row of what adoption took out of ``daily_stats``: its key cannot hold them."""
    return _SET_ASIDE + (_SET_ASIDE_EARLIER if has_kept else "")


def our_index_names(table: str) -> set[str]:
    """Return the names of the indexes that migrate builds on a table of the application."""
    columns = [*INDEXED.get(table, ()), *([NUMBER_INDEXES[table]] if table in NUMBER_INDEXES else [])]
    names = {f"{table}_{column}{ending}" for column in columns for ending in ("_idx", "_utc_idx")}
    return names | ({KEY_OF_STATS} if table == "daily_stats" else set())


def added_columns(before: Before, table: str) -> list[str]:
    """Return the columns that adoption added to a table of the application."""
    declared = next(public_tables(frozenset({table}))).columns
    keys = [("column", f"{table}.{column.name}") for column in declared]
    return [key[1].partition(".")[2] for key in keys if key in before.found and key not in before.record]


def narrowed_columns(before: Before) -> Iterator[tuple[str, str, str]]:
    """Yield table, column and recorded type of each column that adoption widened."""
    for (table, column), (wanted, _) in WIDENED.items():
        key = ("column", f"{table}.{column}")
        if table in before.adopted and key in before.found and key in before.record:
            had = before.record[key]["type"]
            if before.found[key]["type"] == wanted != had:
                yield table, column, had


def changed_by(before: Before, table: str, column: str, type_: str) -> str:
    """Return the condition for a value that is another one once its column has a narrower type; casts may fail."""
    name, now = quoted(column), before.found["column", f"{table}.{column}"]["type"]
    return f"CAST(CAST({name} AS {type_}) AS {now}) IS DISTINCT FROM {name}"


def triggers_off(before: Before) -> Iterator[Undo]:
    """Yield the triggers that call our functions, on the application's tables and their partitions."""
    for table, name in before.triggers:
        change = Change(f"trigger {name} on {table}", "ours", "dropped", ())
        yield Undo((change,), (f"DROP TRIGGER {quoted(name)} ON {table}",))


def structure_back(before: Before) -> Iterator[Undo]:
    """Yield indexes, types, columns, keys, rows and tables, in the order in which one permits the next."""
    yield from _indexes_off(before)
    for table, column, had in narrowed_columns(before):
        name = f"{table}.{column}"
        now = before.found["column", name]["type"]
        if name in before.wide:
            then = f"stays, because it has values that {had} cannot hold, or would round"
            yield Undo((Change(f"type of {name}", now, then, ()),))
        else:
            guard = _UNCHANGED_STILL.format(table=table, column=column, changes=changed_by(before, table, column, had))
            narrow = f"ALTER TABLE public.{table} ALTER COLUMN {quoted(column)} TYPE {had}"
            yield Undo((Change(f"type of {name}", now, had, ()),), (guard, narrow))
    for table in before.adopted:
        columns = added_columns(before, table)
        if columns:
            yield _columns_off(before, table, columns)
    yield from _keys_back(before)
    yield from _rows_back(before)
    yield from _tables_off(before)


def _indexes_off(before: Before) -> Iterator[Undo]:
    for table in before.adopted:
        for name in sorted(our_index_names(table)):
            key = ("index", f"{table}.{name}")
            if key not in before.found:
                continue
            is_our_key = name == KEY_OF_STATS and "NULLS NOT DISTINCT" in before.found[key]["definition"]
            if key not in before.record or (is_our_key and before.found[key] != before.record[key]):
                change = Change(f"index {key[1]}", "ours", "dropped", ())
                yield Undo((change,), (f"DROP INDEX public.{quoted(name)}",))


def _columns_off(before: Before, table: str, columns: list[str]) -> Undo:
    fate = "dropped with its values" if before.drops_monitoring else "dropped; its values are kept in monitoring"
    changes = tuple(Change(f"column {table}.{column}", "added by migrate", fate, ()) for column in columns)
    drops = ", ".join(f"DROP COLUMN {quoted(column)}" for column in columns)
    statements = [f"ALTER TABLE public.{table} {drops}"]
    if not before.drops_monitoring:
        pairs = ", ".join(f"{literal(column)}, s.{quoted(column)}" for column in columns)
        any_value = " OR ".join(f"s.{quoted(column)} IS NOT NULL" for column in columns)
        keep = (
            f'INSERT INTO {KEPT_VALUES} (relation, id, "row") '  # noqa: S608 - quoted
            f"SELECT {literal(table)}, s.id, jsonb_build_object({pairs}) FROM public.{table} AS s WHERE {any_value}"
        )
        statements = [_CREATE_KEPT, keep, *statements]
    return Undo(changes, tuple(statements))


def _keys_back(before: Before) -> Iterator[Undo]:
    if "daily_stats" not in before.adopted:
        return
    for (kind, name), state in before.record.items():
        is_key = kind == "index" and name.startswith("daily_stats.") and state["is_unique"] and state["is_valid"]
        if not is_key or sorted(state["columns"]) != ["business_id", "date"]:
            continue
        now = before.found.get((kind, name))
        if now is not None and now["definition"] == state["definition"]:
            continue
        change = Change(f"index {name}", "-", "unique (business_id, date), as it was found", ())
        yield Undo((change,), tuple(_key_back(before, name)))


def _key_back(before: Before, name: str) -> Iterator[str]:
    state, index = before.record["index", name], quoted(name.partition(".")[2])
    if state["is_key"]:
        key = before.record["constraint", name]
        yield f"ALTER TABLE public.daily_stats ADD CONSTRAINT {index} {key['definition']}"
        if key["comment"]:
            yield f"COMMENT ON CONSTRAINT {index} ON public.daily_stats IS {literal(key['comment'])}"
    else:
        yield state["definition"]
    if state["comment"]:
        yield f"COMMENT ON INDEX public.{index} IS {literal(state['comment'])}"


def _rows_back(before: Before) -> Iterator[Undo]:
    if not before.set_aside or "daily_stats" not in before.adopted:
        return
    query = set_aside_rows(has_kept=before.has_kept)
    names = [
        name.partition(".")[2]
        for (kind, name), state in before.record.items()
        if kind == "column" and name.startswith("daily_stats.") and not state["generated"]
        and ("column", name) in before.found
    ]  # fmt: skip
    values = {
        "{columns}": ", ".join(map(quoted, names)),
        "{values}": ", ".join(f"(r).{quoted(name)}" for name in names),
        "{set_aside}": query,
    }
    keep = (
        f'INSERT INTO {KEPT_VALUES} (relation, id, "row") '  # noqa: S608 - constant
        f"SELECT 'set aside', s.id, s.\"row\" FROM ({query}) AS s ON CONFLICT DO NOTHING"
    )
    statement = _ROWS_BACK
    for name, value in values.items():
        statement = statement.replace(name, value)
    yield Undo((Change("rows of daily_stats", f"{before.set_aside} set aside", "back", ()),),
               (statement,) if before.drops_monitoring else (_CREATE_KEPT, keep, statement))  # fmt: skip


_UNCHANGED_STILL = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM public.{table} WHERE {changes}) THEN
        RAISE EXCEPTION 'public.{table}.{column} has values by now that would be rounded: make this script again';
    END IF;
END $$
"""
_EMPTY_STILL = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM public.{table}) THEN
        RAISE EXCEPTION 'public.{table} has rows by now: make this script again';
    END IF;
END $$
"""


def _tables_off(before: Before) -> Iterator[Undo]:
    made = [table for table in TABLES if before.is_table(table) and ("table", table) not in before.record]
    for table in reversed(made):
        if table in before.filled:
            yield Undo((Change(f"table {table}", "made by migrate", "stays, because it has rows", ()),))
        else:
            change = Change(f"table {table}", "made by migrate, empty", "dropped", ())
            yield Undo((change,), (_EMPTY_STILL.replace("{table}", table), f"DROP TABLE public.{table}"))
