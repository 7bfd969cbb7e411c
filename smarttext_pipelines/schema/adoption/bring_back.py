"""Gives ``public`` again what a way down has taken: columns with their values, types, the key, indexes."""

from collections.abc import Iterator

from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.schema.adoption.record import before_down, finish_down, record_again, recorded
from smarttext_pipelines.schema.adoption.structure_changes import public_tables
from smarttext_pipelines.schema.adoption.undo import quoted
from smarttext_pipelines.schema.adoption.undo_structure import (
    AGAIN_ASIDE,
    KEPT_VALUES,
    KEY_OF_STATS,
    our_index_names,
)
from smarttext_pipelines.schema.migrations.lock import lock
from smarttext_pipelines.schema.migrations.reshaping import SET_ASIDE, WIDEN_STATS, WIDEN_USAGE
from smarttext_pipelines.schema.migrations.row_security import create_table
from smarttext_pipelines.schema.public_state import TABLES, VIEWS, State, read_state

_OPTIONS = {"no_parameters": True}
_KEPT = text(
    f'SELECT relation, array_agg(DISTINCT name) AS columns FROM {KEPT_VALUES}, jsonb_object_keys("row") AS name '  # noqa: S608
    "WHERE relation <> 'set aside' GROUP BY relation"
)
_HAS_KEPT = text(f"SELECT to_regclass('{KEPT_VALUES}') IS NOT NULL")


def bring_back(engine: Engine, lock_timeout: str) -> None:
    """Bring a database that was put back to its revision of before; an interrupted one is continued."""
    with connected(engine) as connection:
        _run(connection, f"SET LOCAL lock_timeout = '{lock_timeout}'", *shape_again(connection))
        connection.commit()
    with connected(engine, isolation="AUTOCOMMIT") as connection:
        # A build waits for every transaction that was there before it, and makes no writer wait.
        _run(connection, "SET lock_timeout = '10min'", *indexes_again(connection))
    with connected(engine) as connection:
        _run(connection, f"SET LOCAL lock_timeout = '{lock_timeout}'", *end_again(connection))
        connection.commit()


def shape_again(connection: Connection) -> list[str]:
    """Return what gives tables their columns, types and key, once what is found now is recorded; none if it was."""
    if recorded(connection):
        return []
    found, before = read_state(connection), before_down(connection)
    return [
        lock(*TABLES, *VIEWS),
        record_again(),
        *_columns_again(found, before),
        WIDEN_USAGE,
        WIDEN_STATS,
        *([AGAIN_ASIDE] if connection.execute(_HAS_KEPT).scalar_one() else []),
        SET_ASIDE,
    ]


def indexes_again(connection: Connection) -> list[str]:
    """Return what builds the indexes again, outside of a transaction."""
    found, before = read_state(connection), before_down(connection)
    statements = []
    for (kind, name), state in before.items():
        table, _, index = name.partition(".")
        if kind != "index" or index == KEY_OF_STATS or index not in our_index_names(table):
            continue
        now = found.get((kind, name))
        if now is not None and now["is_valid"]:
            continue
        # Of a partitioned table none can be built concurrently.
        is_whole = " ON ONLY " not in state["definition"]
        if now is not None and is_whole:
            statements.append(f"DROP INDEX CONCURRENTLY IF EXISTS public.{quoted(index)}")
        how = "CREATE INDEX CONCURRENTLY IF NOT EXISTS " if is_whole else "CREATE INDEX IF NOT EXISTS "
        definition = state["definition"].removeprefix("CREATE INDEX ").replace(" ON ONLY ", " ON ", 1)
        statements.append(how + definition)
    return statements


def end_again(connection: Connection) -> list[str]:
    """Return what fills the columns with the values they had, and notes the revision of before."""
    if not connection.execute(_HAS_KEPT).scalar_one():
        return finish_down()
    statements, theirs = [], recorded(connection) or {}
    for row in connection.execute(_KEPT):
        # A column that the application has made meanwhile keeps what it wrote.
        names = sorted(name for name in row.columns if ("column", f"{row.relation}.{name}") not in theirs)
        if not names:
            continue
        typed = f'jsonb_populate_record(NULL::public.{row.relation}, k."row")'
        values = ", ".join(f"{quoted(name)} = ({typed}).{quoted(name)}" for name in names)
        statements.append(
            f"UPDATE public.{row.relation} AS t SET {values} FROM {KEPT_VALUES} AS k "  # noqa: S608 - quoted
            f"WHERE k.relation = '{row.relation}' AND k.id = t.id"
        )
    used = f"DELETE FROM {KEPT_VALUES} WHERE relation <> 'set aside'"  # noqa: S608 - constant
    return [*statements, used, *finish_down()]


def _columns_again(found: State, before: State) -> Iterator[str]:
    tables = [name for kind, name in before if kind == "table"]
    for table in public_tables(frozenset(tables)):
        is_new = ("table", table.name) not in found
        if not is_new and found["table", table.name]["relkind"] not in ("r", "p"):
            continue
        if is_new:
            yield create_table(table.name)
        for column in table.columns:
            key = ("column", f"{table.name}.{column.name}")
            if key not in before or key in found or (is_new and column.name == "id"):
                continue
            state = before[key]
            default = f" DEFAULT {state['default']}" if state["default"] else ""
            needed = "" if column.nullable else " NOT NULL"
            yield f"ALTER TABLE public.{table.name} ADD COLUMN {quoted(column.name)} {state['type']}{default}{needed}"
            yield from _foreign_keys_again(found, before, table.name, column.name)


def _foreign_keys_again(found: State, before: State, table: str, column: str) -> Iterator[str]:
    for (kind, name), state in before.items():
        is_of_table = kind == "constraint" and name.startswith(f"{table}.") and (kind, name) not in found
        if is_of_table and state["definition"].startswith(f"FOREIGN KEY ({column})"):
            made = f"ADD CONSTRAINT {quoted(name.partition('.')[2])} {state['definition']}"
            yield f"ALTER TABLE public.{table} {made}"


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement, execution_options=_OPTIONS)
