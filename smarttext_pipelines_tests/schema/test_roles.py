"""Roles with least privilege: each does its work, and is refused everything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from psycopg.errors import InvalidParameterValue
from pydantic import SecretStr
from sqlalchemy import Engine, text

from smarttext_pipelines import tracking
from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now, evaluate_now
from smarttext_pipelines.archive.files import ArchiveTarget
from smarttext_pipelines.budgets import ledger, ledger_findings
from smarttext_pipelines.budgets.limit_forecast import learn_hours
from smarttext_pipelines.budgets.limit_replay import replay_limit
from smarttext_pipelines.budgets.proposals import propose_limits
from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.connect import connected, open_engine, parse_url
from smarttext_pipelines.database.embedded import embedded_server
from smarttext_pipelines.database.rolled_up_days import pending_requests, request_rollups
from smarttext_pipelines.economics.lost import read_lost
from smarttext_pipelines.economics.unit_economics import read_economics, write_economics
from smarttext_pipelines.economics.write_backs import count_write_backs
from smarttext_pipelines.health import heartbeat
from smarttext_pipelines.health.doctor import examine
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.run import Retention, archive_days, raise_failures
from smarttext_pipelines.rollup import roll_up
from smarttext_pipelines.schema.migrate import find_drift, make_roles, migrate
from smarttext_pipelines.schema.rights.roles import PIPELINE, READER, RETENTION, ROLES, WRITER
from smarttext_pipelines.schema.script import migration_sql
from smarttext_pipelines_tests.conftest import Copied, Database, Server, fresh_database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, roll_up_all
from smarttext_pipelines_tests.legacy import (
    DAYS,
    SCHEMA_SCRIPT,
    TABLES,
    VIEWS,
    acting_as,
    add_history,
    catalog,
    install_legacy,
)
from smarttext_pipelines_tests.schema.test_access import refused, session_of

ZONE = ZoneInfo("UTC")
EVENTS = ("api_usage", "call_events", "owner_alerts", "sms_events")
ALL = "DELETE INSERT SELECT UPDATE"


@pytest.fixture
def roles(copied: Copied) -> Iterator[Database]:
    with copied(_with_roles) as database:
        yield database


def _with_roles(database: Database) -> None:
    install_legacy(database)
    add_history(database)
    make_roles(database.engine)
    make_roles(database.engine)
    migrate(database.engine, ZONE)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, on which the roles were never made."""
    folder = tmp_path_factory.mktemp("own")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    with embedded_server(folder) as embedded:
        yield Server(embedded.url("postgres"))


@contextmanager
def adopted_by_the_owner(server: Server) -> Iterator[tuple[Database, Engine]]:
    """Give a database whose owner is no superuser, but may make roles, and an engine that acts as the owner."""
    with fresh_database(server) as database:
        database.run("CREATE ROLE boss NOLOGIN NOSUPERUSER CREATEROLE")
        try:
            database.run(f"ALTER DATABASE {database.name} OWNER TO boss")
            with acting_as(database, "boss") as engine:
                with engine.begin() as connection:
                    secured = "".join(f"ALTER TABLE public.{t} ENABLE ROW LEVEL SECURITY;" for t in TABLES)
                    connection.exec_driver_sql(SCHEMA_SCRIPT + secured, execution_options={"no_parameters": True})
                add_history(database)
                database.run("CREATE TABLE public.of_others (x int)")
                migrate(engine, ZONE, with_roles=True)
                yield database, engine
        finally:
            database.run(f"DROP OWNED BY boss, {', '.join(ROLES)} CASCADE")
            database.run(f"ALTER DATABASE {database.name} OWNER TO CURRENT_USER")
            database.run(f"DROP ROLE {', '.join(ROLES)}, boss")


@pytest.fixture(params=["made by a superuser", "made by the owner"])
def working(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with events and the roles, which bypass row level security, or are let in by a policy."""
    if request.param == "made by a superuser":
        yield request.getfixturevalue("roles")
        return
    with adopted_by_the_owner(request.getfixturevalue("own_server")) as (database, _):
        assert not database.rows("SELECT FROM pg_roles WHERE rolbypassrls AND rolname ~ '^smarttext_'")
        yield database


@contextmanager
def logged_in(database: Database, role: str) -> Iterator[Engine]:
    """Give an engine whose sessions are the role's own, as they are where its password was set."""
    password = uuid4().hex
    database.run(f"ALTER ROLE {role} LOGIN PASSWORD '{password}'")
    engine = open_engine(parse_url(database.url).set(username=role, password=password).render_as_string(False))
    try:
        yield engine
    finally:
        engine.dispose()
        database.run(f"ALTER ROLE {role} NOLOGIN PASSWORD NULL")


def granted(database: Database, role: str) -> dict[str, str]:
    """Rights on whole relations; rights on columns are marked."""
    whole = database.rows(
        "SELECT c.oid::regclass::text AS name, string_agg(privilege_type, ' ' ORDER BY privilege_type) AS rights"
        " FROM pg_class AS c, aclexplode(relacl) AS a WHERE a.grantee = %s::regrole GROUP BY 1", role
    )  # fmt: skip
    return {row["name"]: row["rights"] for row in whole}


def test_the_writer_can_insert_events_and_nothing_else(roles: Database) -> None:
    found = granted(roles, WRITER)
    assert {name: rights for name, rights in found.items() if not name.startswith("monitoring.")} == {
        name: "INSERT" for name in EVENTS
    }
    assert {name: rights for name, rights in found.items() if name.startswith("monitoring.")} == {
        "monitoring.installation": "SELECT",
        "monitoring.alembic_version": "SELECT",
        "monitoring.tracking_writers": "INSERT SELECT UPDATE",
    }


def test_the_pipeline_changes_no_event_and_no_manifest(roles: Database) -> None:
    found = granted(roles, PIPELINE)
    assert {name: found[name] for name in (*EVENTS, "businesses", *VIEWS)} == dict.fromkeys(
        (*EVENTS, "businesses", *VIEWS), "SELECT"
    )
    assert found["daily_stats"] == ALL
    assert found["monitoring.archive_segments"] == found["monitoring.installation"] == "SELECT"


def test_retention_deletes_events_and_changes_no_number(roles: Database) -> None:
    found = granted(roles, RETENTION)
    assert {name for name, rights in found.items() if "DELETE" in rights} == {*EVENTS, "monitoring.archive_segments"}
    assert {name for name, rights in found.items() if "UPDATE" in rights} == {"monitoring.archive_segments"}
    assert found["daily_stats"] == "SELECT"


def test_the_reader_changes_nothing_and_sees_no_event(roles: Database) -> None:
    found = granted(roles, READER)
    assert set(found.values()) == {"SELECT"}
    assert not found.keys() & {*EVENTS, "businesses", *(f"monitoring.{name}" for name in (*EVENTS, "businesses"))}
    with session_of(roles, READER) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM public.daily_stats").fetchone() == (True,)
        for view in VIEWS:
            connection.execute(f"SELECT * FROM public.{view}")
        connection.execute("SELECT name FROM public.businesses")


CHANGED_BY_PIPELINE = [
    "alert_signals",
    "alert_targets",
    "budget_thresholds",
    "call_volume",
    "customer_days",
    "daily_stats_adopted",
    "heartbeats",
    "incidents",
    "missed_call_replies",
    "notifications",
    "openai_grants",
    "openai_limits",
    "owner_alert_delivery",
    "pipeline_health",
    "refused_rows",
    "rollup_days",
    "rollup_requests",
    "rule_states",
    "silences",
    "live_today",
    "anomalies",
    "anomaly_days",
    "anomaly_marks",
    "anomaly_verdicts",
    "openai_costs",
    "lake_files",
    "customer_secrets",
    "openai_cost_days",
    "openai_hours",
    "write_backs",
    "unit_economics",
    "sms_failure_rates",
    "sms_outcomes",
    "sms_report_asks",
    "spend",
    "tracking_writers",
]
KEPT_BY_FUNCTIONS = [
    "budget_crossings",
    "ledger_rewrites",
    "openai_budgets",
    "openai_prices",
    "openai_refusals",
    "openai_refusals_new",
    "openai_reservations",
    "openai_resets",
]
READ_ONLY = [
    "adoption_record",
    "installed_objects",
    "businesses",
    *EVENTS,
    "alembic_version",
    "archive_segments",
    "erasures",
    "installation",
    "business_names",
    "call_rows",
    "failure_classes",
    "message_rows",
]
PEOPLE = [
    "budget_crossings",
    "business_names",
    "call_volume",
    "customer_days",
    "customer_secrets",
    "failure_classes",
    "heartbeats",
    "incidents",
    "missed_call_replies",
    "notifications",
    "openai_budgets",
    "openai_refusals",
    "openai_refusals_new",
    "owner_alert_delivery",
    "pipeline_health",
    "rollup_days",
    "rule_states",
    "silences",
    "live_today",
    "anomalies",
    "anomaly_days",
    "anomaly_marks",
    "anomaly_verdicts",
    "openai_costs",
    "openai_cost_days",
    "openai_hours",
    "write_backs",
    "unit_economics",
    "sms_failure_rates",
    "sms_outcomes",
    "spend",
]
IN_MONITORING = {
    WRITER: {"tracking_writers": "INSERT SELECT UPDATE"},
    PIPELINE: {
        **dict.fromkeys(CHANGED_BY_PIPELINE, ALL),
        **dict.fromkeys((*KEPT_BY_FUNCTIONS, *READ_ONLY), "SELECT"),
        "number_reveals": "INSERT SELECT",
    },
    RETENTION: {
        **dict.fromkeys((*CHANGED_BY_PIPELINE, *KEPT_BY_FUNCTIONS, *READ_ONLY, "number_reveals"), "SELECT"),
        "archive_segments": ALL,
    },
    READER: dict.fromkeys(PEOPLE, "SELECT"),
}
IN_PUBLIC = {
    WRITER: dict.fromkeys(EVENTS, "INSERT"),
    PIPELINE: {**dict.fromkeys((*EVENTS, "businesses", *VIEWS), "SELECT"), "daily_stats": ALL},
    RETENTION: {**dict.fromkeys(EVENTS, "DELETE INSERT SELECT"), "businesses": "SELECT", "daily_stats": "SELECT"},
    READER: dict.fromkeys(("daily_stats", *VIEWS), "SELECT"),
}
COLUMNS = {
    WRITER: {
        **dict.fromkeys((f"{table}.id" for table in EVENTS), "SELECT"),
        **dict.fromkeys((f"businesses.{name}" for name in ("id", "name", "subscription_tier")), "SELECT"),
        "monitoring.openai_reservations.request_id": "SELECT",
    },
    PIPELINE: dict.fromkeys(
        (
            f"monitoring.openai_budgets.{name}"
            for name in ("limit_tokens", "limit_usd", "granted_tokens", "granted_usd")
        ),
        "UPDATE",
    ),
    RETENTION: {},
    READER: dict.fromkeys(
        (f"businesses.{name}" for name in ("id", "name", "business_type", "subscription_tier", "created_at")), "SELECT"
    ),
}
GUARD = {"check_openai_usage_limit", "reserve_openai_usage", "settle_openai_usage", "cancel_openai_usage"}
ADDS = {f"add_{table}" for table in EVENTS}
READS = {f"read_{table}" for table in (*EVENTS, "businesses")}
FOR_READERS = {
    "businesses_of_sender",
    "list_business_names",
    "openai_tokens_of_the_hour",
    "today",
    "masked_near_rows",
    "masked_suppressed_recipients",
    "message_prices",
    "near_usage",
}
EXECUTES = {
    WRITER: {*GUARD, *ADDS, "reporting_day", "usage_date"},
    PIPELINE: {
        "reset_daily_openai_usage", "today", "openai_limit", "open_openai_budgets", "openai_ledger",
        "reap_openai_reservations", "read_message_rows", "read_call_rows",
        "usage_day", *READS, "near_rows", *FOR_READERS, "check_sms_recipient", "suppressed_recipients",
    },
    RETENTION: {"usage_day", *READS},
    READER: FOR_READERS,
    "service_role": {
        *GUARD, *ADDS, "usage_date", "reset_daily_openai_usage", "update_daily_stats", "reporting_day",
        "check_sms_recipient",
    },
    "anon": set(),
    "authenticated": set(),
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_exactly_these_rights_on_tables_and_columns(roles: Database, role: str) -> None:
    every = {"alembic_version": "SELECT", "installation": "SELECT"}
    wanted = {f"monitoring.{name}": rights for name, rights in {**every, **IN_MONITORING[role]}.items()}
    assert granted(roles, role) == {**wanted, **IN_PUBLIC[role]}
    columns = roles.rows(
        "SELECT attrelid::regclass::text || '.' || attname AS name, "
        "string_agg(privilege_type, ' ' ORDER BY privilege_type) AS rights FROM pg_attribute, aclexplode(attacl) AS a "
        "WHERE a.grantee = %s::regrole GROUP BY 1", role
    )  # fmt: skip
    assert {row["name"]: row["rights"] for row in columns} == COLUMNS[role]


@pytest.mark.parametrize("role", EXECUTES)
def test_each_role_executes_exactly_these_functions(roles: Database, role: str) -> None:
    found = roles.rows(
        "SELECT proname FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'monitoring'::regnamespace) "
        "AND has_function_privilege(%s, oid, 'EXECUTE')", role
    )  # fmt: skip
    assert {row["proname"] for row in found} == EXECUTES[role]


def test_the_pipeline_makes_no_event_of_a_reservation_and_retention_books_no_running_call(roles: Database) -> None:
    forged = (
        "INSERT INTO monitoring.openai_reservations (request_id, day, tokens, endpoint, state, reserved_at) "
        "VALUES ('forged', current_date, 5, 'chat', 'held', '2026-01-01')"
    )
    roles.run("SELECT public.reserve_openai_usage(NULL, 5, 'running')")
    attempts = {
        PIPELINE: (
            forged,
            "SELECT public.reserve_openai_usage(NULL, 5, 'r')",
            "SELECT monitoring.book_openai_usage(ARRAY['running'])",
            "UPDATE monitoring.openai_reservations SET reserved_at = '2026-01-01'",
            "UPDATE monitoring.openai_budgets SET used_tokens = 0",
        ),
        RETENTION: (
            "SELECT monitoring.reap_openai_reservations('-1 day')",
            "SELECT monitoring.reap_openai_reservations()",
            "SELECT public.settle_openai_usage('running', 1)",
        ),
        WRITER: ("SELECT monitoring.reap_openai_reservations()", "DELETE FROM public.api_usage"),
    }
    for role, statements in attempts.items():
        with session_of(roles, role) as connection:
            assert [statement for statement in statements if not refused(connection, statement)] == []
    with session_of(roles, PIPELINE) as connection, pytest.raises(InvalidParameterValue, match="at least a minute"):
        connection.execute("SELECT monitoring.reap_openai_reservations('-1 day')")
    assert roles.rows("SELECT state FROM monitoring.openai_reservations") == [{"state": "held"}]


@pytest.mark.parametrize("role", ROLES)
def test_no_role_can_log_in_create_or_own_anything(roles: Database, role: str) -> None:
    (found,) = roles.rows(
        "SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s", role
    )
    assert not any(found.values())
    assert roles.rows("SELECT 1 FROM pg_class WHERE relowner = %s::regrole", role) == []
    for schema in ("public", "monitoring"):
        assert roles.rows("SELECT has_schema_privilege(%s, %s, 'CREATE') AS may", role, schema) == [{"may": False}]


@pytest.mark.parametrize("role", ROLES)
def test_what_was_granted_by_hand_is_taken_back_by_the_next_migrate(roles: Database, role: str) -> None:
    before = granted(roles, role)
    roles.run(f"GRANT ALL ON {', '.join(f'public.{t}' for t in TABLES)}, monitoring.incidents TO {role}")
    migrate(roles.engine, ZONE)
    assert granted(roles, role) == before


def test_the_tracking_library_works_as_the_writer(working: Database, tmp_path: Path) -> None:
    with logged_in(working, WRITER) as engine:
        tracking.configure(database_url=engine.url.render_as_string(hide_password=False), spill_folder=tmp_path)
        try:
            tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued", request_id="w1")
            tracking.track_openai_usage(endpoint="chat", tokens_used=5, request_id="w2")
            tracking.track_call_event(event_type="voice.missed", call_sid="CA1")
            assert tracking.flush(20)
            reserved = tracking.reserve_openai_usage(None, 100, "w3")
            assert reserved.allowed, reserved
            reserved.settle(50)
            assert tracking.counters().dropped == tracking.counters().rejected == 0
        finally:
            tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path / "unused")
    assert working.rows("SELECT count(*) AS n FROM public.sms_events WHERE request_id = 'w1'") == [{"n": 1}]
    assert working.rows("SELECT tokens_used FROM public.api_usage WHERE request_id = 'w3'") == [{"tokens_used": 50}]


def test_rollup_alerting_budgets_and_health_work_as_the_pipeline(working: Database, tmp_path: Path) -> None:
    with logged_in(working, PIPELINE) as engine:
        for metric in METRICS.values():
            roll_up(engine, metric, DAYS, zone=ZONE, settle_days=4, allow_empty=True, customer_secret=CUSTOMER_SECRET)
        settings = working.settings(data_dir=tmp_path)
        channels = configured_channels(settings)
        evaluate_now(engine, settings, channels, datetime.now(UTC))
        deliver_now(engine, channels, budget_seconds=10)
        with engine.begin() as connection:
            request_rollups(connection, {date(2026, 3, 2): "test"})
            assert pending_requests(connection)
            ledger.reap(connection)
            ledger.open_day(connection)
            learn_hours(connection)
            assert replay_limit(connection, 0, DAYS).total.calls == replay_limit(connection, 0, DAYS).total.refused
            propose_limits(connection, DAYS)
            count_write_backs(connection, DAYS, ZONE, datetime.now(UTC))
            write_economics(connection, DAYS.first, {}, zone=ZONE, now=datetime.now(UTC))
            assert ledger_findings.counter_differences(connection) == []
            heartbeat.record(connection, [])
            assert connection.execute(text("SELECT count(*) FROM public.daily_stats")).scalar()
        url = engine.url.render_as_string(hide_password=False)
        report = examine(settings.model_copy(update={"database_url": SecretStr(url)}), services=False)
    unseen = [line for line in report.lines if "cannot be looked at" in line.said or "permission" in line.said]
    assert unseen == []


def test_the_reader_sees_what_businesses_cost_and_whom_they_did_not_reach(working: Database) -> None:
    roll_up_all(working.engine, DAYS, allow_empty=True)
    with logged_in(working, READER) as engine, engine.connect() as connection:
        found = read_economics(connection, DAYS.first, {}, zone=ZONE, now=datetime.now(UTC))
        assert found
        read_lost(connection, list(DAYS))
        ledger.read_budgets(connection)


def test_archiving_and_deleting_works_as_retention(working: Database, tmp_path: Path) -> None:
    roll_up_all(working.engine, DAYS, allow_empty=True)
    retention = Retention(ZONE, 4, 30, deletes=True)
    with logged_in(working, RETENTION) as engine:
        done = archive_days(
            engine, ArchiveTarget(str(tmp_path)), retention, done=lambda _d: None, begun=lambda _n: None
        )
        raise_failures(done)
    assert working.rows("SELECT DISTINCT state FROM monitoring.archive_segments") == [{"state": "deleted"}]


def test_what_the_reader_sees_is_everything_or_an_error(own_server: Server) -> None:
    with adopted_by_the_owner(own_server) as (database, owner):

        def read() -> int:
            with logged_in(database, READER) as engine, connected(engine) as connection:
                return int(connection.execute(text("SELECT count(*) FROM public.daily_stats")).scalar_one())

        everything = database.rows("SELECT count(*) AS n FROM public.daily_stats")[0]["n"]
        assert read() == everything > 0
        for spoil, mend in (
            ("CREATE POLICY few ON public.businesses AS RESTRICTIVE USING (false)", "DROP POLICY few ON businesses"),
            ("ALTER POLICY smarttext_roles ON public.daily_stats USING (date > '2026-03-05')", ""),
            ("DROP POLICY smarttext_roles ON public.daily_stats", ""),
            (f"ALTER POLICY smarttext_roles ON public.daily_stats TO {WRITER}", ""),
        ):
            database.run(spoil)
            with pytest.raises(DatabaseError, match="row-level security"):
                read()
            if mend:
                database.run(mend)
            migrate(owner, ZONE)
            assert read() == everything


def test_policies_come_and_go_with_what_makes_them_needed(own_server: Server) -> None:
    secured = "SELECT tablename FROM pg_policies WHERE policyname = 'smarttext_roles' ORDER BY 1"
    with adopted_by_the_owner(own_server) as (database, owner):
        assert [row["tablename"] for row in database.rows(secured)] == sorted(TABLES)
        assert find_drift(owner) == []
        assert migration_sql(ZONE, owner, with_roles=True).endswith("nothing to do\n")
        before = catalog(database)
        migrate(owner, ZONE, with_roles=True)
        assert catalog(database) == before
        database.run(f"ALTER ROLE {WRITER} BYPASSRLS; ALTER ROLE {PIPELINE} BYPASSRLS; ALTER ROLE {READER} BYPASSRLS")
        migrate(owner, ZONE)
        assert database.rows("SELECT DISTINCT roles::text[] FROM pg_policies") == [{"roles": [RETENTION]}]
        database.run(f"ALTER ROLE {RETENTION} BYPASSRLS")
        migrate(owner, ZONE)
        assert database.rows(secured) == []


def test_who_may_make_no_role_is_told_what_a_superuser_must_run(own_server: Server) -> None:
    with fresh_database(own_server) as database:
        database.run("CREATE ROLE clerk NOLOGIN")
        database.run(f"ALTER DATABASE {database.name} OWNER TO clerk")
        try:
            assert "CREATE ROLE" in migration_sql(ZONE, database.engine, with_roles=True)
            with (
                acting_as(database, "clerk") as engine,
                pytest.raises(
                    DatabaseError, match=r"^[^\n]*a superuser must run this first: ALTER ROLE clerk CREATEROLE$"
                ),
            ):
                migrate(engine, ZONE, with_roles=True)
            assert database.rows("SELECT FROM pg_namespace WHERE nspname = 'monitoring'") == []
        finally:
            database.run(f"ALTER DATABASE {database.name} OWNER TO CURRENT_USER; DROP ROLE clerk")
