"""Brings a database to the schema, or checks that it is there. Adopts what it finds; loses no row."""

from contextlib import suppress
from importlib.resources import files
from time import monotonic, sleep
from typing import Any
from zoneinfo import ZoneInfo

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.core.errors import DatabaseError, DeadlockError
from smarttext_pipelines.database.connect import connected, describe
from smarttext_pipelines.database.pooler import refuse_transaction_pooler
from smarttext_pipelines.schema.access import access_statements
from smarttext_pipelines.schema.adoption.adopt import (
    Agree,
    overload_statements,
    put_back_lines,
    read_facts,
    read_standing,
    record_changes,
)
from smarttext_pipelines.schema.adoption.bring_back import bring_back
from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.adoption.first_run import ADOPT_BOUNDARY_DAYS
from smarttext_pipelines.schema.adoption.plan import plan
from smarttext_pipelines.schema.installation import is_put_back, require_zone, revision, stored_zone
from smarttext_pipelines.schema.installed import record_installed
from smarttext_pipelines.schema.migrations.lock import lock
from smarttext_pipelines.schema.preflight import require_possible
from smarttext_pipelines.schema.preflight.judgement import is_workable_type
from smarttext_pipelines.schema.public_state import TABLES, VIEWS, read_state
from smarttext_pipelines.schema.reset_date import install
from smarttext_pipelines.schema.result_types import read_result_types, reconnect_notes
from smarttext_pipelines.schema.revisions import newest_revision, refuse_newer
from smarttext_pipelines.schema.rights.roles import create_roles
from smarttext_pipelines.schema.sources import source_statement
from smarttext_pipelines.schema.tables import MONITORING, PUBLIC, SOURCE_TABLES, metadata

LOCK_TIMEOUT = "30s"
"""How long locking tables in use is retried; nobody waits meanwhile (``migrations.lock``)."""

_PATIENCE_S = 600
_TRIES = 5
"""How often what a deadlock has ended is begun in all."""
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('smarttext:migrate', 0))")
_READ_ONLY = text(
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (:names)"
    " AND relkind IN ('v', 'm', 'f')"
)
CREATE_SCHEMA = "CREATE SCHEMA IF NOT EXISTS monitoring"
RELOAD_POSTGREST = "NOTIFY pgrst, 'reload schema'"
"""PostgREST keeps what it knows of functions and tables until it is notified; sent when the transaction commits."""


def alembic_config(**attributes: Any) -> Config:
    """Return Alembic's configuration; ``output`` is where a script is printed, the rest is read by its environment."""
    config = Config(output_buffer=attributes.pop("output", None))
    config.set_main_option("script_location", str(files("smarttext_pipelines.schema") / "migrations"))
    config.attributes.update(attributes)
    return config


def migrate(
    engine: Engine,
    zone: ZoneInfo,
    *,
    lock_timeout: str = LOCK_TIMEOUT,
    agree: Agree | None = None,
    with_roles: bool = False,
) -> list[str]:
    """Bring the database to the newest revision; safe to repeat and to run twice at once.

    Args:
        engine: Result of ``open_engine``, connected as the owner of the tables.
        zone: Reporting zone; stored by the first migration, compared by all others.
        lock_timeout: How long locking tables in use is retried, as PostgreSQL writes it.
        agree: Receives the changes to objects of others before anything is changed, and raises if nobody agrees;
            without it the caller has agreed.
        with_roles: Whether missing optional roles are created, too.

    Returns:
        What works differently from the declared tables, and who has to reconnect, a line each.

    Raises:
        SettingsError: The database was installed with another zone.
        SchemaError: The migration is not possible; nothing was changed.
        DatabaseError: A table was in use all the time; the next migrate continues.
    """
    refuse_transaction_pooler(engine)
    with connected(engine, isolation="AUTOCOMMIT") as guard:
        _wait_for_turn(guard)
        changes, notes = require_agreement(engine, zone, agree)
        if with_roles:
            make_roles(engine)
        before = read_result_types(guard)
        try:
            _migrate_again(engine, zone, lock_timeout, changes)
        except DatabaseError as error:
            msg = f"{error} (the migration has not come to its end: run `smarttext migrate` again)"
            raise type(error)(msg) from None
        return [*notes, *reconnect_notes(before, read_result_types(guard))]


def require_agreement(engine: Engine, zone: ZoneInfo, agree: Agree | None) -> tuple[list[Change], list[str]]:
    """Return the changes to objects of others, once ``agree`` accepted them, and notes on tables that differ.

    Raises:
        SettingsError: The database was installed with another zone.
        SchemaError: The migration is not possible.
    """
    with connected(engine) as connection:
        refuse_newer(describe(engine.url), revision(connection))
        if stored_zone(connection) is not None:
            require_zone(connection, zone)
        notes = require_possible(connection, zone)
        changes = plan(read_state(connection), read_facts(connection, zone))
    if changes and agree is not None:
        agree(changes)
    return changes, notes


def make_roles(engine: Engine) -> None:
    """Create the missing optional roles, without login; the next ``migrate`` sets their rights.

    Raises:
        DatabaseError: The current role may not create roles.
    """
    with connected(engine) as connection:
        connection.exec_driver_sql(create_roles(), execution_options={"no_parameters": True})
        connection.commit()


def _wait_for_turn(guard: Connection) -> None:
    # A session that waits inside pg_advisory_lock() holds a snapshot, and the other migration's index builds wait for
    # every older snapshot: the two would wait for each other.
    deadline = monotonic() + _PATIENCE_S
    while not guard.execute(_TRY_LOCK).scalar_one():
        if monotonic() > deadline:
            msg = f"another `smarttext migrate` is still running on {describe(guard.engine.url)}; try again later"
            raise DatabaseError(msg)
        sleep(0.1)


def _migrate_again(engine: Engine, zone: ZoneInfo, lock_timeout: str, changes: list[Change]) -> None:
    # Who writes to several tables or replaces views meanwhile may lock in another order; each step can be repeated.
    for _ in range(_TRIES - 1):
        with suppress(DeadlockError):
            return _migrate(engine, zone, lock_timeout, changes)
    return _migrate(engine, zone, lock_timeout, changes)


def _migrate(engine: Engine, zone: ZoneInfo, lock_timeout: str, changes: list[Change]) -> None:
    with connected(engine) as connection:
        is_down = is_put_back(connection)
        is_installed = stored_zone(connection) is not None and not is_down
        connection.exec_driver_sql(CREATE_SCHEMA)
        connection.exec_driver_sql(f"SET lock_timeout = '{lock_timeout}'")
        connection.commit()
        if is_down:
            bring_back(engine, lock_timeout)
        command.upgrade(alembic_config(connection=connection), "head")
        connection.commit()
    with connected(engine) as connection:
        _run(connection, f"SET LOCAL lock_timeout = '{lock_timeout}'", *opening(zone, adopts=not is_installed))
        _run(connection, *lock_changed(changes), *(record_changes(changes) if is_installed else ()))
        facts = read_facts(connection, zone)
        _run(connection, *overload_statements(connection, facts))
        _run(connection, *access_statements(zone, read_standing(connection, facts)), record_installed())
        _run(connection, RELOAD_POSTGREST)
        connection.commit()


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def lock_changed(changes: list[Change]) -> list[str]:
    """Return the statement that locks what is changed, all at once.

    Statements that lock one after the other deadlock with a script that does the same.
    """
    return [lock(*TABLES, *VIEWS)] if changes else []


def opening(zone: ZoneInfo, *, adopts: bool) -> list[str]:
    """Return what runs after the revisions: the installation, the views of the tables, and what old statistics show."""
    return [install(zone), source_statement(), *([ADOPT_BOUNDARY_DAYS] if adopts else [])]


def find_drift(engine: Engine) -> list[str]:
    """Return how the database differs from the schema, one line each; empty when there is none."""
    refuse_transaction_pooler(engine)
    with connected(engine) as connection:
        found = revision(connection)
        refuse_newer(describe(engine.url), found)
        if is_put_back(connection):
            return ["it was put back to the application: `smarttext migrate` adopts it again"]
        if found != newest_revision():
            return [f"revision is {found or 'none'}, newest is {newest_revision()}: run `smarttext migrate`"]
        if stored_zone(connection) is None:
            return ["the first migration has not come to its end: run `smarttext migrate` again"]
        # A comparison each: Alembic reads the tables of the first schema at once, and those of others one by one.
        changes = [
            change
            for schema in (PUBLIC, MONITORING)
            for change in compare_metadata(_comparison(connection, schema), metadata)
        ]
        lines = [line for change in changes if not is_tolerated(change) for line in _describe(change)]
        return [*lines, *put_back_lines(connection)]


def is_tolerated(change: Any) -> bool:
    """Return whether a difference that Alembic found does not matter: only what we need and lack is drift."""
    if isinstance(change, list):
        return all(is_tolerated(part) for part in change)
    kind, schema = change[0], change[1]
    is_theirs = kind == "modify_nullable" and schema == PUBLIC
    return is_theirs or kind.startswith("remove_") or "comment" in kind


def _comparison(connection: Connection, schema: str) -> MigrationContext:
    """Return the comparison of one schema."""
    ours = {(t.schema, t.name) for t in metadata.tables.values()}
    # A view in place of one of the application's tables is read like the table.
    views = {
        ("public", name)
        for name in connection.execute(_READ_ONLY, {"names": [t.name for t in SOURCE_TABLES]}).scalars()
    }

    def is_ours(thing: Any, name: str | None, kind: str, reflected: bool, _to: Any) -> bool:
        if kind == "table":
            known = (thing.schema, name) in ours if reflected else (thing.schema, name) not in views
            return known and thing.schema == schema
        # An adopted database has indexes and keys under names of its own.
        return kind not in ("index", "unique_constraint", "foreign_key_constraint")

    # Alembic reports tables of the default schema without their schema; so none of our schemas may be the default.
    connection.dialect.default_schema_name = "pg_catalog"
    options = {
        "include_schemas": True,
        "version_table_schema": MONITORING,
        "include_name": lambda name, kind, _parents: kind != "schema" or name == schema,
        "include_object": is_ours,
        "compare_type": _differs,
    }
    return MigrationContext.configure(connection, opts=options)


def _differs(_context: Any, _found: Any, declared: Any, found: Any, _type: Any) -> bool | None:
    """Return False for a type of an application's column that is read and written with the right values."""
    table = declared.table
    if table.schema != PUBLIC or not is_workable_type(table.name, declared.name, found):
        return None
    return False


def _describe(change: Any) -> list[str]:
    if isinstance(change, list):
        return [line for part in change if not is_tolerated(part) for line in _describe(part)]
    kind, *details = change
    named = [str(d) for d in details if isinstance(d, str)] + [str(getattr(d, "name", "")) for d in details]
    return [f"{kind}: {' '.join(dict.fromkeys(part for part in named if part))}"]
