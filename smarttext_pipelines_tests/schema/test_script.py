"""``migrate --sql`` prints what ``migrate`` would do: all for a new database, the rest for another, else nothing."""

import re
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

import pytest
from alembic import command
from sqlalchemy import Engine
from typer.testing import CliRunner

from smarttext_pipelines.cli.main import app
from smarttext_pipelines.core.errors import SchemaError, SettingsError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.schema import installed
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.schema.migrate import alembic_config, find_drift, migrate
from smarttext_pipelines.schema.script import migration_sql
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database, soak_cases
from smarttext_pipelines_tests.legacy import add_history, catalog, clean_up, create_roles, install_legacy

UTC, TOKYO = ZoneInfo("UTC"), ZoneInfo("Asia/Tokyo")
NOTHING = "is as this version expects it: nothing to do"
_STATEMENT = re.compile(r"(?:\$(\w*)\$.*?\$\1\$|'[^']*'|--[^\n]*|[^;$'-]|-)+", re.DOTALL)
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?(\S+)")
_RECORDS = (
    "SELECT kind, object, state FROM monitoring.installed_objects ORDER BY 1, 2",
    "SELECT occasion, kind, object, state FROM monitoring.adoption_record ORDER BY 1, 2, 3",
    "SELECT table_name, row_day, rows FROM monitoring.rollup_days ORDER BY 1, 2",
)


def empty(database: Database) -> None:
    """Leave it as it is."""


def adopted(database: Database) -> None:
    install_legacy(database)
    add_history(database)
    clean_up(database, "2026-03-05 12:00Z")


def adopted_odd(database: Database) -> None:
    """Without some indexes, with one that was left invalid, a partitioned table and an own sort of a view."""
    adopted(database)
    database.run("DROP INDEX public.idx_sms_events_status, public.idx_call_events_ts")
    database.run("ALTER TABLE public.call_events ALTER COLUMN ts TYPE timestamp")
    database.run("CREATE INDEX sms_events_status_idx ON public.sms_events (status)")
    database.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.sms_events_status_idx'::regclass")
    database.run("ALTER TABLE public.owner_alerts RENAME TO old_alerts")
    database.run(
        "CREATE TABLE public.owner_alerts (LIKE public.old_alerts INCLUDING DEFAULTS) PARTITION BY RANGE (created_at)"
    )
    database.run("CREATE TABLE public.owner_alerts_all PARTITION OF public.owner_alerts DEFAULT")
    database.run("INSERT INTO public.owner_alerts SELECT * FROM public.old_alerts")


def of_an_earlier_version(database: Database) -> None:
    """Migrated by a version whose newest revision was an earlier one."""
    adopted(database)
    upgrade(database.engine, "0012")
    database.run("INSERT INTO monitoring.installation (reporting_timezone) VALUES ('UTC')")


def half_way(database: Database) -> None:
    """Left by a first migration that did not come to its end."""
    adopted(database)
    upgrade(database.engine, "0002")


def refused_at_once(database: Database) -> None:
    """Left by a first migration whose first revision was refused."""
    adopted(database)
    database.run("CREATE SCHEMA monitoring")
    database.run(
        "CREATE TABLE monitoring.alembic_version (version_num varchar(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )


def put_back(database: Database) -> None:
    """Migrated, then a view, a function and rights of the application's script were put back."""
    adopted(database)
    migrate(database.engine, UTC)
    database.run("DROP VIEW public.sms_failure_rates")
    database.run("CREATE VIEW public.sms_failure_rates AS SELECT 1 AS one")
    database.run("GRANT ALL ON public.sms_events TO anon")
    database.run("CREATE FUNCTION public.check_openai_usage_limit() RETURNS int LANGUAGE sql AS 'SELECT 1'")


def upgrade(engine: Engine, to: str) -> None:
    with connected(engine) as connection:
        connection.exec_driver_sql("CREATE SCHEMA monitoring")
        connection.commit()
        command.upgrade(alembic_config(connection=connection), to)
        connection.commit()


def run_script(database: Database, script: str) -> None:
    with database.server.connect(database.name) as connection:
        for statement in _STATEMENT.finditer(script):
            connection.execute(statement.group())


@pytest.fixture
def other(server: Server, empty_database: Database) -> Iterator[Database]:
    create_roles(server)
    with fresh_database(server) as database:
        yield database


FOUND = [empty, adopted, adopted_odd, of_an_earlier_version, half_way, refused_at_once, put_back]


@pytest.mark.parametrize("prepare", soak_cases(FOUND, short=[each for each in FOUND if each is not adopted]))
def test_the_script_for_a_database_leaves_what_migrate_leaves_and_then_there_is_nothing_to_do(
    empty_database: Database, other: Database, prepare: Callable[[Database], None]
) -> None:
    for database in (empty_database, other):
        prepare(database)
    before = catalog(empty_database)
    script = migration_sql(UTC, empty_database.engine)
    assert catalog(empty_database) == before
    assert NOTHING not in script
    built = _INDEX.findall(script)
    assert len(built) == len(set(built))
    run_script(empty_database, script)
    migrate(other.engine, UTC)
    assert catalog(empty_database) == catalog(other)
    for query in _RECORDS:
        assert empty_database.rows(query) == other.rows(query)
    require_installation(empty_database.engine, UTC)
    for database in (empty_database, other):
        assert find_drift(database.engine) == []
        (line,) = migration_sql(UTC, database.engine).splitlines()
        assert line.startswith("-- ")
        assert line.endswith(NOTHING)


def test_an_index_of_the_application_is_not_built_again(empty_database: Database) -> None:
    adopted(empty_database)
    script = migration_sql(UTC, empty_database.engine)
    assert "sms_events_status_idx" not in script
    assert "sms_events_status_idx" in migration_sql(UTC)


def test_for_an_older_revision_only_the_later_ones_are_printed(empty_database: Database) -> None:
    of_an_earlier_version(empty_database)
    script = migration_sql(UTC, empty_database.engine)
    assert "CREATE TABLE IF NOT EXISTS monitoring.alembic_version" not in script
    assert "version_num='0011'" not in script
    assert "reset_date_zone text" in script


def test_what_this_version_would_replace_is_printed_also_where_no_revision_is_new(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert NOTHING in migration_sql(UTC, database.engine)
    monkeypatch.setattr(installed, "source_statement", lambda: "SELECT 'of the next version'")
    script = migration_sql(UTC, database.engine)
    assert "alembic_version SET" not in script
    assert "CREATE OR REPLACE FUNCTION public.reserve_openai_usage" in script


def test_a_script_is_refused_where_migrate_would_refuse(database: Database) -> None:
    with pytest.raises(SettingsError, match="reports in UTC"):
        migration_sql(TOKYO, database.engine)
    database.run("DROP TABLE public.sms_events CASCADE; CREATE TABLE public.sms_events (id int)")
    with pytest.raises(SchemaError):
        migration_sql(UTC, database.engine)


@pytest.mark.parametrize("prepare", [empty, adopted])
def test_the_script_for_a_database_that_was_not_seen_leads_to_the_same_schema(
    empty_database: Database, other: Database, prepare: Callable[[Database], None]
) -> None:
    for database in (empty_database, other):
        prepare(database)
    run_script(empty_database, migration_sql(UTC))
    migrate(other.engine, UTC)
    left, right = ([r for r in catalog(d) if r["kind"] != "index"] for d in (empty_database, other))
    assert left == right
    assert find_drift(empty_database.engine) == []


def test_the_command_looks_at_the_database_asks_nothing_and_says_when_it_could_not(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted(empty_database)
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", empty_database.url)
    seen = CliRunner().invoke(app, ["migrate", "--sql"])
    assert (seen.exit_code, "sms_events_status_idx" in seen.stdout) == (0, False)
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", "postgresql://someone:pass-phrase@127.0.0.1:9/x")
    unseen = CliRunner().invoke(app, ["migrate", "--sql"])
    assert unseen.exit_code == 0
    assert unseen.stdout.startswith("-- PostgreSQL at 127.0.0.1:9/x cannot be used")
    assert "sms_events_status_idx" in unseen.stdout
    assert "pass-phrase" not in unseen.output
