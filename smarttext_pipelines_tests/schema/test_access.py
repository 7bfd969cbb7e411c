"""Who may do what: what adoption leaves the public roles, a fixed list for ``service_role``, no filtered reading."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from smarttext_pipelines.alerting.evaluation_service import configured_channels, evaluate_now
from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.embedded import embedded_server
from smarttext_pipelines.health.doctor import examine
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.schema.migrate import find_drift, migrate
from smarttext_pipelines.schema.sources import ADD_FUNCTIONS
from smarttext_pipelines_tests.conftest import Copied, Database, Server, fresh_database
from smarttext_pipelines_tests.events import roll_up_all
from smarttext_pipelines_tests.legacy import (
    DAYS,
    POLICY,
    TABLES,
    VIEWS,
    acting_as,
    add_history,
    catalog,
    create_roles,
    install_legacy,
    prepare_supabase,
    rows_of,
)

ZONE = ZoneInfo("UTC")
BUSINESS = "b0000001-0000-4000-8000-000000000000"
INSERTS = {
    "businesses": "INSERT INTO public.businesses (name) VALUES ('A')",
    "sms_events": "INSERT INTO public.sms_events (from_number, to_number, status) VALUES ('+1', '+2', 'sent')",
    "call_events": "INSERT INTO public.call_events (event_type) VALUES ('voice.missed')",
    "api_usage": "INSERT INTO public.api_usage (service, endpoint) VALUES ('openai', 'chat')",
    "owner_alerts": "INSERT INTO public.owner_alerts (business_id, owner_phone, customer_phone, alert_type, "
    "message_content) SELECT id, '+1', '+2', 'missed_call', 'call' FROM public.businesses",
    "daily_stats": "INSERT INTO public.daily_stats (date) VALUES ('2030-01-01')",
}
READS_AND_CHANGES = [
    *(f"SELECT * FROM public.{name}" for name in (*TABLES, *VIEWS)),
    *(f"UPDATE public.{name} SET id = id" for name in TABLES),
    *(f"DELETE FROM public.{name} WHERE false" for name in TABLES),
]
ASK = "SELECT public.update_daily_stats(NULL, '2026-03-02')"
INTERNAL = [
    "SELECT * FROM monitoring.sms_outcomes",
    "SELECT * FROM monitoring.rollup_requests",
    "SELECT * FROM monitoring.daily_stats_adopted",
    "INSERT INTO monitoring.rollup_requests (row_day, reason) VALUES ('2026-03-02', 'mine')",
    "UPDATE monitoring.openai_budgets SET used_tokens = 0",
    "SELECT tokens FROM monitoring.openai_reservations",
    "SELECT monitoring.recount_openai_usage()",
]
GUARD = [
    "SELECT * FROM public.check_openai_usage_limit(NULL)",
    "SELECT * FROM public.reserve_openai_usage(NULL, 100, 'request-1')",
    "SELECT * FROM public.settle_openai_usage('request-1', 90)",
    "SELECT public.reset_daily_openai_usage()",
]


@pytest.fixture(params=["adopted", "new, all granted by default", "new, nothing granted by default"])
def supabase(request: pytest.FixtureRequest, copied: Copied) -> Iterator[Database]:
    """A migrated database with Supabase's roles, as it came to be in three ways."""
    with copied(_on_supabase, request.param) as database:
        yield database


def _on_supabase(database: Database, way: str) -> None:
    if way == "adopted":
        install_legacy(database)
        add_history(database)
    else:
        prepare_supabase(database, grants_by_default="all granted" in way)
    migrate(database.engine, ZONE)
    database.run("INSERT INTO public.businesses (id, name) VALUES (%s, 'A') ON CONFLICT DO NOTHING", BUSINESS)


@contextmanager
def session_of(database: Database, role: str) -> Iterator[psycopg.Connection[Any]]:
    with database.server.connect(database.name) as connection:
        connection.execute(f"SET ROLE {role}")
        yield connection


def is_adopted(database: Database) -> bool:
    return bool(database.rows("SELECT FROM monitoring.adoption_record WHERE occasion = 'adoption'"))


def refused(connection: psycopg.Connection[Any], statement: str) -> bool:
    try:
        connection.execute(statement)
    except InsufficientPrivilege:
        return True
    return False


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_the_public_roles_can_do_nothing(supabase: Database, role: str) -> None:
    everything = [*READS_AND_CHANGES, *INSERTS.values(), *INTERNAL, *GUARD, ASK]
    with session_of(supabase, role) as connection:
        done = [statement for statement in everything if not refused(connection, statement)]
    # The application's own table is left to its own policy, which shows them none of its rows.
    assert [statement for statement in done if "businesses" not in statement] == []
    assert is_adopted(supabase) or done == []


def test_service_role_can_do_what_the_application_does(supabase: Database) -> None:
    with session_of(supabase, "service_role") as connection:
        for statement in (*READS_AND_CHANGES, *INSERTS.values(), *GUARD):
            connection.execute(statement)
        assert [statement for statement in INTERNAL if not refused(connection, statement)] == []


def test_service_role_is_granted_exactly_that(supabase: Database) -> None:
    granted = supabase.rows(
        "SELECT n.nspname || '.' || relname AS name, string_agg(privilege_type, ' ' ORDER BY privilege_type) AS rights "
        "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace, aclexplode(relacl) AS a "
        "WHERE nspname IN ('public', 'monitoring') AND a.grantee = 'service_role'::regrole GROUP BY 1"
    )
    found = {row["name"]: row["rights"] for row in granted}
    needed = {f"public.{table}": "DELETE INSERT SELECT UPDATE" for table in TABLES}
    needed |= {f"public.{view}": "SELECT" for view in VIEWS}
    if is_adopted(supabase):  # what it was found with is more, and stays
        assert all(set(rights.split()) <= set(found[name].split()) for name, rights in needed.items())
        needed = {name: found[name] for name in needed}
    assert found == {
        **needed,
        "monitoring.sms_failure_rates": "SELECT",
        "monitoring.spend": "SELECT",
        "monitoring.tracking_writers": "INSERT SELECT UPDATE",
    }


_MATRIX = """
SELECT r.role, c.oid::regclass::text AS thing, p.privilege FROM unnest(%s::text[]) AS r (role)
CROSS JOIN pg_class AS c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p (privilege)
WHERE c.relnamespace IN ('public'::regnamespace, 'monitoring'::regnamespace) AND c.relkind IN ('r', 'v', 'm', 'p')
    AND (has_table_privilege(r.role, c.oid, p.privilege)
         OR p.privilege NOT IN ('DELETE', 'TRUNCATE') AND has_any_column_privilege(r.role, c.oid, p.privilege))
UNION ALL
SELECT r.role, c.oid::regclass::text, p.privilege FROM unnest(%s::text[]) AS r (role)
CROSS JOIN pg_class AS c CROSS JOIN unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS p (privilege)
WHERE c.relnamespace IN ('public'::regnamespace, 'monitoring'::regnamespace) AND c.relkind = 'S'
    AND has_sequence_privilege(r.role, c.oid, p.privilege)
UNION ALL
SELECT r.role, f.oid::regprocedure::text, 'EXECUTE' FROM unnest(%s::text[]) AS r (role) CROSS JOIN pg_proc AS f
WHERE f.pronamespace IN ('public'::regnamespace, 'monitoring'::regnamespace)
    AND has_function_privilege(r.role, f.oid, 'EXECUTE')
"""


def test_no_public_role_has_any_right_on_any_object_after_the_system_has_run(
    supabase: Database, tmp_path: Path
) -> None:
    settings = supabase.settings(data_dir=tmp_path)
    roll_up_all(supabase.engine, DAYS, allow_empty=True)
    evaluate_now(supabase.engine, settings, configured_channels(settings), datetime.now(UTC))
    public = ["anon", "authenticated"]
    has = {(row["thing"], row["privilege"]) for row in supabase.rows(_MATRIX, public, public, public)}
    kept = {(table, "INSERT") for table in TABLES if table != "businesses"} if is_adopted(supabase) else set()
    assert {right for right in has if right[0] != "businesses" or not kept} == kept
    of_service = supabase.rows(_MATRIX, *[["service_role"]] * 3)
    assert {row["thing"] for row in of_service if row["thing"].startswith("monitoring.")} == {
        "monitoring.sms_failure_rates",
        "monitoring.spend",
        "monitoring.tracking_writers",
        "monitoring.openai_reservations",
        "monitoring.reporting_day(timestamp with time zone)",
        *ADD_FUNCTIONS,
        "monitoring.usage_date(timestamp with time zone)",
    }
    report = examine(settings, services=False, dagster=False)
    assert {line.name: line.state for line in report.lines}["access"] is State.ok


def test_service_role_asks_for_a_rollup_by_calling_the_function(supabase: Database) -> None:
    with session_of(supabase, "service_role") as connection:
        connection.execute(ASK)
        connection.execute("SELECT public.update_daily_stats(%s, NULL)", [BUSINESS])
    asked = supabase.rows("SELECT row_day, business_id::text, reason FROM monitoring.rollup_requests ORDER BY id")
    assert [tuple(row.values()) for row in asked] == [
        (date(2026, 3, 2), None, "update_daily_stats()"),
        (datetime.now(UTC).date(), BUSINESS, "update_daily_stats()"),
    ]


def test_the_function_runs_with_rights_of_its_own_and_a_search_path_of_its_own(supabase: Database) -> None:
    found = supabase.rows(
        "SELECT prosecdef, proconfig FROM pg_proc WHERE oid = 'public.update_daily_stats(uuid, date)'::regprocedure"
    )
    assert found == [{"prosecdef": True, "proconfig": ["search_path=pg_catalog, pg_temp"]}]


def test_a_function_of_the_same_name_in_the_callers_path_is_not_called(supabase: Database) -> None:
    with session_of(supabase, "service_role") as connection:
        connection.execute("CREATE TEMPORARY TABLE rollup_requests (row_day date)")
        connection.execute(
            "CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$"
        )
        connection.execute("SET search_path = pg_temp, monitoring, public, pg_catalog")
        connection.execute("SELECT public.update_daily_stats(NULL, NULL)")
    assert supabase.rows("SELECT row_day FROM monitoring.rollup_requests") == [{"row_day": datetime.now(UTC).date()}]


def test_row_security_is_on_for_every_table_in_public_and_views_read_as_their_caller(supabase: Database) -> None:
    found = supabase.rows(
        "SELECT relname, relkind, relrowsecurity, reloptions FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"
    )
    assert {row["relname"] for row in found if row["relkind"] == "r" and row["relrowsecurity"]} == set(TABLES)
    views = {row["relname"]: row["reloptions"] for row in found if row["relkind"] == "v"}
    assert views == {view: ["security_invoker=true"] for view in VIEWS}


def test_each_table_has_one_policy_of_ours_that_calls_no_function(supabase: Database) -> None:
    found = supabase.rows(
        "SELECT tablename, roles::text AS roles, cmd, qual, with_check FROM pg_policies "
        "WHERE schemaname = 'public' AND policyname <> %s", POLICY
    )  # fmt: skip
    assert sorted(row.pop("tablename") for row in found) == sorted(TABLES)
    assert {tuple(row.values()) for row in found} == {("{service_role}", "ALL", "true", "true")}


def test_what_was_opened_again_by_hand_is_closed_by_the_next_migrate(supabase: Database) -> None:
    before = catalog(supabase)
    supabase.run("ALTER TABLE public.sms_events DISABLE ROW LEVEL SECURITY")
    supabase.run("DROP POLICY service_role_all ON public.businesses")
    supabase.run("ALTER POLICY service_role_all ON public.call_events TO PUBLIC")
    supabase.run("GRANT ALL ON public.sms_events, public.sms_failure_rates TO anon, PUBLIC")
    supabase.run("GRANT SELECT (to_number) ON public.sms_events TO authenticated")
    supabase.run("GRANT EXECUTE ON FUNCTION public.update_daily_stats(uuid, date) TO PUBLIC")
    supabase.run("ALTER VIEW public.openai_daily_usage RESET (security_invoker)")
    migrate(supabase.engine, ZONE)
    if is_adopted(supabase):  # whoever writes goes on writing, whoever let him
        supabase.run("REVOKE INSERT ON public.sms_events FROM PUBLIC")
    assert catalog(supabase) == before


def test_the_applications_reset_keeps_its_name_and_writes_no_marker_any_more(empty_database: Database) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    migrate(empty_database.engine, ZONE)
    usage = empty_database.rows("SELECT * FROM public.api_usage ORDER BY id")
    reset = "SELECT public.reset_daily_openai_usage()"
    with session_of(empty_database, "anon") as connection:
        assert refused(connection, reset)
    with session_of(empty_database, "service_role") as connection:
        connection.execute(reset)
        connection.execute(reset)
    assert empty_database.rows("SELECT * FROM public.api_usage ORDER BY id") == usage
    opened = empty_database.rows("SELECT business_id, day FROM monitoring.openai_resets")
    assert opened == [{"business_id": None, "day": datetime.now(UTC).date()}]


@pytest.fixture
def reader(server: Server) -> Iterator[str]:
    """A role that may read and write every table, but neither owns them nor bypasses row security."""
    name = f"reader_{uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {name} NOLOGIN")
        yield name
        connection.execute(f"DROP ROLE {name}")


def test_an_application_with_a_role_of_its_own_is_not_locked_out(reader: str, empty_database: Database) -> None:
    install_legacy(empty_database, on_supabase=False)
    for table in TABLES:
        empty_database.run(f"ALTER TABLE public.{table} DISABLE ROW LEVEL SECURITY")
        empty_database.run(f"GRANT SELECT, INSERT ON public.{table} TO {reader}")
    migrate(empty_database.engine, ZONE)
    with session_of(empty_database, reader) as connection:
        connection.execute(INSERTS["sms_events"])
        assert connection.execute("SELECT count(*) FROM public.sms_events").fetchone() == (1,)


def test_a_role_that_would_see_filtered_tables_gets_an_error_and_writes_no_zeros(reader: str, server: Server) -> None:
    with fresh_database(server) as database:
        install_legacy(database)
        add_history(database)
        migrate(database.engine, ZONE)
        roll_up_all(database.engine, DAYS)
        for schema in ("public", "monitoring"):
            database.run(f"GRANT USAGE ON SCHEMA {schema} TO {reader}")
            database.run(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {reader}")
            database.run(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {reader}")
        before = rows_of(database, "daily_stats")
        with (
            acting_as(database, reader) as engine,
            pytest.raises(
                DatabaseError, match=r"^[^\n]*row-level security[^\n]* role '[^\n]*BYPASSRLS, or run [^\n]*made it$"
            ),
        ):
            roll_up_all(engine, DAYS, allow_empty=True)
        assert rows_of(database, "daily_stats") == before


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Database]:
    """A database on a server of its own, which has none of Supabase's roles."""
    with embedded_server(tmp_path / "server") as embedded, fresh_database(Server(embedded.url("postgres"))) as database:
        yield database


def test_where_the_roles_do_not_exist_nobody_is_granted_anything_until_they_do(plain: Database) -> None:
    install_legacy(plain, on_supabase=False)
    add_history(plain)
    migrate(plain.engine, ZONE)
    assert find_drift(plain.engine) == []
    assert plain.rows("SELECT * FROM pg_policies") == []
    create_roles(plain.server, ("service_role",))
    with session_of(plain, "service_role") as connection:
        assert refused(connection, "SELECT * FROM public.sms_events")
    migrate(plain.engine, ZONE)
    with session_of(plain, "service_role") as connection:
        assert connection.execute("SELECT count(*) > 0 FROM public.sms_events").fetchone() == (True,)
        connection.execute(ASK)
