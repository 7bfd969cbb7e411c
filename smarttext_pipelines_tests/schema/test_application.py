"""The application's own statements give the same results before, while and after its database is adopted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from smarttext_pipelines.health.doctor import examine
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.schema.migrate import find_drift, migrate
from smarttext_pipelines_tests import application as app
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.legacy import EVENT_TABLES

ZONES = [ZoneInfo(name) for name in ("UTC", "Asia/Tokyo", "America/Los_Angeles")]
UTC = ZONES[0]


def answers(database: Database, role: str, *statements: str) -> list[Any]:
    """Return what each statement gives: its rows, or the state of its error."""
    given: list[Any] = []
    with database.server.connect(database.name) as connection:
        connection.execute(f"SET ROLE {role}")
        for statement in statements:
            try:
                cursor = connection.execute(statement)
                given.append(cursor.fetchall() if cursor.description else cursor.rowcount)
            except psycopg.Error as error:
                given.append(error.sqlstate)
    return given


def counted(database: Database) -> dict[str, int]:
    return {t: database.rows(f"SELECT count(*) AS n FROM public.{t}")[0]["n"] for t in EVENT_TABLES}


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_an_application_that_lives_on_its_anon_key_goes_on_living(empty_database: Database, zone: ZoneInfo) -> None:
    app.install_open(empty_database)
    statements = (*app.TRACKING, app.BUSINESSES, app.STATS, app.RESET)
    before = answers(empty_database, "anon", *statements)
    assert not [answer for answer in before if isinstance(answer, str)]
    used = answers(empty_database, "anon", app.GUARD)
    migrate(empty_database.engine, zone)
    assert answers(empty_database, "anon", *statements) == before
    after = answers(empty_database, "anon", app.GUARD)
    assert (used, zone is not UTC or after) == ([[(500,)]], zone is not UTC or [[(1000,)]])


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("install", [app.install_open, app.install_with_policies, app.install_closed])
def test_whoever_could_insert_can_and_nobody_public_reads_what_is_personal(
    empty_database: Database, install: Callable[[Database], None], role: str
) -> None:
    install(empty_database)
    statements = (*app.TRACKING, app.BUSINESSES)
    before = answers(empty_database, role, *statements)
    for _ in range(2):
        migrate(empty_database.engine, UTC)
        assert answers(empty_database, role, *statements) == before
    personal = [f"SELECT 1 FROM public.{table}" for table in EVENT_TABLES if table != "api_usage"]
    personal += ["SELECT * FROM public.api_usage", "SELECT metadata FROM public.api_usage", *app.VIEWS]
    personal += [f"UPDATE public.{table} SET id = id" for table in EVENT_TABLES]
    personal += [f"DELETE FROM public.{table}" for table in EVENT_TABLES]
    personal += [f"TRUNCATE public.{table}" for table in EVENT_TABLES]
    assert set(answers(empty_database, role, *personal)) == {"42501"}


def test_service_role_goes_on_with_everything_under_its_old_policy(empty_database: Database) -> None:
    app.install_closed(empty_database)
    statements = (
        *app.TRACKING,
        app.BUSINESSES,
        app.STATS,
        app.RESET,
        "UPDATE public.sms_events SET status = 'sent'",
    )
    before = answers(empty_database, "service_role", *statements[:-1])
    migrate(empty_database.engine, UTC)
    assert answers(empty_database, "service_role", *statements[:-1]) == before
    assert answers(empty_database, "service_role", *app.VIEWS, statements[-1]) == [[], [], 2]


@pytest.mark.parametrize("install", [app.install_open, app.install_closed])
def test_the_schema_script_runs_again_before_and_after(
    empty_database: Database, install: Callable[[Database], None]
) -> None:
    install(empty_database)
    script = app.SCHEMA_SCRIPT if install is app.install_open else app.SECURED_SCRIPT
    empty_database.run(script)
    for _ in range(2):
        migrate(empty_database.engine, UTC)
        assert find_drift(empty_database.engine) == []
        empty_database.run(script)
        empty_database.run(app.RESET)
        empty_database.run(app.STATS)


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_the_application_writes_and_its_script_runs_while_migrate_runs(
    empty_database: Database, zone: ZoneInfo
) -> None:
    app.install_open(empty_database)
    before = counted(empty_database)
    done = Event()

    def write() -> int:
        rounds = 0
        with empty_database.server.connect(empty_database.name) as connection:
            connection.execute("SET ROLE anon")
            while not done.is_set():
                for statement in (*app.TRACKING, app.BUSINESSES, app.GUARD):
                    connection.execute(statement)
                rounds += 1
        return rounds

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write)
        migrating = pool.submit(migrate, empty_database.engine, zone)
        try:
            while not migrating.done():
                with empty_database.server.connect(empty_database.name) as connection:
                    for statement in app.SCHEMA_SCRIPT.split(";\nCREATE "):
                        part = statement if statement.lstrip().startswith("CREATE") else f"CREATE {statement}"
                        # Two that replace one function in the same instant: PostgreSQL lets one win.
                        with suppress(psycopg.errors.InternalError, psycopg.errors.DeadlockDetected):
                            connection.execute(part)
                    connection.execute("SET ROLE service_role")
                    connection.execute(app.STATS)
            migrating.result()
        finally:
            done.set()
        rounds = writing.result()
    assert counted(empty_database) == {table: count + rounds for table, count in before.items()}
    migrate(empty_database.engine, zone)
    assert find_drift(empty_database.engine) == []


def test_doctor_says_who_still_writes(empty_database: Database) -> None:
    app.install_open(empty_database)
    migrate(empty_database.engine, UTC)
    line = access_line(empty_database)
    assert line.state is State.warn
    assert "anon writes call_events, sms_events, api_usage, owner_alerts, daily_stats" in line.said
    assert "smarttext access --revoke-writers" in line.todo


@pytest.mark.parametrize("install", [app.install_closed, app.install_with_policies])
def test_doctor_asks_the_policies_who_writes(empty_database: Database, install: Callable[[Database], None]) -> None:
    install(empty_database)
    migrate(empty_database.engine, UTC)
    line = access_line(empty_database)
    if install is app.install_closed:
        assert line.state is State.ok
    else:
        assert (line.state, "anon" in line.said, "authenticated writes" in line.said) == (State.warn, False, True)


def test_what_the_application_adds_is_no_drift(empty_database: Database) -> None:
    app.install_closed(empty_database)
    additions = (
        "ALTER TABLE public.businesses ADD COLUMN online_ordering_url text",
        "ALTER TABLE public.sms_events ADD COLUMN campaign text DEFAULT 'none'",
        "ALTER TABLE public.sms_events ADD CONSTRAINT mine CHECK (body_length > -1)",
        "ALTER TABLE public.call_events ALTER COLUMN ts SET NOT NULL",
        "CREATE INDEX mine ON public.sms_events (to_number)",
        "CREATE POLICY mine ON public.sms_events FOR INSERT TO authenticated WITH CHECK (false)",
        "COMMENT ON COLUMN public.sms_events.status IS 'mine'",
        "CREATE FUNCTION public.mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER mine BEFORE INSERT ON public.sms_events FOR EACH ROW EXECUTE FUNCTION public.mine()",
    )
    for statement in additions[:2]:
        empty_database.run(statement)
    migrate(empty_database.engine, UTC)
    assert find_drift(empty_database.engine) == []
    for statement in additions[2:]:
        empty_database.run(statement)
    assert find_drift(empty_database.engine) == []
    report = examine(empty_database.settings(), services=False, dagster=False)
    lines = {line.name: line.state for line in report.lines}
    assert (lines["schema"], lines["access"]) == (State.ok, State.ok)


def access_line(database: Database) -> Any:
    report = examine(database.settings(), services=False, dagster=False)
    return next(line for line in report.lines if line.name == "access")
