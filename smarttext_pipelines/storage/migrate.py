"""Bring a database to the schema, print how, or tell whether it is there. Adopts what it finds; loses no row."""

from importlib.resources import files
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.storage.access import access_statements
from smarttext_pipelines.storage.adoption import ADOPT_BOUNDARY_DAYS
from smarttext_pipelines.storage.connect import connected
from smarttext_pipelines.storage.installation import HEAD, require_zone, revision
from smarttext_pipelines.storage.pooler import refuse_transaction_pooler
from smarttext_pipelines.storage.schema import MONITORING, metadata

_LOCK = text("SELECT pg_advisory_lock(hashtextextended('smarttext:migrate', 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended('smarttext:migrate', 0))")
_CREATE_SCHEMA = "CREATE SCHEMA IF NOT EXISTS monitoring"


def _config(**attributes: Any) -> Config:
    config = Config(output_buffer=attributes.pop("output", None))
    config.set_main_option("script_location", str(files("smarttext_pipelines.storage") / "migrations"))
    config.attributes.update(attributes)
    return config


def _install(zone: ZoneInfo) -> str:
    return (
        f"INSERT INTO monitoring.installation (reporting_timezone) VALUES ('{zone.key}') "  # noqa: S608 - an IANA name
        "ON CONFLICT DO NOTHING"
    )


def migrate(engine: Engine, zone: ZoneInfo) -> None:
    """Bring the database to the newest revision; safe to repeat and to run twice at once.

    Args:
        engine: Result of ``open_engine``, connected as the owner of the tables.
        zone: Reporting zone; stored by the first migration, compared by all others.

    Raises:
        SettingsError: The database was installed with another zone.
        DatabaseError: A lock could not be had within ten seconds, or a right is missing.
    """
    refuse_transaction_pooler(engine)
    with connected(engine, isolation="AUTOCOMMIT") as guard:
        guard.execute(_LOCK)
        try:
            _migrate(engine, zone)
        finally:
            guard.execute(_UNLOCK)


def _migrate(engine: Engine, zone: ZoneInfo) -> None:
    with connected(engine) as connection:
        is_new = revision(connection) is None
        if not is_new:
            require_zone(connection, zone)
        connection.exec_driver_sql(_CREATE_SCHEMA)
        connection.commit()
        command.upgrade(_config(connection=connection), "head")
        connection.commit()
    with connected(engine) as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
        connection.exec_driver_sql(_install(zone))
        for statement in (*access_statements(zone), *([ADOPT_BOUNDARY_DAYS] if is_new else [])):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        connection.commit()


def migration_sql(zone: ZoneInfo) -> str:
    """Return everything ``migrate`` would run on a database that was never migrated."""
    output = StringIO()
    command.upgrade(_config(output=output), "head", sql=True)
    closing = ";\n".join([_install(zone), *access_statements(zone), ADOPT_BOUNDARY_DAYS])
    return f"{_CREATE_SCHEMA};\n\n{output.getvalue()}\nBEGIN;\n\n{closing};\n\nCOMMIT;\n"


def find_drift(engine: Engine) -> list[str]:
    """Return how the database differs from the schema, one line each; empty when it is as it should be."""
    with connected(engine) as connection:
        found = revision(connection)
        if found != HEAD:
            return [f"revision is {found or 'none'}, newest is {HEAD}: run `smarttext migrate`"]
        return [line for change in compare_metadata(_comparison(connection), metadata) for line in _describe(change)]


def _comparison(connection: Connection) -> MigrationContext:
    ours = {(t.schema, t.name) for t in metadata.tables.values()}

    def is_ours(thing: Any, name: str | None, kind: str, reflected: bool, _to: Any) -> bool:
        if kind == "table":
            return not reflected or (thing.schema, name) in ours
        # An adopted database has indexes and keys under names of its own.
        return kind not in ("index", "unique_constraint", "foreign_key_constraint")

    # Alembic reports tables of the default schema without their schema; so no schema of ours may be the default.
    connection.dialect.default_schema_name = "pg_catalog"
    options = {"include_schemas": True, "version_table_schema": MONITORING, "include_object": is_ours}
    return MigrationContext.configure(connection, opts=options)


def _describe(change: Any) -> list[str]:
    if isinstance(change, list):
        return [line for part in change for line in _describe(part)]
    kind, *details = change
    named = [str(d) for d in details if isinstance(d, str)] + [str(getattr(d, "name", "")) for d in details]
    return [f"{kind}: {' '.join(dict.fromkeys(part for part in named if part))}"]
