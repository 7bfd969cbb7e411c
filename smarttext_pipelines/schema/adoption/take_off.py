"""Puts back what adoption changed: the application's database is as it was found, and its event rows are untouched."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from smarttext_pipelines.core.errors import InputError, SchemaError
from smarttext_pipelines.database.connect import connected, describe
from smarttext_pipelines.schema.adoption.adopt import Agree
from smarttext_pipelines.schema.adoption.built_on_ours import drop_schema, refuse_what_is_built_on_ours
from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.adoption.record import (
    forget_adoption,
    has_record,
    later_definitions,
    record_down,
    recorded,
)
from smarttext_pipelines.schema.adoption.undo import Before, Undo, is_theirs
from smarttext_pipelines.schema.adoption.undo_objects import objects_back, views_off
from smarttext_pipelines.schema.adoption.undo_rights import rights_back
from smarttext_pipelines.schema.adoption.undo_structure import (
    KEPT_VALUES,
    changed_by,
    narrowed_columns,
    set_aside_rows,
    structure_back,
    triggers_off,
)
from smarttext_pipelines.schema.installation import is_put_back, revision, stored_zone
from smarttext_pipelines.schema.migrations.lock import lock
from smarttext_pipelines.schema.public_state import APPLICATION_FUNCTIONS, TABLES, VIEWS, read_state
from smarttext_pipelines.schema.revisions import newest_revision, refuse_newer

_OPTIONS = {"no_parameters": True}
_SOON = "SET LOCAL lock_timeout = '1s'"
"""Whatever else is locked, the application's tables are by then: nobody waits for long."""

_COMMENTS = text(
    "SELECT object, state ->> 'comment' AS comment FROM monitoring.installed_objects WHERE kind = 'comment'"
)
_HAS_KEPT = text(f"SELECT to_regclass('{KEPT_VALUES}') IS NOT NULL")
_ROLES = text("SELECT rolname FROM pg_roles")
_TRIGGERS = text(
    """
    SELECT format('%I.%I', n.nspname, c.relname) AS relation, t.tgname AS name
    FROM pg_trigger AS t JOIN pg_proc AS f ON f.oid = t.tgfoid JOIN pg_class AS c ON c.oid = t.tgrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE f.pronamespace = 'monitoring'::regnamespace AND n.nspname <> 'monitoring' AND t.tgparentid = 0
        AND NOT t.tgisinternal AND t.tgname LIKE 'smarttext\\_%'
    ORDER BY 1, 2
    """
)


@dataclass(frozen=True)
class WayDown:
    """What the way down consists of.

    Attributes:
        changes: What people are shown.
        statements: All that is run, in one transaction.
    """

    changes: list[Change]
    statements: list[str]


def down_to_application(engine: Engine, agree: Agree, *, lock_timeout: str, drop_monitoring: bool) -> list[Change]:
    """Put back what adoption changed, in one transaction; event rows are not touched.

    Args:
        engine: Result of ``open_engine``, connected as the owner of the tables.
        agree: Receives the changes before anything is changed, and raises if nobody agrees.
        lock_timeout: How long locking tables in use is retried, as PostgreSQL writes it.
        drop_monitoring: Whether the schema ``monitoring`` is dropped, with all statistics and archives' indexes.

    Returns:
        What was changed.

    Raises:
        InputError: The database was not adopted, or was put back already.
        SchemaError: It is not at this version's revision, or something is built on our objects.
        DatabaseError: A table was in use all the time; nothing was changed.
    """
    with connected(engine) as connection:
        shown = way_down(connection, drop_monitoring=drop_monitoring)
    agree(shown.changes)
    with connected(engine) as connection:
        _run(connection, f"SET LOCAL lock_timeout = '{lock_timeout}'", lock(*TABLES, *VIEWS), _SOON)
        way = way_down(connection, drop_monitoring=drop_monitoring)
        if way.changes != shown.changes:
            msg = "nothing was changed: the database is no longer as the table says; run it again"
            raise SchemaError(msg)
        _run(connection, *way.statements)
        connection.commit()
    return way.changes


def down_sql(engine: Engine, *, lock_timeout: str, drop_monitoring: bool) -> str:
    """Return what ``down_to_application`` would run, as a script for the database as it is now.

    Raises:
        InputError: The database was not adopted, or was put back already.
        SchemaError: It is not at this version's revision, or something is built on our objects.
    """
    with connected(engine) as connection:
        way = way_down(connection, drop_monitoring=drop_monitoring)
    statements = [f"SET LOCAL lock_timeout = '{lock_timeout}'", lock(*TABLES, *VIEWS), _SOON, *way.statements]
    lines = "".join(f"-- {change.what}: {change.now} -> {change.then}\n" for change in way.changes)
    script = ";\n".join(statement.strip().rstrip(";") for statement in statements)
    return f"-- For {describe(engine.url)} as it is now.\n{lines}BEGIN;\n{script};\nCOMMIT;\n"


def way_down(connection: Connection, *, drop_monitoring: bool) -> WayDown:
    """Return what is shown and what is run; reads only.

    Raises:
        InputError: The database was not adopted, or was put back already.
        SchemaError: It is not at this version's revision, or something is built on our objects.
    """
    dropped = Change("schema monitoring", "statistics, incidents, settings, the record", "dropped", ())
    if has_record(connection) and is_put_back(connection):
        if not drop_monitoring:
            msg = f"{describe(connection.engine.url)} was put back already; `smarttext migrate` adopts it again"
            raise InputError(msg)
        if recorded(connection):
            msg = f"{describe(connection.engine.url)} is half adopted again; run `smarttext migrate` first, then this"
            raise SchemaError(msg)
        refuse_what_is_built_on_ours(connection, drops_monitoring=True)
        return WayDown([dropped], drop_schema())
    before = _before(connection, drop_monitoring=drop_monitoring)
    refuse_what_is_built_on_ours(connection, drops_monitoring=drop_monitoring)
    undone = [*_undone(before)]
    changes = [change for undo in undone for change in undo.changes]
    statements = [statement for undo in undone for statement in undo.statements]
    kept = [record_down(newest_revision()), *statements, *forget_adoption()]
    end = [*statements, *drop_schema()] if drop_monitoring else kept
    settings = ["SET LOCAL search_path = pg_catalog", "SET LOCAL check_function_bodies = off"]
    told = "NOTIFY pgrst, 'reload schema'"
    return WayDown([*changes, *([dropped] if drop_monitoring else [])], [*settings, *end, told])


def _undone(before: Before) -> Iterator[Undo]:
    yield from triggers_off(before)
    yield from views_off(before)
    yield from structure_back(before)
    yield from objects_back(before)
    yield from rights_back(before)


def _before(connection: Connection, *, drop_monitoring: bool) -> Before:
    record = _require_adopted(connection)
    found = read_state(connection)
    rows = connection.execute(_COMMENTS)
    before = Before(
        found=found,
        record=record,
        theirs={k: state for k, state in later_definitions(connection).items() if k[0] == "column" or is_theirs(state)},
        comments={row.object: row.comment for row in rows},
        roles=frozenset(connection.execute(_ROLES).scalars()),
        role=connection.execute(text("SELECT current_user")).scalar_one(),
        triggers=tuple((row.relation, row.name) for row in connection.execute(_TRIGGERS)),
        has_kept=bool(connection.execute(_HAS_KEPT).scalar_one()),
        drops_monitoring=drop_monitoring,
    )
    values = {**before.__dict__, "filled": _filled(connection, before), "wide": _wide(connection, before)}
    return Before(**{**values, "set_aside": _set_aside(connection, before)})


def _require_adopted(connection: Connection) -> dict[tuple[str, str], dict[str, object]]:
    place = describe(connection.engine.url)
    refuse_newer(place, revision(connection))
    record = recorded(connection)
    if record is None or not any(kind == "table" for kind, _ in record):
        msg = f"{place} was not adopted by `smarttext migrate`: there is nothing to put back"
        raise InputError(msg)
    if stored_zone(connection) is None or revision(connection) != newest_revision():
        msg = f"{place} is not at this version's revision; run `smarttext migrate` first, then this"
        raise SchemaError(msg)
    shared = [("view", view) for view in VIEWS] + [("function", name) for name in APPLICATION_FUNCTIONS]
    if any(key in record and not is_theirs(record[key]) for key in shared):
        msg = f"{place} was adopted by a version that did not record what it found; restore it from a backup"
        raise InputError(msg)
    return record


def _filled(connection: Connection, before: Before) -> frozenset[str]:
    made = [table for table in TABLES if before.is_table(table) and ("table", table) not in before.record]
    return frozenset(t for t in made if _value(connection, f"SELECT EXISTS (SELECT FROM public.{t})"))  # noqa: S608


def _wide(connection: Connection, before: Before) -> frozenset[str]:
    wide = set()
    for table, column, had in narrowed_columns(before):
        try:
            with connection.begin_nested():
                changes = changed_by(before, table, column, had)
                is_wide = _value(connection, f"SELECT EXISTS (SELECT FROM public.{table} WHERE {changes})")  # noqa: S608
        except DBAPIError as error:
            if not str(getattr(error.orig, "sqlstate", "")).startswith("22"):
                raise
            is_wide = 1
        if is_wide:
            wide.add(f"{table}.{column}")
    return frozenset(wide)


def _set_aside(connection: Connection, before: Before) -> int:
    if "daily_stats" not in before.adopted:
        return 0
    return int(_value(connection, f"SELECT count(*) FROM ({set_aside_rows(has_kept=before.has_kept)}) AS s"))  # noqa: S608 - constant


def _value(connection: Connection, query: str) -> int:
    return int(connection.exec_driver_sql(query, execution_options=_OPTIONS).scalar_one())


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement, execution_options=_OPTIONS)
