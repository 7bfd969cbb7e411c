"""Nobody becomes the owner: no type, function or operator of a caller runs with the rights of our functions."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.schema.sources import ADD_FUNCTIONS, READ_FUNCTIONS
from smarttext_pipelines_tests.conftest import Copied, Database
from smarttext_pipelines_tests.legacy import create_roles
from smarttext_pipelines_tests.schema.test_access import ZONE

TYPES = {
    "bool": "true",
    "date": "2026-03-01",
    "int4": "1",
    "int8": "1",
    "interval": "16 minutes",
    "jsonb": "{}",
    "name": "x",
    "numeric": "1.5",
    "text": "x",
    "timestamp": "2026-03-01",
    "timestamptz": "2026-03-01",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "varchar": "x",
}
"""Types that a caller's domain may pretend to be, with a value of each."""

INTERNAL = (
    "INSERT INTO public.api_usage (service, endpoint, tokens_used, request_id) VALUES ('openai', 'chat', 5, 'direct')",
    "UPDATE public.api_usage SET tokens_used = 6 WHERE request_id = 'direct'",
    "DELETE FROM public.api_usage WHERE request_id = 'direct'",
)
_ADDED = """'[{"id": "00000000-0000-4000-8000-000000000001", "from_number": "+15550100", "to_number": "+15550101",
 "status": "sent", "event_type": "voice.missed", "service": "x", "endpoint": "x", "owner_phone": "+15550102",
 "customer_phone": "+15550103", "alert_type": "x", "message_content": "x", "tokens_used": 1, "cost_estimate": 0,
 "business_id": "00000000-0000-4000-8000-000000000000"}]'"""
_NEAR = "'all', NULL, ARRAY['x'], ARRAY['x'], now(), now(), now(), now(), true"
CALLS = {
    "public.check_openai_usage_limit": "SELECT public.check_openai_usage_limit(NULL)",
    "public.reserve_openai_usage": "SELECT public.reserve_openai_usage(NULL, n, 'r' || n) FROM generate_series(1, 4) n",
    "public.settle_openai_usage": "SELECT public.settle_openai_usage('r1', 1, 0.5), "
    "public.settle_openai_usage('r2', 3)",
    "public.cancel_openai_usage": "SELECT public.cancel_openai_usage('r3')",
    "public.reset_daily_openai_usage": "SELECT public.reset_daily_openai_usage()",
    "public.update_daily_stats": "SELECT public.update_daily_stats(NULL, NULL)",
    "public.check_sms_recipient": "SELECT public.check_sms_recipient(id, '+15550100') FROM public.businesses",
    "monitoring.reporting_day": "SELECT monitoring.reporting_day(now())",
    "monitoring.today": "SELECT monitoring.today()",
    "monitoring.openai_limit": "SELECT monitoring.openai_limit(id) FROM public.businesses",
    "monitoring.open_openai_budgets": "SELECT monitoring.open_openai_budgets(ARRAY['2026-03-01']::pg_catalog.date[], "
    "ARRAY[NULL]::pg_catalog.uuid[])",
    "monitoring.upper_usd": "SELECT monitoring.upper_usd('gpt-4o', 5, '2026-03-01')",
    "monitoring.usage_id": "SELECT monitoring.usage_id('r1')",
    "monitoring.usage_date": "SELECT monitoring.usage_date(now())",
    "monitoring.usage_time": "SELECT monitoring.usage_time(now(), '2026-03-01')",
    "monitoring.usage_day": "SELECT monitoring.usage_day(NULL, now(), 'UTC', NULL);"
    "SELECT monitoring.usage_day(NULL, LOCALTIMESTAMP, 'UTC', 'UTC')",
    "monitoring.counted_usd": "SELECT monitoring.counted_usd(0, 5, 'chat', 'gpt-4o', 'r', 'x', '2026-03-01')",
    "monitoring.priced_model": "SELECT monitoring.priced_model('openai/gpt-4o')",
    "monitoring.book_openai_usage": "SELECT monitoring.book_openai_usage(ARRAY['r4'])",
    "monitoring.reap_openai_reservations": "SELECT monitoring.reap_openai_reservations('1 minute')",
    "monitoring.openai_ledger": "SELECT monitoring.openai_ledger('2026-03-01')",
    "monitoring.recount_openai_usage": "SELECT monitoring.recount_openai_usage()",
    "monitoring.count_openai_usage": ";".join(INTERNAL),
    "monitoring.recount_at_new_prices": "UPDATE monitoring.openai_prices SET model = model",
    "monitoring.list_business_names": "SELECT monitoring.list_business_names()",
    "monitoring.openai_tokens_of_the_hour": "SELECT monitoring.openai_tokens_of_the_hour()",
    "monitoring.near_rows": f"SELECT monitoring.near_rows({_NEAR})",
    "monitoring.masked_near_rows": f"SELECT monitoring.masked_near_rows({_NEAR}, ARRAY['x'])",
    "monitoring.suppressed_recipients": "SELECT monitoring.suppressed_recipients(NULL)",
    "monitoring.masked_suppressed_recipients": "SELECT monitoring.masked_suppressed_recipients(NULL)",
    "monitoring.businesses_of_sender": "SELECT monitoring.businesses_of_sender('sender:x')",
    "monitoring.message_prices": "SELECT monitoring.message_prices(ARRAY['SM1'])",
    "monitoring.near_usage": "SELECT monitoring.near_usage('all', NULL, '2026-03-01', '2026-03-01', now(), now())",
    "monitoring.read_message_rows": "SELECT monitoring.read_message_rows()",
    "monitoring.read_call_rows": "SELECT monitoring.read_call_rows()",
    **{name.partition("(")[0]: f"SELECT {name}" for name in READ_FUNCTIONS},
    **{name.partition("(")[0]: f"SELECT {name.replace('jsonb', _ADDED)}" for name in ADD_FUNCTIONS},
}
INLINED = {name for name in CALLS if name.startswith("monitoring.read_")}
"""PostgreSQL inlines no function that has a search_path, and then no condition finds an index of the table behind it.
They run with their caller's rights, and nobody but the owner, the pipeline and retention may call them."""

_KEYS = {"businesses": "id", "message_rows": "message_sid", "call_rows": "call_sid"}
_EVIL = """
SET search_path = pg_catalog, pg_temp;
CREATE FUNCTION pg_temp.evil(anyelement) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE 'CREATE TABLE IF NOT EXISTS public.made_by_the_owner (x pg_catalog.int4)';
    RETURN true;
EXCEPTION WHEN OTHERS THEN RETURN true; END $$;
"""
_FUNCTIONS = """
CREATE FUNCTION pg_temp.md5(pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS $$
    SELECT CASE WHEN pg_temp.evil($1) THEN pg_catalog.md5($1) END $$;
CREATE FUNCTION pg_temp.clock_timestamp() RETURNS pg_catalog.timestamptz LANGUAGE sql AS $$
    SELECT CASE WHEN pg_temp.evil(1) THEN pg_catalog.clock_timestamp() END $$;
CREATE FUNCTION pg_temp.less(pg_catalog.int8, pg_catalog.int4) RETURNS pg_catalog.bool LANGUAGE sql AS $$
    SELECT pg_temp.evil($1) AND pg_catalog.int84lt($1, $2) $$;
CREATE OPERATOR pg_temp.< (LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int4, FUNCTION = pg_temp.less);
CREATE TABLE pg_temp.installation (reporting_timezone pg_catalog.text);
CREATE TABLE pg_temp.api_usage (id pg_catalog.uuid);
"""


@pytest.fixture
def open_to_all(copied: Copied) -> Iterator[Database]:
    """Every function may be called by service_role, also those that are the owner's."""
    with copied(_opened) as database:
        yield database


def _opened(database: Database) -> None:
    create_roles(database.server)
    migrate(database.engine, ZONE)
    database.run("INSERT INTO public.businesses (id, name) VALUES ('00000000-0000-4000-8000-000000000000', 'B')")
    database.run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public, monitoring TO service_role")
    database.run("GRANT SELECT ON ALL TABLES IN SCHEMA monitoring TO service_role")
    database.run("GRANT UPDATE ON monitoring.openai_prices TO service_role")


def caller(database: Database, *traps: str) -> psycopg.Connection[Any]:
    connection = database.server.connect(database.name)
    connection.execute("SET ROLE service_role")
    for trap in (_EVIL, *traps):
        connection.execute(trap)
    return connection


def domain(name: str) -> str:
    return f'CREATE DOMAIN pg_temp."{name}" AS pg_catalog."{name}" CHECK (pg_temp.evil(VALUE))'


def is_trapped(database: Database) -> bool:
    return bool(database.rows("SELECT to_regclass('public.made_by_the_owner') IS NOT NULL AS it")[0]["it"])


def ours(database: Database) -> Iterator[dict[str, Any]]:
    yield from database.rows(
        "SELECT n.nspname || '.' || p.proname AS name, prosecdef, proconfig FROM pg_proc AS p "
        "JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname IN ('public', 'monitoring')"
    )


def test_every_function_looks_last_into_the_callers_schema(database: Database) -> None:
    found = {row["name"]: row for row in ours(database)}
    assert found.keys() == CALLS.keys()
    fixed = {name for name, row in found.items() if row["proconfig"] == ["search_path=pg_catalog, pg_temp"]}
    assert found.keys() - fixed == INLINED
    assert not [name for name in INLINED if found[name]["prosecdef"]]


@pytest.mark.parametrize("view", [name.partition("read_")[2] for name in sorted(INLINED)])
def test_a_function_without_search_path_is_inlined_and_its_index_is_found(database: Database, view: str) -> None:
    column = _KEYS.get(view, "business_id")
    value = "x" if column.endswith("_sid") else "00000000-0000-4000-8000-000000000000"
    with database.server.connect(database.name) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = str(connection.execute(f"EXPLAIN SELECT * FROM monitoring.{view} WHERE {column} = '{value}'").fetchall())
    assert "Index" in plan
    assert "Function Scan" not in plan


@pytest.mark.parametrize("type_name", TYPES)
def test_a_type_of_the_caller_runs_in_no_function_of_ours_and_runs_where_the_path_is_empty(
    open_to_all: Database, type_name: str
) -> None:
    with caller(open_to_all, domain(type_name)) as connection:
        for name, call in CALLS.items():
            for statement in call.split(";"):
                connection.execute(statement)
            assert not is_trapped(open_to_all), name
    open_to_all.run(
        "CREATE FUNCTION public.control(value pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql "
        "SECURITY DEFINER SET search_path = '' AS "
        f'$$ BEGIN RETURN CAST(value AS "{type_name}"); END $$'
    )
    open_to_all.run("GRANT EXECUTE ON FUNCTION public.control(text) TO service_role")
    with caller(open_to_all, domain(type_name)) as connection:
        connection.execute("SELECT public.control(%s)", [TYPES[type_name]])
    assert is_trapped(open_to_all)


def test_functions_operators_and_tables_of_the_caller_are_not_found(open_to_all: Database) -> None:
    with caller(open_to_all, _FUNCTIONS, "CREATE TYPE pg_temp.record AS (x pg_catalog.int4)") as connection:
        connection.execute("SET search_path = pg_temp, monitoring, public, pg_catalog")
        for name, call in CALLS.items():
            for statement in call.split(";"):
                connection.execute(statement)
            assert not is_trapped(open_to_all), name
