"""Tables as others have them: each kind gives the numbers of the declared one, or is refused with nothing changed."""

from collections.abc import Callable
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.errors import SchemaError
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.schema.migrate import find_drift, migrate
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database, soak_cases
from smarttext_pipelines_tests.events import cells, roll_up_all
from smarttext_pipelines_tests.worlds import BIGINT_ID, DAYS, SHORT_KINDS, WORKING, build, pg_dump, some_events, tell

ZONES = ("UTC", "America/Los_Angeles")
CASES = [(zone, kind) for zone in ZONES for kind in WORKING if kind != "generated" or zone == "UTC"]
"""A day that the table computes in UTC is refused elsewhere."""


def drift(database: Database) -> list[str]:
    """Return how tables and types differ; what else the application gives its columns is looked at elsewhere."""
    theirs = ("remove_column", "modify_nullable", "modify_default")
    return [line for line in find_drift(database.engine) if not line.startswith(theirs)]


def numbers(database: Database) -> dict[str, Any]:
    return {name: cells(database.engine, name) for name in METRICS}


@pytest.fixture(scope="module")
def expected(server: Server) -> Callable[[str], dict[str, Any]]:
    """Give the numbers of the declared tables in a zone."""

    @cache
    def of(zone: str) -> dict[str, Any]:
        with fresh_database(server) as database:
            build(database, None)
            tell(database, some_events(1))
            migrate(database.engine, ZoneInfo(zone))
            roll_up_all(database.engine, DAYS, zone=zone)
            return numbers(database)

    return of


@pytest.mark.parametrize(
    ("zone", "kind"),
    soak_cases(
        CASES,
        short=[("UTC" if kind in ("generated", "columns of their own") else ZONES[1], kind) for kind in SHORT_KINDS],
    ),
)
def test_a_database_of_each_kind_is_adopted_and_has_the_numbers_of_the_declared_tables(
    zone: str, kind: str, expected: Callable[[str], dict[str, Any]], empty_database: Database
) -> None:
    right = expected(zone)
    build(empty_database, kind)
    tell(empty_database, some_events(1))
    notes = migrate(empty_database.engine, ZoneInfo(zone))[:-1]  # the last names who must reconnect
    assert drift(empty_database) == []
    assert bool(notes) is (kind not in ("enum", "columns of their own"))
    roll_up_all(empty_database.engine, DAYS, zone=zone)
    assert numbers(empty_database) == right
    assert migrate(empty_database.engine, ZoneInfo(zone)) == notes
    assert numbers(empty_database) == right


REFUSED = {
    "a bigint id": (BIGINT_ID, r"public.sms_events.id is bigint: .* uuid"),
    "a view in place of the ledger": (
        "ALTER TABLE public.api_usage RENAME TO theirs; CREATE VIEW public.api_usage AS SELECT * FROM public.theirs;",
        r"public.api_usage is a view, and the guard",
    ),
    "partitioned statistics": (
        "DROP TABLE public.daily_stats;CREATE TABLE public.daily_stats (id uuid, date date) PARTITION BY RANGE (date);",
        r"public.daily_stats is a partitioned table",
    ),
    "a computed status": (
        "ALTER TABLE public.sms_events DROP COLUMN status;"
        "ALTER TABLE public.sms_events ADD COLUMN status text GENERATED ALWAYS AS (payload ->> 'status') STORED;",
        r"public.sms_events.status is computed by the table",
    ),
    "a column that a computed one needs": (
        "ALTER TABLE public.api_usage ADD COLUMN cents int GENERATED ALWAYS AS ((cost_estimate * 100)::int) STORED;",
        r"column cents of table api_usage is built on public.api_usage.cost_estimate",
    ),
    "a view on a column that is widened": (
        "CREATE VIEW public.mine AS SELECT openai_cost_estimate FROM public.daily_stats;",
        r"view mine is built on public.daily_stats.openai_cost_estimate",
    ),
    "a trigger on a column that is widened": (
        "CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER mine AFTER UPDATE OF openai_tokens_used ON public.daily_stats"
        " FOR EACH ROW EXECUTE FUNCTION public.nothing();",
        r"trigger mine on table daily_stats is built on public.daily_stats.openai_tokens_used",
    ),
    "a table in place of a view": (
        "CREATE TABLE public.sms_failure_rates (x int);",
        r"public.sms_failure_rates is a table, and must be a view",
    ),
    "a function of theirs": (
        "CREATE FUNCTION public.check_openai_usage_limit(business_id_param uuid) RETURNS boolean"
        " LANGUAGE sql AS 'SELECT true';",
        r"public.check_openai_usage_limit\(uuid\) has other arguments",
    ),
    "a table of theirs in monitoring": (
        "CREATE SCHEMA monitoring; CREATE TABLE monitoring.spend (x int);",
        r"monitoring.spend is there",
    ),
    "numbers without their signs": (
        "ALTER TABLE public.sms_events ALTER COLUMN to_number TYPE bigint USING to_number::bigint;",
        r"public.sms_events.to_number is bigint: it must be text",
    ),
    "a view without a column": (
        "ALTER TABLE public.call_events RENAME TO theirs; CREATE VIEW public.call_events AS SELECT id FROM theirs;",
        r"public.call_events is a view without the column call_sid",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_adopted_is_refused_in_one_line_and_nothing_is_changed(
    kind: str, empty_database: Database
) -> None:
    statements, said = REFUSED[kind]
    build(empty_database, None, statements)
    before = pg_dump(empty_database)
    with pytest.raises(SchemaError, match=said) as raised:
        migrate(empty_database.engine, ZoneInfo("UTC"))
    assert "\n" not in str(raised.value)
    assert pg_dump(empty_database) == before


def test_everything_that_is_in_the_way_is_told_at_once(empty_database: Database) -> None:
    together = (
        "a bigint id",
        "a view in place of the ledger",
        "a view on a column that is widened",
        "a table of theirs in monitoring",
    )
    build(empty_database, None, "".join(REFUSED[name][0] for name in together))
    before = pg_dump(empty_database)
    with pytest.raises(SchemaError) as raised:
        migrate(empty_database.engine, ZoneInfo("UTC"))
    assert pg_dump(empty_database) == before
    told = str(raised.value)
    assert all(word in told for word in ("sms_events.id", "api_usage is a view", "view mine", "monitoring.spend"))


def test_a_day_that_the_ledger_computes_must_be_the_reporting_day(empty_database: Database) -> None:
    build(empty_database, "generated")
    before = pg_dump(empty_database)
    with pytest.raises(SchemaError, match="reset_date is computed by the table, and not as the day in Asia/Tokyo"):
        migrate(empty_database.engine, ZoneInfo("Asia/Tokyo"))
    assert pg_dump(empty_database) == before
