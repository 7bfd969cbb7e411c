"""Rights after the way down: those of what the application made since, and the right to pass a right on."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests import application as app
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.schema.test_adoption_plan import own_role
from smarttext_pipelines_tests.schema.test_way_down import down

__all__ = ["own_role"]
UTC = ZoneInfo("UTC")
OVERLOAD = """
CREATE FUNCTION public.reset_daily_openai_usage(business_id uuid, day date DEFAULT NULL) RETURNS void
LANGUAGE sql AS 'SELECT';
REVOKE ALL ON FUNCTION public.reset_daily_openai_usage(uuid, date) FROM PUBLIC, anon, authenticated, service_role;
COMMENT ON FUNCTION public.reset_daily_openai_usage(uuid, date) IS 'mine';
"""
NEW_VIEW = """
DROP VIEW public.sms_failure_rates;
CREATE VIEW public.sms_failure_rates AS SELECT business_id, created_at::date AS date, count(*) AS total_attempts
FROM public.sms_events GROUP BY 1, 2;
"""


@pytest.fixture(autouse=True)
def _no_rights_by_default(empty_database: Database) -> None:
    app.install_closed(empty_database)
    roles = "PUBLIC, anon, authenticated, service_role"
    for what in ("TABLES", "FUNCTIONS"):
        empty_database.run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON {what} FROM {roles}")


def rights(database: Database, name: str) -> set[tuple[str, str, bool]]:
    """Return who may do what with a relation or function, and whether they may pass it on; but for our own roles."""
    catalog, type_, acl = ("pg_proc", "regprocedure", "proacl") if "(" in name else ("pg_class", "regclass", "relacl")
    owner = "proowner" if "(" in name else "relowner"
    default = f"acldefault('{'f' if '(' in name else 'r'}', o.{owner})"
    found = database.rows(
        f"SELECT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END AS who, "
        f"g.privilege_type AS may, g.is_grantable AS passes "
        f"FROM {catalog} AS o, aclexplode(coalesce(o.{acl}, {default})) AS g "
        f"WHERE o.oid = '{name}'::{type_} AND g.grantee <> o.{owner}"
    )
    return {(row["who"], row["may"], row["passes"]) for row in found if not row["who"].startswith("smarttext_")}


def columns(database: Database, table: str) -> list[dict[str, Any]]:
    return database.rows(
        f"SELECT attname, attacl::text FROM pg_attribute WHERE attrelid = '{table}'::regclass ORDER BY 1"
    )


@pytest.mark.parametrize("caller", ["PUBLIC", "anon", None])
def test_an_overload_that_was_made_since_has_its_rights_and_comment(
    empty_database: Database, caller: str | None
) -> None:
    migrate(empty_database.engine, UTC)
    name = "public.reset_daily_openai_usage(uuid, date)"
    empty_database.run(OVERLOAD + (f"GRANT EXECUTE ON FUNCTION {name} TO {caller}" if caller else ""))
    before = rights(empty_database, name)
    assert before == ({(caller, "EXECUTE", False)} if caller else set())
    migrate(empty_database.engine, UTC)
    assert empty_database.rows(f"SELECT to_regprocedure('{name}') AS there") == [{"there": None}]
    down(empty_database)
    assert rights(empty_database, name) == before
    assert empty_database.rows(f"SELECT obj_description('{name}'::regprocedure) AS said") == [{"said": "mine"}]


def test_a_function_that_was_dropped_and_made_since_has_its_new_rights(empty_database: Database) -> None:
    migrate(empty_database.engine, UTC)
    name = "public.update_daily_stats(uuid, date)"
    empty_database.run(f"DROP FUNCTION {name}; {app.FUNCTIONS}; GRANT EXECUTE ON FUNCTION {name} TO authenticated")
    before = rights(empty_database, name)
    assert {who for who, _, _ in before} == {"PUBLIC", "authenticated"}
    migrate(empty_database.engine, UTC)
    down(empty_database)
    assert rights(empty_database, name) == before


@pytest.mark.parametrize("granted", ["", "GRANT SELECT ON public.sms_failure_rates TO anon WITH GRANT OPTION"])
def test_a_view_that_was_dropped_and_made_since_has_its_new_rights(empty_database: Database, granted: str) -> None:
    empty_database.run("GRANT ALL ON public.sms_failure_rates TO authenticated")
    migrate(empty_database.engine, UTC)
    empty_database.run(NEW_VIEW + granted)
    before = rights(empty_database, "public.sms_failure_rates")
    migrate(empty_database.engine, UTC)
    down(empty_database)
    after = rights(empty_database, "public.sms_failure_rates")
    if granted:
        # Whether the others were taken away or never given again is not on record.
        assert before <= after
    else:
        assert after == before == set()


def test_a_view_that_was_replaced_in_place_has_the_rights_that_were_found(empty_database: Database) -> None:
    empty_database.run("GRANT SELECT ON public.openai_daily_usage TO anon, authenticated")
    before = rights(empty_database, "public.openai_daily_usage")
    migrate(empty_database.engine, UTC)
    definition = (
        "SELECT business_id, reset_date AS date, 1::bigint AS total_tokens, 2::numeric AS total_cost, "
        "3::bigint AS requests, 4::bigint AS unpriced_requests"
    )
    empty_database.run(f"CREATE OR REPLACE VIEW public.openai_daily_usage AS {definition} FROM public.api_usage")
    migrate(empty_database.engine, UTC)
    down(empty_database)
    assert rights(empty_database, "public.openai_daily_usage") == before
    assert (
        "(2)::numeric" in empty_database.rows("SELECT pg_get_viewdef('public.openai_daily_usage') AS said")[0]["said"]
    )


def test_the_newest_of_the_applications_definitions_comes_back_also_if_it_was_there_before(
    empty_database: Database,
) -> None:
    migrate(empty_database.engine, UTC)
    for version in (1, 2, 1):
        body = app.FUNCTIONS.replace("0, 0 FROM", f"{version}, 0 FROM")
        empty_database.run(body)
        migrate(empty_database.engine, UTC)
    down(empty_database)
    said = empty_database.rows("SELECT prosrc FROM pg_proc WHERE proname = 'reset_daily_openai_usage'")
    assert "1, 0 FROM" in said[0]["prosrc"]


def test_who_could_pass_a_right_on_still_can(own_role: str, empty_database: Database) -> None:
    quoted = f'"a=b*/{own_role}"'
    empty_database.run(
        f"CREATE ROLE {quoted} NOLOGIN;"
        f"GRANT SELECT, INSERT, UPDATE ON public.sms_events TO {own_role}, anon WITH GRANT OPTION;"
        f"GRANT DELETE ON public.sms_events TO {own_role};"
        f"GRANT SELECT ON public.sms_failure_rates TO {own_role}, {quoted}, authenticated WITH GRANT OPTION;"
        f"GRANT TRUNCATE ON public.sms_failure_rates TO {own_role};"
        f"GRANT SELECT (business_id) ON public.openai_daily_usage TO {quoted} WITH GRANT OPTION;"
        "GRANT SELECT (id, model) ON public.api_usage TO authenticated WITH GRANT OPTION;"
        f"GRANT EXECUTE ON FUNCTION public.update_daily_stats(uuid, date) TO {own_role}, service_role WITH GRANT OPTION"
    )
    names = ["public.sms_events", "public.sms_failure_rates", "public.update_daily_stats(uuid, date)"]
    before = [rights(empty_database, name) for name in names]
    tables = ["public.api_usage", "public.openai_daily_usage"]
    limited = [columns(empty_database, table) for table in tables]
    try:
        migrate(empty_database.engine, UTC)
        assert [rights(empty_database, name) for name in names] != before
        down(empty_database)
        assert [rights(empty_database, name) for name in names] == before
        assert [columns(empty_database, table) for table in tables] == limited
    finally:
        empty_database.run(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


def test_what_a_role_passed_on_stays_with_whom_it_was_passed_to(own_role: str, empty_database: Database) -> None:
    empty_database.run(
        "GRANT INSERT ON public.sms_events TO anon WITH GRANT OPTION; GRANT SELECT ON public.sms_events TO anon;"
        f"SET ROLE anon; GRANT INSERT ON public.sms_events TO {own_role}; RESET ROLE"
    )
    before = rights(empty_database, "public.sms_events")
    try:
        migrate(empty_database.engine, UTC)
        down(empty_database)
        assert rights(empty_database, "public.sms_events") == before
    finally:  # DROP OWNED revokes what the owner granted, and not what anon did.
        empty_database.run(f"SET ROLE anon; REVOKE INSERT ON public.sms_events FROM {own_role}; RESET ROLE")


@pytest.mark.parametrize(("value", "stays"), [("1.23456", True), ("1.2345", False), ("1234567", True)])
def test_a_type_that_would_round_a_value_stays(empty_database: Database, value: str, stays: bool) -> None:
    empty_database.run("ALTER TABLE public.daily_stats ALTER COLUMN openai_cost_estimate TYPE numeric(10, 4)")
    migrate(empty_database.engine, UTC)
    empty_database.run(f"INSERT INTO public.daily_stats (date, openai_cost_estimate) VALUES ('2026-03-01', {value})")
    shown = {change.what: change.then for change in down(empty_database)}
    then = shown["type of daily_stats.openai_cost_estimate"]
    assert then.startswith("stays, because") if stays else then == "numeric(10,4)"
    kept = empty_database.rows("SELECT openai_cost_estimate::text AS cost FROM public.daily_stats")
    assert [float(row["cost"]) for row in kept] == [float(value)]
