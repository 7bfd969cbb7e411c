"""The statements of ``migrate`` as a script, for a database that it can inspect or for one that it cannot see."""

from io import StringIO
from zoneinfo import ZoneInfo

from alembic import command
from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected, describe
from smarttext_pipelines.schema.access import Standing, access_statements
from smarttext_pipelines.schema.adoption.adopt import overload_statements, read_facts, read_standing, record_changes
from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.installation import is_put_back, revision, stored_zone
from smarttext_pipelines.schema.installed import is_of_this_version, record_installed
from smarttext_pipelines.schema.migrate import (
    CREATE_SCHEMA,
    LOCK_TIMEOUT,
    RELOAD_POSTGREST,
    alembic_config,
    find_drift,
    lock_changed,
    opening,
    require_agreement,
)
from smarttext_pipelines.schema.revisions import newest_revision
from smarttext_pipelines.schema.rights.roles import ROLES, create_roles

_TIMEOUT = f"SET lock_timeout = '{LOCK_TIMEOUT}'"
_UNSEEN = "-- For a database that was never migrated; set SMARTTEXT_DATABASE_URL for what another one lacks.\n"
_IF_MISSING = "CREATE TABLE IF NOT EXISTS monitoring.alembic_version"
_COUNT_ROLES = text("SELECT count(*) FROM pg_roles WHERE rolname = ANY (:names)")


def migration_sql(zone: ZoneInfo, engine: Engine | None = None, *, with_roles: bool = False) -> str:
    """Return what ``migrate`` would run, as a script; changes nothing and asks nobody.

    Without an engine it cannot inspect the database: indexes that it has under other names are built a second time,
    its views lose their sort order, and the public roles keep only the right to insert.

    Args:
        zone: Reporting zone.
        engine: The database to look at, connected as the owner of the tables; None for one that was never migrated.
        with_roles: Whether the optional roles are made, too.

    Raises:
        SettingsError: The database was installed with another zone.
        SchemaError: The migration is not possible.
        InputError: The database was put back to the application; what it lacks is read while it is brought back.
    """
    roles = f"{create_roles().strip()};\n\n" if with_roles else ""
    if engine is None:
        closing = [
            *opening(zone, adopts=True),
            *access_statements(zone, Standing()),
            record_installed(),
            RELOAD_POSTGREST,
        ]
        return _UNSEEN + roles + _script(_revisions(None, None), closing)
    with connected(engine) as connection:
        if is_put_back(connection):
            msg = f"{describe(engine.url)} was put back to the application: run `smarttext migrate`, it needs no script"
            raise InputError(msg)
    changes, notes = require_agreement(engine, zone, None)
    place = describe(engine.url)
    if not changes and not find_drift(engine) and _is_complete(engine, with_roles=with_roles):
        return f"-- {place} is as this version expects it: nothing to do\n"
    with connected(engine) as connection:
        found = revision(connection)
        revisions = "" if found == newest_revision() else _revisions(connection, found)
        closing = _closing(connection, zone, changes)
    comments = "".join(f"-- {line}\n" for line in (f"For {place} as it is now.", *notes))
    return comments + roles + _script(revisions, closing)


def _is_complete(engine: Engine, *, with_roles: bool) -> bool:
    with connected(engine) as connection:
        has_roles = connection.execute(_COUNT_ROLES, {"names": list(ROLES)}).scalar_one() == len(ROLES)
        return is_of_this_version(connection) and (has_roles or not with_roles)


def _closing(connection: Connection, zone: ZoneInfo, changes: list[Change]) -> list[str]:
    is_installed, facts = stored_zone(connection) is not None, read_facts(connection, zone)
    return [
        *opening(zone, adopts=not is_installed),
        *lock_changed(changes),
        *(record_changes(changes) if is_installed else ()),
        *overload_statements(connection, facts),
        *access_statements(zone, read_standing(connection, facts)),
        record_installed(),
        RELOAD_POSTGREST,
    ]


def _revisions(connection: Connection | None, found: str | None) -> str:
    output = StringIO()
    command.upgrade(alembic_config(output=output, looked_at=connection), f"{found}:head" if found else "head", sql=True)
    # Alembic doubles percent signs for drivers that take parameters; a script takes none.
    printed = output.getvalue().replace("%%", "%")
    # A first migration that was refused leaves the table behind.
    return printed if connection is None else printed.replace("CREATE TABLE monitoring.alembic_version", _IF_MISSING)


def _script(revisions: str, closing: list[str]) -> str:
    begin = f"{CREATE_SCHEMA};\n\n{_TIMEOUT};\n\n{revisions}\n{_TIMEOUT};\n\n" if revisions else f"{_TIMEOUT};\n\n"
    return f"{begin}BEGIN;\n\n" + ";\n".join(closing) + ";\n\nCOMMIT;\n"
