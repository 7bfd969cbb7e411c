"""``migrate`` leads from nothing to the schema: twice, at once, by print-out, past locks, again after it failed."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from alembic import command
from sqlalchemy import event, text
from typer.testing import CliRunner

from smarttext_pipelines.cli.main import app
from smarttext_pipelines.core.errors import DatabaseError, SchemaError, SettingsError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.rollup.zone import change_reporting_zone
from smarttext_pipelines.schema.installation import require_installation, revision
from smarttext_pipelines.schema.migrate import alembic_config, find_drift, migrate
from smarttext_pipelines.schema.revisions import newest_revision
from smarttext_pipelines.schema.tables import metadata
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import roll_up_all
from smarttext_pipelines_tests.legacy import (
    DAYS,
    TABLES,
    VIEWS,
    add_history,
    catalog,
    create_roles,
    install_legacy,
)

UTC, NEW_YORK = ZoneInfo("UTC"), ZoneInfo("America/New_York")
A_TEXT = "INSERT INTO public.sms_events (from_number, to_number, status) VALUES ('+1', '+2', 'sent')"
A_ROW = {
    "businesses": "INSERT INTO public.businesses (name) VALUES ('A')",
    "sms_events": A_TEXT,
    "call_events": "INSERT INTO public.call_events (event_type) VALUES ('voice.missed')",
    "api_usage": "INSERT INTO public.api_usage (service, endpoint) VALUES ('openai', 'chat')",
    "daily_stats": "INSERT INTO public.daily_stats (date) VALUES ('2026-03-01')",
}

AT_AN_INDEX = "pg_stat_activity", "wait_event = 'virtualxid' AND query LIKE 'CREATE INDEX CONCURRENTLY%'"


@pytest.fixture
def migrated(server: Server) -> Iterator[Database]:
    """A migrated database on a server that has Supabase's roles, which the template may not have met."""
    create_roles(server)
    with fresh_database(server) as database:
        migrate(database.engine, UTC)
        yield database


@contextmanager
def transaction(database: Database, *statements: str) -> Iterator[psycopg.Connection[Any]]:
    """Keep a transaction of somebody else open."""
    with database.server.connect(database.name) as connection:
        connection.autocommit = False
        for statement in statements:
            connection.execute(statement)
        yield connection


@contextmanager
def refusal_of(database: Database, tag: str) -> Iterator[None]:
    """Make the server refuse a kind of statement once the first revision is in place."""
    database.run(
        "CREATE FUNCTION pg_temp_refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF EXISTS (SELECT FROM monitoring.alembic_version) THEN RAISE 'not today'; END IF; END $$"
    )
    database.run(
        f"CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('{tag}') EXECUTE FUNCTION pg_temp_refuse()"
    )
    yield
    database.run("DROP EVENT TRIGGER refuse")
    database.run("DROP FUNCTION pg_temp_refuse()")


def wait_for(database: Database, migrating: Future[None], view: str, condition: str) -> None:
    """Return as soon as a view of the server's activity shows what the migration waits for."""
    with database.server.connect() as connection:
        seen = f"SELECT true FROM {view} WHERE datname = '{database.name}' AND {condition}"
        while not connection.execute(seen).fetchone():
            assert not migrating.done()


def migrate_until_indexes(database: Database) -> None:
    with connected(database.engine) as connection:
        connection.exec_driver_sql("CREATE SCHEMA monitoring")
        connection.commit()
        command.upgrade(alembic_config(connection=connection), "0002")
        connection.commit()


def stored_zones(database: Database) -> list[str]:
    return [row["reporting_timezone"] for row in database.rows("SELECT * FROM monitoring.installation")]


def recorded_days(database: Database) -> set[date]:
    return {row["row_day"] for row in database.rows("SELECT row_day FROM monitoring.rollup_days")}


def test_an_empty_database_gets_the_schema_and_nothing_more_in_public(empty_database: Database) -> None:
    for _ in range(2):
        migrate(empty_database.engine, UTC)
        assert find_drift(empty_database.engine) == []
        assert {r["name"] for r in catalog(empty_database, "public") if r["kind"] == "relation"} == {*TABLES, *VIEWS}


def test_a_second_migrate_changes_nothing(migrated: Database) -> None:
    before = catalog(migrated)
    migrate(migrated.engine, UTC)
    assert catalog(migrated) == before


def test_a_database_of_a_newer_version_is_named_as_that(migrated: Database) -> None:
    expected = r"was migrated by a newer version \(revision 9999\); upgrade smarttext_pipelines$"
    with migrated.engine.begin() as connection:
        connection.execute(text("UPDATE monitoring.alembic_version SET version_num = '9999'"))
    for read in (
        lambda: require_installation(migrated.engine, UTC),
        lambda: migrate(migrated.engine, UTC),
        lambda: find_drift(migrated.engine),
    ):
        with pytest.raises(SchemaError, match=expected):
            read()


def test_two_migrates_at_once_on_one_empty_database_both_succeed(empty_database: Database) -> None:
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(migrate, empty_database.engine, UTC) for _ in range(2)]:
            done.result(timeout=60)
    assert find_drift(empty_database.engine) == []


@pytest.mark.parametrize("tag", ["CREATE INDEX", "CREATE FUNCTION"])
def test_a_migrate_that_failed_half_way_can_be_repeated(empty_database: Database, tag: str) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    empty_database.run("DROP INDEX public.idx_sms_events_status")
    empty_database.run("DELETE FROM public.sms_events WHERE created_at < '2026-03-05 12:00Z'")
    with refusal_of(empty_database, tag):
        with pytest.raises(DatabaseError, match="not today"):
            migrate(empty_database.engine, UTC)
        assert len(find_drift(empty_database.engine)) == 1
        with pytest.raises(SchemaError, match="run `smarttext migrate`"):
            require_installation(empty_database.engine, UTC)
    migrate(empty_database.engine, UTC)
    assert find_drift(empty_database.engine) == []
    assert stored_zones(empty_database) == ["UTC"]
    assert recorded_days(empty_database) == {date(2026, 3, 5)}


def test_a_required_column_that_is_missing_is_named_and_nothing_changes(empty_database: Database) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    empty_database.run("ALTER TABLE public.sms_events DROP COLUMN status CASCADE")
    before = catalog(empty_database)
    with pytest.raises(
        SchemaError, match=r"nothing was changed: public.sms_events has rows .* required column status; .*$"
    ) as raised:
        migrate(empty_database.engine, UTC)
    assert "\n" not in str(raised.value)
    assert catalog(empty_database) == before
    with connected(empty_database.engine) as connection:
        assert revision(connection) is None


def test_another_zone_than_the_stored_one_is_refused_before_anything_is_done(database: Database) -> None:
    database.run("DROP VIEW public.sms_failure_rates")
    before = catalog(database)
    with pytest.raises(SettingsError, match=r"reports in UTC, .* America/New_York; .*change-zone"):
        migrate(database.engine, NEW_YORK)
    assert catalog(database) == before


def test_changing_the_zone_stores_it_and_forgets_the_days_that_can_be_computed_again(
    empty_database: Database,
) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    migrate(empty_database.engine, UTC)
    roll_up_all(empty_database.engine, DAYS)
    assert recorded_days(empty_database) == set(DAYS)
    empty_database.run("DELETE FROM public.call_events WHERE ts < '2026-03-03 12:00Z'")
    change_reporting_zone(empty_database.engine, NEW_YORK)
    assert recorded_days(empty_database) == {date(2026, 3, n) for n in (1, 2, 3)}
    migrate(empty_database.engine, NEW_YORK)
    with pytest.raises(SettingsError, match="reports in America/New_York"):
        migrate(empty_database.engine, UTC)
    assert find_drift(empty_database.engine) == []


def test_after_a_change_of_zone_usage_counts_for_the_day_of_that_zone(database: Database) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):  # 25 hours apart
        change_reporting_zone(database.engine, ZoneInfo(zone))
        database.run(A_ROW["api_usage"])
    days = [row["reset_date"] for row in database.rows("SELECT reset_date FROM public.api_usage ORDER BY 1")]
    assert days[1] - days[0] >= timedelta(days=1)


def test_a_table_that_somebody_holds_gives_one_clear_error_and_no_change(empty_database: Database) -> None:
    install_legacy(empty_database)
    before = catalog(empty_database)
    with (
        transaction(empty_database, "SELECT FROM public.sms_events"),
        pytest.raises(DatabaseError, match=r"lock on relation .*sms_events.; another session holds it: try again"),
    ):
        migrate(empty_database.engine, UTC, lock_timeout="100ms")
    assert [r for r in catalog(empty_database) if r not in before] == []
    migrate(empty_database.engine, UTC)


def test_while_migrate_waits_for_a_long_reader_nobody_waits_for_migrate(empty_database: Database) -> None:
    install_legacy(empty_database)
    with ThreadPoolExecutor(1) as pool:
        with transaction(empty_database, "SELECT FROM public.owner_alerts"):
            migrating = pool.submit(migrate, empty_database.engine, UTC)
            wait_for(empty_database, migrating, "pg_stat_activity", "query LIKE '%NOWAIT%' AND wait_event = 'PgSleep'")
            with transaction(empty_database, "SET LOCAL lock_timeout = '100ms'", A_TEXT):
                assert not migrating.done()
        migrating.result(timeout=60)


def test_a_migrate_with_nothing_to_do_waits_for_no_writer(migrated: Database) -> None:
    with transaction(migrated, *A_ROW.values()):
        migrate(migrated.engine, UTC, lock_timeout="100ms")


def test_writers_do_not_wait_while_indexes_are_built(empty_database: Database) -> None:
    migrate_until_indexes(empty_database)
    with ThreadPoolExecutor(1) as pool:
        with transaction(empty_database, A_TEXT):
            migrating = pool.submit(migrate, empty_database.engine, UTC)
            wait_for(empty_database, migrating, *AT_AN_INDEX)
            with transaction(empty_database, "SET LOCAL lock_timeout = '100ms'", A_TEXT):
                assert not migrating.done()
        migrating.result(timeout=60)
    assert find_drift(empty_database.engine) == []


def test_a_migrate_that_a_deadlock_ended_goes_on_by_itself(empty_database: Database) -> None:
    empty_database.run(f"ALTER DATABASE {empty_database.name} SET deadlock_timeout = '1s'")
    migrate_until_indexes(empty_database)
    patient = "SET LOCAL deadlock_timeout = '1min'"
    with ThreadPoolExecutor(1) as pool:
        with transaction(empty_database, patient, A_TEXT) as script:
            migrating = pool.submit(migrate, empty_database.engine, UTC)
            wait_for(empty_database, migrating, *AT_AN_INDEX)
            script.execute("LOCK TABLE public.sms_events IN ACCESS EXCLUSIVE MODE")
        migrating.result(timeout=60)
    assert find_drift(empty_database.engine) == []
    assert empty_database.rows("SELECT count(*) AS n FROM pg_index WHERE NOT indisvalid") == [{"n": 0}]


def test_a_writer_is_not_kept_waiting_by_an_adoption(empty_database: Database) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    for column in ("business_id", "created_at", "message_sid", "status"):
        empty_database.run(f"DROP INDEX public.idx_sms_events_{column}")
    with ThreadPoolExecutor(1) as pool, empty_database.server.connect(empty_database.name) as connection:
        connection.execute("SET lock_timeout = '2s'")
        migrating = pool.submit(migrate, empty_database.engine, UTC)
        written = 0
        while not migrating.done():
            connection.execute(A_TEXT)
            written += 1
        migrating.result()
    found = empty_database.rows("SELECT count(*) AS n FROM public.sms_events WHERE from_number = '+1'")
    assert found == [{"n": written}]


def test_a_look_for_drift_takes_as_many_statements_whatever_the_tables_are(database: Database) -> None:
    sent: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _u, statement, *_: sent.append(statement))
    assert find_drift(database.engine) == []
    assert len(sent) < len(metadata.tables)


def test_drift_is_told_in_one_line_each(database: Database) -> None:
    database.run("ALTER TABLE monitoring.spend DROP COLUMN unpriced_tokens")
    database.run("ALTER TABLE public.sms_events ALTER COLUMN body_length TYPE text")
    drift = find_drift(database.engine)
    assert [line.split(":")[0] for line in sorted(drift)] == ["add_column", "modify_type"]
    assert "unpriced_tokens" in drift[0] + drift[1]


def test_a_database_that_was_never_migrated_is_told_as_such(empty_database: Database) -> None:
    assert find_drift(empty_database.engine) == [
        f"revision is none, newest is {newest_revision()}: run `smarttext migrate`"
    ]
    with pytest.raises(SchemaError, match="was never migrated; run `smarttext migrate`"):
        require_installation(empty_database.engine, UTC)


def test_a_stranger_table_of_the_same_name_elsewhere_is_no_concern_of_ours(database: Database) -> None:
    database.run("CREATE SCHEMA other; CREATE TABLE other.sms_events (x int); CREATE TABLE public.mine (y int)")
    migrate(database.engine, UTC)
    assert find_drift(database.engine) == []


def test_migrate_names_what_prepared_statements_have_to_reconnect_for_and_only_once(empty_database: Database) -> None:
    install_legacy(empty_database)
    statement = "SELECT * FROM public.openai_daily_usage"
    with empty_database.server.connect(empty_database.name) as client:
        client.execute(f"PREPARE asked AS {statement}")
        client.execute("EXECUTE asked")
        (note,) = migrate(empty_database.engine, UTC)
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan must not change result type"):
            client.execute("EXECUTE asked")
    assert "daily_stats" in note
    assert "openai_daily_usage" in note
    assert "cached plan must not change result type" in note
    assert "owner_alerts" not in note
    assert migrate(empty_database.engine, UTC) == []


def test_an_empty_database_has_nobody_to_reconnect(empty_database: Database) -> None:
    assert migrate(empty_database.engine, UTC) == []


def test_after_an_adoption_the_views_are_said_to_be_empty_until_the_command_that_fills_them(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", empty_database.url)
    done = CliRunner().invoke(app, ["migrate", "--yes"])
    assert done.exit_code == 0, done.output
    assert "sms_failure_rates, openai_daily_usage are empty for days that were never rolled up" in done.output
    assert "  smarttext rollup --from 2026-03-01 --to 2026-03-10" in done.output
    assert empty_database.rows("SELECT FROM public.sms_failure_rates") == []


def test_postgrest_is_notified_to_reload_when_a_migration_has_committed(database: Database) -> None:
    with database.server.connect(database.name) as listener:
        listener.execute("LISTEN pgrst")
        migrate(database.engine, UTC)
        (notice,) = listener.notifies(timeout=10, stop_after=1)
    assert (notice.channel, notice.payload) == ("pgrst", "reload schema")
