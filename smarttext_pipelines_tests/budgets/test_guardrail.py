"""The OpenAI guardrail as every language calls it: admission, settlement, the counter behind it, resets."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.budgets.ledger_findings import counter_differences
from smarttext_pipelines.rollup.zone import change_reporting_zone
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.guardrail import (
    CANCEL,
    COUNTER,
    LEDGER,
    RESERVE,
    SETTLE,
    Crowd,
    add_businesses,
    connect_as,
    guarded,
    read_then_compare,
    reap,
)
from smarttext_pipelines_tests.legacy import create_roles

LIMIT = 100_000
USE = """
INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, cost_estimate)
VALUES ('openai', 'chat', %s, %s, %s)
"""


@pytest.fixture
def business(database: Database) -> UUID:
    return add_businesses(database, 1)[0]


def reserve(database: Database, business: UUID | None, tokens: int, request: str) -> tuple[Any, ...]:
    return tuple(database.rows(RESERVE, business, tokens, request)[0].values())


def settle(database: Database, request: str, tokens: int, usd: float | None = None) -> tuple[Any, ...]:
    return tuple(database.rows(SETTLE, request, tokens, usd)[0].values())


def cancel(database: Database, request: str) -> tuple[Any, ...]:
    return tuple(database.rows(CANCEL, request)[0].values())


def budget(database: Database, business: UUID | None) -> dict[str, Any]:
    return database.rows("SELECT * FROM monitoring.openai_budgets WHERE business_id IS NOT DISTINCT FROM %s", business)[
        0
    ]


def today_is(database: Database, instant: str) -> None:
    database.run(
        "CREATE OR REPLACE FUNCTION monitoring.today() RETURNS date LANGUAGE sql VOLATILE SECURITY DEFINER "
        f"SET search_path = pg_catalog, pg_temp AS $$ SELECT monitoring.reporting_day('{instant}') $$"
    )


def test_a_call_is_admitted_up_to_the_limit_and_not_a_token_beyond(database: Database, business: UUID) -> None:
    assert reserve(database, business, LIMIT - 1, "one") == (True, None)
    assert reserve(database, business, 2, "two") == (False, "limit_tokens")
    assert reserve(database, business, 1, "three") == (True, None)
    assert reserve(database, business, 0, "four") == (True, None)
    assert budget(database, business)["reserved_tokens"] == LIMIT


def test_a_settled_call_counts_what_it_used_once(database: Database, business: UUID) -> None:
    reserve(database, business, 500, "one")
    assert settle(database, "one", 400, 0.25) == (True, None)
    assert settle(database, "one", 400, 0.25) == (False, "already_settled")
    found = budget(database, business)
    assert (found["used_tokens"], found["used_usd"], found["reserved_tokens"]) == (400, Decimal("0.25"), 0)
    assert database.rows("SELECT tokens_used, request_id, service FROM public.api_usage") == [
        {"tokens_used": 400, "request_id": "one", "service": "openai"}
    ]


def test_a_repeated_request_reserves_nothing_more(database: Database, business: UUID) -> None:
    assert [reserve(database, business, 500, "one") for _ in range(3)] == [(True, None)] * 3
    assert budget(database, business)["reserved_tokens"] == 500
    settle(database, "one", 400)
    assert reserve(database, business, 500, "one") == (False, "already_settled")
    assert budget(database, business)["reserved_tokens"] == 0


def test_a_call_under_a_reservation_that_was_given_back_is_booked(database: Database, business: UUID) -> None:
    """Who was answered too late asks again under the same id; what gives the late answer back does not know of it."""
    assert reserve(database, business, 500, "one") == reserve(database, business, 500, "one") == (True, None)
    assert cancel(database, "one") == (True, None)
    assert settle(database, "one", 400) == (True, None)
    found = budget(database, business)
    assert (found["used_tokens"], found["reserved_tokens"]) == (400, 0)
    assert settle(database, "one", 400) == (False, "already_settled")


def test_what_is_not_limited_has_no_remainder(database: Database, business: UUID) -> None:
    """A caller that looks at the remainder must not take an unlimited business for one that has nothing left."""
    database.run("UPDATE monitoring.openai_limits SET limit_tokens = NULL")
    asked = "SELECT remaining FROM public.reserve_openai_usage(%s, 5, 'one')"
    checked = "SELECT remaining FROM public.check_openai_usage_limit(%s)"
    for statement in (checked, asked, asked, checked):
        assert database.rows(statement, business) == [{"remaining": None}]


def test_a_repeated_request_is_found_also_when_the_budget_is_used_up(database: Database, business: UUID) -> None:
    reserve(database, business, LIMIT, "one")
    assert reserve(database, business, LIMIT, "one") == (True, None)
    assert database.rows("SELECT * FROM monitoring.openai_refusals_new") == []


def test_usage_without_a_business_has_a_budget_of_its_own(database: Database, business: UUID) -> None:
    assert reserve(database, None, LIMIT, "one") == (True, None)
    assert reserve(database, None, 1, "two") == (False, "limit_tokens")
    assert reserve(database, business, 1, "three") == (True, None)


def test_the_most_specific_limit_wins_and_dollars_count_like_tokens(database: Database, business: UUID) -> None:
    database.run("UPDATE public.businesses SET subscription_tier = 'pro'")
    database.run("INSERT INTO monitoring.openai_limits (scope, name, limit_tokens) VALUES ('plan', 'pro', 10)")
    assert reserve(database, business, 11, "one") == (False, "limit_tokens")
    other = add_businesses(database, 1)[0]
    database.run(
        "INSERT INTO monitoring.openai_limits (scope, name, limit_usd) VALUES ('business', %s, 1.5)", str(other)
    )
    dollars = "SELECT allowed, reason FROM public.reserve_openai_usage(%s, 10000000, %s, cost_estimate => %s::numeric)"
    assert database.rows(dollars, other, "two", 1.5) == [{"allowed": True, "reason": None}]
    assert database.rows(dollars, other, "three", 0.01) == [{"allowed": False, "reason": "limit_usd"}]


def test_the_day_is_that_of_the_reservation_also_when_it_is_settled_after_midnight(
    database: Database, business: UUID
) -> None:
    today_is(database, "2026-03-01 23:59:59Z")
    reserve(database, business, 100, "one")
    today_is(database, "2026-03-02 00:00:01Z")
    settle(database, "one", 90)
    assert database.rows("SELECT reset_date FROM public.api_usage") == [{"reset_date": date(2026, 3, 1)}]
    days = database.rows("SELECT day, used_tokens FROM monitoring.openai_budgets ORDER BY day")
    assert days == [{"day": date(2026, 3, 1), "used_tokens": 90}]


def test_the_reaper_books_the_upper_bound_and_a_late_settlement_the_truth(database: Database, business: UUID) -> None:
    reserve(database, business, 100, "one")
    assert database.rows("SELECT monitoring.reap_openai_reservations() AS reaped") == [{"reaped": 0}]
    reap(database)
    assert (budget(database, business)["used_tokens"], budget(database, business)["reserved_tokens"]) == (100, 0)
    assert settle(database, "one", 60) == (True, None)
    assert settle(database, "one", 50) == (False, "already_settled")
    assert budget(database, business)["used_tokens"] == 60
    assert database.rows("SELECT tokens_change FROM monitoring.ledger_rewrites") == [{"tokens_change": -40}]


def test_a_call_that_was_not_made_gives_its_reservation_back(database: Database, business: UUID) -> None:
    reserve(database, business, 100, "one")
    assert cancel(database, "one") == (True, None)
    assert cancel(database, "one") == (False, "already_cancelled")
    assert cancel(database, "none") == (False, "unknown_request")
    found = budget(database, business)
    assert (found["reserved_tokens"], found["reserved_usd"]) == (0, 0)
    assert database.rows("SELECT * FROM public.api_usage") == []
    reserve(database, business, 100, "two")
    reap(database)
    assert cancel(database, "two") == (True, None)
    assert database.rows("SELECT * FROM public.api_usage") == []
    reserve(database, business, 100, "three")
    settle(database, "three", 90)
    assert cancel(database, "three") == (False, "already_settled")
    assert database.rows(COUNTER) == database.rows(LEDGER) != []


def test_more_than_was_reserved_is_booked(database: Database, business: UUID) -> None:
    reserve(database, business, LIMIT, "one")
    settle(database, "one", LIMIT + 1)
    assert budget(database, business)["used_tokens"] == LIMIT + 1
    overruns = "SELECT count(*) AS n FROM monitoring.openai_reservations WHERE actual_tokens > tokens"
    assert database.rows(overruns) == [{"n": 1}]


def test_a_threshold_is_told_once_and_a_jump_tells_each(database: Database, business: UUID) -> None:
    told = "SELECT threshold_percent FROM monitoring.budget_crossings WHERE unit = 'tokens' ORDER BY id"
    database.run(USE, business, 79_999, 0)
    assert database.rows(told) == []
    database.run(USE, business, 1, 0)
    database.run(USE, business, 1, 0)
    assert [row["threshold_percent"] for row in database.rows(told)] == [80]
    database.run(USE, business, 30_000, 0)
    assert [row["threshold_percent"] for row in database.rows(told)] == [80, 90, 100]


def test_refused_calls_are_counted_by_business_and_reason(database: Database, business: UUID) -> None:
    for n in range(5):
        reserve(database, business, LIMIT + 1, f"request {n}")
    for table in ("openai_refusals_new", "openai_refusals"):
        counted = f"SELECT business_key, reason, sum(refused_count) AS n FROM monitoring.{table} GROUP BY 1, 2"
        assert database.rows(counted) == [{"business_key": business, "reason": "limit_tokens", "n": 5}]
        reap(database)
    assert database.rows("SELECT * FROM monitoring.openai_refusals_new") == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT public.reserve_openai_usage(NULL, -1, 'r')", "tokens must be"),
        ("SELECT public.reserve_openai_usage(NULL, 1000000000000000000, 'r')", "tokens must be"),
        ("SELECT public.reserve_openai_usage(NULL, NULL, 'r')", "tokens must be"),
        ("SELECT public.reserve_openai_usage(NULL, 1, '')", "request_id must have"),
        ("SELECT public.reserve_openai_usage(NULL, 1, repeat('x', 1000000))", "request_id must have"),
        ("SELECT public.reserve_openai_usage(NULL, 1, 'r', cost_estimate => 'NaN')", "cost_estimate must be"),
        ("SELECT public.reserve_openai_usage(NULL, 1, 'r', 'daily_reset')", "marks a reset"),
        ("SELECT public.reserve_openai_usage('b0000001-0000-4000-8000-000000000000', 1, 'r')", "no such business"),
        ("SELECT public.settle_openai_usage('r', -1)", "actual_tokens must be"),
        ("SELECT public.settle_openai_usage('r', NULL)", "actual_tokens is missing"),
        ("SELECT public.settle_openai_usage(request_id => 'r')", "actual_tokens is missing"),
        ("SELECT monitoring.reap_openai_reservations('0 seconds')", "older_than must be"),
        ("SELECT monitoring.reap_openai_reservations('-1 day')", "older_than must be"),
        ("SELECT monitoring.reap_openai_reservations(NULL)", "older_than must be"),
        ("SELECT public.settle_openai_usage('r', 1, 'Infinity')", "cost must be"),
    ],
)
def test_a_value_that_cannot_be_booked_is_refused_with_its_name(database: Database, statement: str, said: str) -> None:
    with pytest.raises(psycopg.Error, match=said):
        database.run(statement)
    assert database.rows("SELECT * FROM monitoring.openai_reservations") == []


def _days() -> st.SearchStrategy[str | None]:
    today = datetime.now(UTC).date()
    near = st.integers(-9, 2).map(lambda n: (today + timedelta(days=n)).isoformat())
    return st.one_of(st.none(), near, st.sampled_from(["infinity", "-infinity", "2999-01-01"]))


_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["openai", "openai", "openai", "twilio", "OpenAI", ""]),
        st.integers(-1, 3),
        st.one_of(st.none(), st.integers(-5000, 5000), st.sampled_from([2**31 - 1, -(2**31)])),
        st.one_of(st.none(), st.sampled_from(["NaN", "0", "-1.5", "999999999999.999999"]), st.just("0.000001")),
        _days(),
        st.sampled_from([None, "infinity", "-infinity", "290000-01-01", datetime.now(UTC).isoformat()]),
    ),
    max_size=12,
)
_INSERT = """
INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, cost_estimate, reset_date, created_at)
SELECT r.service, 'chat', (%s::uuid[])[r.business + 1], r.tokens, r.cost, r.day, r.at
FROM jsonb_to_recordset(%s::jsonb) AS r (service text, business int, tokens int, cost numeric, day date, at timestamptz)
"""


@pytest.mark.parametrize(("zone", "dates"), [("UTC", None), ("Asia/Tokyo", "UTC"), ("America/Los_Angeles", "UTC")])
@settings(max_examples=12)
@given(batches=st.lists(_ROWS, min_size=1, max_size=4), changes=st.lists(st.integers(0, 5), max_size=5))
def test_the_counter_is_the_ledger_whatever_writers_do(
    database: Database, zone: str, dates: str | None, batches: list[list[tuple[Any, ...]]], changes: list[int]
) -> None:
    database.run("UPDATE monitoring.installation SET reporting_timezone = %s, reset_date_zone = %s", zone, dates)
    businesses = [row["id"] for row in database.rows("SELECT id FROM public.businesses")] or add_businesses(database, 4)
    names = ("service", "business", "tokens", "cost", "day", "at")
    for batch in batches:
        rows = [dict(zip(names, row, strict=True)) for row in batch]
        database.run(_INSERT, businesses, psycopg.types.json.Jsonb(rows))
        assert database.rows(COUNTER) == database.rows(LEDGER)
    with database.engine.connect() as connection:
        assert counter_differences(connection) == []
    statements = (
        "UPDATE public.api_usage SET tokens_used = coalesce(tokens_used, 0) / 2 + 7",
        "UPDATE public.api_usage SET business_id = NULL WHERE tokens_used > 100",
        "UPDATE public.api_usage SET service = 'openai', cost_estimate = NULL",
        "UPDATE public.api_usage SET metadata = '{}'",
        "DELETE FROM public.api_usage WHERE tokens_used < 0",
        "TRUNCATE public.api_usage",
    )
    for change in changes:
        database.run(statements[change])
        assert database.rows(COUNTER) == database.rows(LEDGER)
    database.run("SELECT monitoring.recount_openai_usage()")
    assert database.rows(COUNTER) == database.rows(LEDGER)


def test_deletes_and_updates_that_give_budget_back_are_counted_and_harmless_ones_are_not(
    database: Database, business: UUID
) -> None:
    database.run(USE, business, 100, 0.5)
    database.run("UPDATE public.api_usage SET metadata = '{}'")
    assert database.rows("SELECT * FROM monitoring.ledger_rewrites") == []
    database.run("DELETE FROM public.api_usage")
    found = database.rows("SELECT operation, tokens_change, usd_change FROM monitoring.ledger_rewrites")
    assert found == [{"operation": "DELETE", "tokens_change": -100, "usd_change": Decimal("-0.5")}]


def test_what_was_used_before_the_guardrail_came_is_counted(database: Database, business: UUID) -> None:
    database.run("ALTER TABLE public.api_usage DISABLE TRIGGER USER")
    database.run(USE, business, 70_000, 0.5)
    assert reserve(database, business, 60_000, "one") == (True, None)
    migrate(database.engine, ZoneInfo("UTC"))
    assert database.rows(COUNTER) == database.rows(LEDGER) != []
    assert reserve(database, business, 10, "two") == (False, "limit_tokens")


def test_another_reporting_zone_counts_the_open_days_anew(database: Database, business: UUID) -> None:
    database.run(
        "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, reset_date, created_at) "
        "SELECT 'openai', 'chat', %s, n, NULL, now() - n * interval '1 hour' FROM generate_series(1, 60) AS n",
        business,
    )
    change_reporting_zone(database.engine, ZoneInfo("Pacific/Auckland"))
    assert database.rows(COUNTER) == database.rows(LEDGER) != []


def test_a_crowd_never_spends_past_the_limit_and_the_old_way_does(database: Database) -> None:
    first, second = add_businesses(database, 2)
    for business in (first, second):
        database.run(
            "INSERT INTO monitoring.openai_limits (scope, name, limit_tokens) VALUES ('business', %s, 1000)",
            str(business),
        )
    crowd = Crowd(database, first, 1000)
    crowd.run(16, 1.0, guarded, until=lambda c: c.admitted > 0 < c.refused and c.killed > 0)
    assert (crowd.overshoot, crowd.errors) == (0, [])
    assert crowd.admitted > 0 < crowd.refused
    assert crowd.killed > 0
    reap(database)
    assert database.rows(COUNTER) == database.rows(LEDGER)
    held = "SELECT sum(reserved_tokens) AS held, max(used_tokens) AS used FROM monitoring.openai_budgets"
    left = database.rows(held)[0]
    assert left["held"] == 0
    assert left["used"] <= 1000
    database.run("TRUNCATE public.api_usage")
    old = Crowd(database, second, 1000)
    old.run(16, 0.0, read_then_compare, until=lambda c: c.overshoot > 0)
    assert old.overshoot > 0


def test_writers_of_many_businesses_in_any_order_never_deadlock(database: Database) -> None:
    businesses = add_businesses(database, 30)
    create_roles(database.server)
    migrate(database.engine, ZoneInfo("UTC"))

    def write(seed: int) -> None:
        rng = random.Random(seed)
        with connect_as(database, "service_role") as connection:
            for _ in range(40):
                chosen = rng.sample(businesses, 12)
                rng.shuffle(chosen)
                connection.execute(
                    "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used) "
                    "SELECT 'openai', 'chat', b, 10 FROM unnest(%s::uuid[]) AS b",
                    [chosen],
                )

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, seed) for seed in range(8)]:
            done.result(timeout=60)
    assert database.rows("SELECT sum(used_tokens) AS n FROM monitoring.openai_budgets") == [{"n": 8 * 40 * 12 * 10}]
    assert database.rows(COUNTER) == database.rows(LEDGER)


@pytest.mark.parametrize(
    ("zone", "instants", "days"),
    [
        # 23 hours, 25 hours, and a clock that jumps back over midnight.
        ("America/New_York", ["2026-03-08 05:01Z", "2026-03-09 03:59Z"], [date(2026, 3, 8)]),
        ("America/New_York", ["2026-11-01 04:01Z", "2026-11-02 04:59Z"], [date(2026, 11, 1)]),
        ("UTC", ["2026-06-02 00:01Z", "2026-06-01 23:59Z", "2026-06-02 00:02Z"], [date(2026, 6, 1), date(2026, 6, 2)]),
    ],
)
def test_a_reset_opens_a_day_once_and_gives_nothing_away(
    empty_database: Database, zone: str, instants: list[str], days: list[date]
) -> None:
    database = empty_database
    migrate(database.engine, ZoneInfo(zone))
    business = add_businesses(database, 1)[0]
    today_is(database, instants[0])
    reserve(database, business, LIMIT - 10, "one")
    settle(database, "one", LIMIT - 10)
    ledger = database.rows("SELECT * FROM public.api_usage")

    def reset(_: int) -> None:
        database.run("SELECT public.reset_daily_openai_usage()")

    for instant in instants:
        today_is(database, instant)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(reset, range(8)))
    assert [row["day"] for row in database.rows("SELECT day FROM monitoring.openai_resets ORDER BY day")] == days
    assert database.rows("SELECT * FROM public.api_usage") == ledger
    today_is(database, instants[0])
    assert reserve(database, business, 11, str(uuid4())) == (False, "limit_tokens")
