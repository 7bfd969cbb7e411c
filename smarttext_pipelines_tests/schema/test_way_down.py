"""What adopting changed can be taken back: the application has what it had, and may be adopted again."""

from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.errors import InputError, SchemaError, SmartTextError
from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.adoption.take_off import down_sql, down_to_application
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.schema.migrate import find_drift, make_roles, migrate
from smarttext_pipelines_tests import application as app
from smarttext_pipelines_tests.conftest import Copied, Database
from smarttext_pipelines_tests.events import roll_up_all
from smarttext_pipelines_tests.legacy import DAYS, EVENT_TABLES, add_history, catalog, install_legacy
from smarttext_pipelines_tests.schema.test_adoption_plan import SORTED, as_found, decline, own_role
from smarttext_pipelines_tests.schema.test_application import answers
from smarttext_pipelines_tests.worlds import pg_dump

__all__ = ["own_role"]
UTC = ZoneInfo("UTC")
INSTALLS = [app.install_open, app.install_with_policies, app.install_closed, install_legacy]
DAILY = "SELECT date, business_id, messages_sent FROM public.daily_stats ORDER BY 1, 2, 3"
COMMENTED = """
COMMENT ON TABLE public.sms_events IS 'mine';
COMMENT ON COLUMN public.api_usage.model IS 'mine';
COMMENT ON VIEW public.openai_daily_usage IS 'mine';
COMMENT ON FUNCTION public.update_daily_stats(uuid, date) IS 'it''s mine'
"""


def down(database: Database, *, drop_monitoring: bool = False) -> list[Change]:
    shown: list[Change] = []
    changed = down_to_application(database.engine, shown.extend, lock_timeout="5s", drop_monitoring=drop_monitoring)
    assert shown == changed
    return changed


def hashes(database: Database) -> dict[str, Any]:
    tables = ("businesses", *EVENT_TABLES)
    query = "SELECT count(*) AS rows, md5(string_agg(t::text, '|' ORDER BY id)) AS hash FROM public.{} AS t"
    return {table: database.rows(query.format(table))[0] for table in tables}


def dumped(database: Database) -> list[str]:
    """Return the lines of ``pg_dump -s`` of ``public``, sorted; without what names the dump itself."""
    return sorted(
        line.rstrip(",")
        for line in pg_dump(database, "-n", "public").splitlines()
        if line and not line.startswith(("--", "\\"))
    )


@pytest.fixture
def database(empty_database: Database) -> Database:
    """Commands run here before anything was migrated."""
    return empty_database


@pytest.fixture(params=INSTALLS)
def application(request: pytest.FixtureRequest, copied: Copied) -> Iterator[Database]:
    """The application's database with history, comments, sorted views and our optional roles."""
    with copied(_filled, request.param) as database:
        yield database


def _filled(database: Database, install: Callable[[Database], object]) -> None:
    install(database)
    database.run("DELETE FROM public.businesses")
    add_history(database)
    for view, definition in SORTED.items():
        database.run(f"DROP VIEW public.{view}; CREATE VIEW public.{view} AS {definition}")
    database.run(COMMENTED)
    make_roles(database.engine)


@pytest.mark.parametrize("drops", [False, True], ids=["kept", "dropped"])
def test_the_application_has_what_it_had(application: Database, drops: bool) -> None:
    before = (hashes(application), dumped(application), catalog(application, "public"), as_found(application))
    migrate(application.engine, UTC)
    assert dumped(application) != before[1]
    down(application, drop_monitoring=drops)
    after = (hashes(application), dumped(application), catalog(application, "public"), as_found(application))
    assert after[0] == before[0]
    assert after[1] == before[1]
    assert {str(row) for row in after[2]} == {str(row) for row in before[2]}
    assert after[3] == before[3]
    assert bool(application.rows("SELECT FROM pg_namespace WHERE nspname = 'monitoring'")) is not drops


def test_the_applications_calls_are_answered_as_before(empty_database: Database) -> None:
    app.install_open(empty_database)
    calls = (*app.TRACKING, app.BUSINESSES, app.STATS, app.RESET, *app.VIEWS, app.GUARD)
    personal = "SELECT count(*) FROM public.sms_events WHERE from_number LIKE '+1%'"
    emptied = (
        "TRUNCATE public.sms_events, public.call_events, public.api_usage, public.owner_alerts, public.daily_stats"
    )

    def given() -> list[Any]:
        empty_database.run(emptied)
        return [answers(empty_database, role, *calls, personal, DAILY) for role in ("anon", "service_role")]

    before = given()
    migrate(empty_database.engine, UTC)
    assert given() != before
    down(empty_database)
    assert given() == before


@pytest.mark.parametrize("application", [app.install_open, install_legacy], indirect=True)
def test_up_again_finds_everything(application: Database) -> None:
    application.run("ALTER TABLE public.sms_events DROP COLUMN body_length")
    migrate(application.engine, UTC)
    roll_up_all(application.engine, DAYS)
    application.run("UPDATE public.sms_events SET body_length = 7")
    columns = "SELECT to_jsonb(t) AS row FROM public.{} AS t ORDER BY id"
    tables = ("daily_stats", "sms_events")
    before = (catalog(application), [application.rows(columns.format(table)) for table in tables])
    facts = application.rows("SELECT * FROM monitoring.sms_outcomes ORDER BY id")
    down(application)
    assert "body_length" not in application.rows(columns.format("sms_events"))[0]["row"]
    with pytest.raises(SchemaError, match="was put back to the application; run `smarttext migrate`"):
        require_installation(application.engine, UTC)
    assert find_drift(application.engine) == ["it was put back to the application: `smarttext migrate` adopts it again"]
    shown: list[Change] = []
    migrate(application.engine, UTC, agree=shown.extend)
    assert {"column sms_events.body_length", "triggers on api_usage"} <= {change.what for change in shown}
    assert find_drift(application.engine) == []
    new = {str(row) for row in catalog(application)} ^ {str(row) for row in before[0]}
    assert [row for row in new if "values_before_down" not in row] == []
    for table, had in zip(tables, before[1], strict=True):
        rows = application.rows(columns.format(table))
        assert [row for row in rows if row not in had] + [row for row in had if row not in rows] == []
    assert application.rows("SELECT * FROM monitoring.sms_outcomes ORDER BY id") == facts
    migrate(application.engine, UTC, agree=decline)


def test_up_again_goes_on_where_it_was_interrupted(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    before = as_found(empty_database)
    migrate(empty_database.engine, UTC)
    down(empty_database)
    with monkeypatch.context() as broken:
        broken.setattr("smarttext_pipelines.schema.adoption.bring_back.end_again", lambda _: ["SELECT 1 / 0"])
        with pytest.raises(Exception, match="division by zero"):
            migrate(empty_database.engine, UTC)
    with pytest.raises(SchemaError, match="half adopted"):
        down(empty_database, drop_monitoring=True)
    migrate(empty_database.engine, UTC)
    assert find_drift(empty_database.engine) == []
    down(empty_database)
    assert as_found(empty_database) == before


def test_nothing_of_ours_is_left(empty_database: Database) -> None:
    application = empty_database
    app.install_with_policies(application)
    make_roles(application.engine)
    migrate(application.engine, UTC)
    down(application)
    assert [change.what for change in down(application, drop_monitoring=True)] == ["schema monitoring"]
    left = """
        SELECT 'function' AS kind, oid::regprocedure::text AS name FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
            AND (strpos(prosrc, 'monitoring') > 0 OR proname ~ '(reserve|settle|cancel|check)_openai')
        UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE tgname ~ '^smarttext'
        UNION ALL SELECT 'policy', policyname FROM pg_policies
        WHERE policyname IN ('service_role_all', 'smarttext_roles')
        UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'monitoring'
        UNION ALL SELECT 'right', r.rolname || ' ' || d.classid::regclass || ' ' || d.objid FROM pg_shdepend AS d
        JOIN pg_roles AS r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::regclass
        WHERE r.rolname ~ '^smarttext_' AND d.deptype = 'a'
            AND (d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                 OR d.objid = (SELECT oid FROM pg_database WHERE datname = current_database()))
    """
    assert application.rows(left) == []
    migrate(application.engine, UTC)
    assert find_drift(application.engine) == []


def test_a_column_that_the_application_made_meanwhile_keeps_its_values(application: Database) -> None:
    application.run("ALTER TABLE public.sms_events DROP COLUMN body_length")
    migrate(application.engine, UTC)
    application.run("UPDATE public.sms_events SET body_length = 7")
    down(application)
    application.run("ALTER TABLE public.sms_events ADD COLUMN body_length integer DEFAULT 8")
    migrate(application.engine, UTC)
    assert {row["n"] for row in application.rows("SELECT body_length AS n FROM public.sms_events")} == {8}


def test_what_the_application_did_since_stays(own_role: str, empty_database: Database) -> None:
    app.install_closed(empty_database)
    migrate(empty_database.engine, UTC)
    empty_database.run(app.FUNCTIONS)
    migrate(empty_database.engine, UTC)
    empty_database.run(
        "ALTER TABLE public.sms_events ADD COLUMN campaign text DEFAULT 'none';"
        "CREATE POLICY mine ON public.sms_events FOR INSERT TO authenticated WITH CHECK (false);"
        "CREATE INDEX mine ON public.sms_events (to_number);"
        "COMMENT ON COLUMN public.sms_events.status IS 'mine';"
        f"GRANT SELECT ON public.sms_failure_rates, public.sms_events TO {own_role}"
    )
    down(empty_database)
    found = as_found(empty_database)
    assert {("column", "sms_events.campaign"), ("policy", "sms_events.mine"), ("index", "sms_events.mine")} <= set(
        found
    )
    assert found["column", "sms_events.status"]["comment"] == "mine"
    assert found["view", "sms_failure_rates"]["rights"][own_role] == ["SELECT"]
    assert found["table", "sms_events"]["rights"][own_role] == ["SELECT"]
    assert (
        "ON CONFLICT (business_id, date) DO UPDATE SET messages_sent = excluded.messages_sent;\nEND"
        in (found["function", "update_daily_stats(uuid, date)"]["definition"])
    )


def test_rows_and_values_outlive_the_shape(empty_database: Database) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    empty_database.run("DROP TABLE public.owner_alerts CASCADE")
    migrate(empty_database.engine, UTC)
    wide = 3_000_000_000
    empty_database.run(f"UPDATE public.daily_stats SET openai_tokens_used = {wide} WHERE business_id IS NULL")
    empty_database.run(app.TRACKING[3])
    shown = {change.what: change.then for change in down(empty_database)}
    assert shown["table owner_alerts"] == "stays, because it has rows"
    assert shown["rows of daily_stats"] == "back"
    assert shown["type of daily_stats.openai_tokens_used"].startswith("stays")
    rows = empty_database.rows("SELECT openai_tokens_used AS used FROM public.daily_stats WHERE business_id IS NULL")
    assert sorted(row["used"] for row in rows) == [0, 0, wide]
    assert len(empty_database.rows("SELECT FROM public.owner_alerts")) == 1


@pytest.mark.parametrize("options", [[], ["--drop-monitoring"], ["--sql"], ["--yes"]], ids=str)
def test_a_database_that_was_not_adopted_is_refused(
    smarttext: Callable[..., tuple[int, str, str]], empty_database: Database, options: list[str]
) -> None:
    install_legacy(empty_database)
    before = catalog(empty_database)
    code, out, errors = smarttext("migrate", "--down-to-application", *options)
    assert (code, out, len(errors.strip().splitlines())) == (2, "", 1)
    assert "was not adopted by `smarttext migrate`" in errors
    assert catalog(empty_database) == before


def test_a_database_of_ours_is_refused(empty_database: Database) -> None:
    migrate(empty_database.engine, UTC)
    with pytest.raises(InputError, match="was not adopted"):
        down(empty_database, drop_monitoring=True)


def test_the_command_shows_asks_and_tells(
    smarttext: Callable[..., tuple[int, str, str]], empty_database: Database
) -> None:
    app.install_open(empty_database)
    before = as_found(empty_database)
    smarttext("migrate", "--yes")
    adopted = catalog(empty_database)
    assert smarttext("migrate", "--drop-monitoring")[0] == 2
    assert smarttext("migrate", "--down-to-application", "--check")[0] == 2
    code, out, errors = smarttext("migrate", "--down-to-application")
    assert (code, len(errors.strip().splitlines()), "--yes" in errors) == (2, 1, True)
    assert "rights of anon on sms_events" in out
    assert smarttext("migrate", "--down-to-application", "--sql")[0] == 0
    assert catalog(empty_database) == adopted
    assert smarttext("migrate", "--down-to-application", "--yes")[0] == 0
    assert as_found(empty_database) == before
    assert "was put back already" in smarttext("migrate", "--down-to-application", "--yes")[2]
    assert smarttext("doctor")[0] != 0
    assert "migrate" in smarttext("rollup")[2]
    assert "it needs no script" in smarttext("migrate", "--sql")[2]
    assert smarttext("migrate", "--yes")[0] == 0
    assert smarttext("migrate", "--check")[0] == 0


@pytest.mark.parametrize("drops", [False, True], ids=["kept", "dropped"])
def test_the_script_does_the_same(empty_database: Database, drops: bool) -> None:
    app.install_with_policies(empty_database)
    before = as_found(empty_database)
    migrate(empty_database.engine, UTC)
    empty_database.run(down_sql(empty_database.engine, lock_timeout="5s", drop_monitoring=drops))
    assert as_found(empty_database) == before


@pytest.mark.parametrize(
    "view", ["SELECT business_id FROM public.sms_failure_rates", "SELECT day FROM monitoring.spend"]
)
def test_what_is_built_on_ours_is_named_and_nothing_changes(empty_database: Database, view: str) -> None:
    install_legacy(empty_database)
    migrate(empty_database.engine, UTC)
    empty_database.run(f"CREATE VIEW public.board AS {view}")
    before = catalog(empty_database)
    with pytest.raises(SchemaError, match=r"replaced or dropped: public\.board; drop these"):
        down(empty_database, drop_monitoring=True)
    assert catalog(empty_database) == before


def test_whoever_declines_and_whatever_fails_leaves_it_adopted(empty_database: Database) -> None:
    install_legacy(empty_database)
    migrate(empty_database.engine, UTC)
    empty_database.run("CREATE VIEW public.board AS SELECT id, is_final FROM public.daily_stats")
    before = catalog(empty_database)
    with pytest.raises(InputError):
        down_to_application(empty_database.engine, decline, lock_timeout="5s", drop_monitoring=True)
    assert catalog(empty_database) == before
    with pytest.raises(SmartTextError, match="drop what was built on it"):
        down(empty_database, drop_monitoring=True)
    assert catalog(empty_database) == before
