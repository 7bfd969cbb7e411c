"""A limit in USD: what names no cost counts an upper price, so nothing is admitted past the limit."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines import tracking
from smarttext_pipelines.budgets import ledger, ledger_findings
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.guardrail import COUNTER, LEDGER, Crowd, add_businesses, reap

LIMIT = Decimal("0.05")
UPPER = {"gpt-4o": Decimal("0.00001"), "gpt-4o-mini-2024-07-18": Decimal("0.0000006"), "unheard-of": Decimal("0.00006")}
DEAREST = Decimal("0.00006")
RESERVE = "SELECT allowed, reason FROM public.reserve_openai_usage(%s, %s, %s, 'chat', %s, %s::numeric)"
SETTLE = "SELECT settled, reason FROM public.settle_openai_usage(%s, %s, %s::numeric)"
INSERT = """
INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, model, cost_estimate, request_id)
VALUES ('openai', %s, %s, %s, %s, %s::numeric, %s)
"""


@pytest.fixture
def business(database: Database) -> UUID:
    (found,) = add_businesses(database, 1)
    limit_to(database, found, LIMIT)
    return found


def limit_to(database: Database, business: UUID, usd: Decimal) -> None:
    with database.engine.begin() as connection:
        ledger.set_limit(connection, "business", str(business), None, usd, "test")


def of(database: Database, business: UUID) -> tuple[Decimal, Decimal]:
    rows = database.rows(
        "SELECT used_usd, reserved_usd FROM monitoring.openai_budgets WHERE business_id = %s AND day = %s",
        business,
        datetime.now(UTC).date(),
    )
    return (rows[0]["used_usd"], rows[0]["reserved_usd"]) if rows else (Decimal(0), Decimal(0))


def cost_of(tokens: int | None, cost: Decimal | None, model: str | None, endpoint: str = "chat") -> Decimal:
    if cost is not None and cost.is_finite() and cost > 0:
        return cost
    return Decimal(0) if endpoint == "daily_reset" else max(tokens or 0, 0) * UPPER.get(model or "", DEAREST)


@dataclass
class Model:
    """What the guard promises: refused exactly when counted + held + asked passes the limit."""

    held: dict[str, tuple[int, Decimal, str | None]] = field(default_factory=dict)
    known: dict[str, tuple[int, Decimal, str | None]] = field(default_factory=dict)
    counted: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def reserve(self, request: str, tokens: int, cost: Decimal | None, model: str | None) -> bool:
        asked = cost_of(tokens, cost, model)
        if request in self.known or sum(self.counted.values()) + self.total_held() + asked > LIMIT:
            return request in self.held
        self.held[request] = self.known[request] = (tokens, asked, model)
        return True

    def total_held(self) -> Decimal:
        return sum((usd for _, usd, _ in self.held.values()), Decimal(0))

    def settle(self, request: str, tokens: int, cost: Decimal | None) -> None:
        if request in self.known and request not in self.counted:
            self.held.pop(request, None)
            self.counted[request] = self.priced(request, tokens, cost)

    def priced(self, request: str, tokens: int, cost: Decimal | None) -> Decimal:
        reserved, usd, model = self.known[request]
        if cost is not None and cost > 0:
            return cost
        if tokens == 0 or not reserved:
            return cost_of(tokens, None, model)
        scaled = usd * tokens / reserved if tokens > reserved else usd
        return scaled.quantize(Decimal("0.000001"), ROUND_CEILING) if tokens > reserved else usd


_costs = st.one_of(st.none(), st.just(Decimal(0)), st.integers(1, 20_000).map(lambda n: Decimal(n) / 10**6))
_models = st.sampled_from([None, *UPPER])
_tokens = st.integers(0, 900)
_requests = st.integers(0, 12).map(lambda n: f"request {n}")
_odd = st.sampled_from([Decimal(text) for text in ("NaN", "-0.5", "0", "0.02")])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), _requests, _tokens, _costs, _models),
        st.tuples(st.just("reserve"), _requests, _tokens, _costs, _models),
        st.tuples(st.just("settle"), _requests, _tokens, _costs, _models),
        st.tuples(st.just("cancel"), _requests, _tokens, _costs, _models),
        st.tuples(st.just("insert"), _requests, st.integers(-50, 300), st.one_of(_costs, _odd), _models),
        st.tuples(st.just("change"), _requests, st.integers(0, 3), _costs, _models),
    ),
    max_size=25,
)
_CHANGES = (
    "UPDATE public.api_usage SET cost_estimate = NULL WHERE request_id LIKE 'direct%'",
    "UPDATE public.api_usage SET tokens_used = tokens_used + 7 WHERE request_id LIKE 'direct%'",
    "DELETE FROM public.api_usage WHERE request_id LIKE 'direct%' AND tokens_used < 100",
    "UPDATE public.api_usage SET endpoint = 'daily_reset' WHERE request_id LIKE 'direct%' AND tokens_used > 200",
)


@settings(max_examples=300 if SOAK else 40)
@given(steps=_STEPS)
def test_a_call_is_refused_exactly_when_counted_and_held_and_asked_pass_the_limit(
    database: Database, steps: Sequence[tuple[str, str, int, Decimal | None, str | None]]
) -> None:
    database.run("TRUNCATE public.api_usage, monitoring.openai_reservations, monitoring.openai_budgets")
    businesses = [row["id"] for row in database.rows("SELECT id FROM public.businesses")]
    business = businesses[0] if businesses else add_businesses(database, 1)[0]
    limit_to(database, business, LIMIT)
    model = Model()
    with database.server.connect(database.name) as connection:
        for n, (kind, request, tokens, cost, name) in enumerate(steps):
            if kind == "reserve":
                asked = connection.execute(RESERVE, [business, tokens, request, name, cost]).fetchone()
                assert asked is not None
                assert asked[0] == model.reserve(request, tokens, cost, name)
            elif kind == "settle":
                connection.execute(SETTLE, [request, tokens, cost])
                model.settle(request, tokens, cost)
            elif kind == "cancel":
                connection.execute("SELECT public.cancel_openai_usage(%s)", [request])
                model.held.pop(request, None)
            elif kind == "insert":
                direct = f"direct {n}"
                connection.execute(INSERT, ["chat", business, tokens, name, cost, direct])
                model.counted[direct] = cost_of(tokens, cost, name)
            else:
                connection.execute(_CHANGES[tokens])
                _read_direct(connection, model)
            used, held = of(database, business)
            assert (used, held) == (sum(model.counted.values()), model.total_held())
    assert database.rows(COUNTER) == database.rows(LEDGER)
    with database.engine.connect() as connection:
        assert ledger_findings.counter_differences(connection) == []


def _read_direct(connection: psycopg.Connection[Any], model: Model) -> None:
    for request in [request for request in model.counted if request.startswith("direct")]:
        del model.counted[request]
    statement = "SELECT request_id, tokens_used, cost_estimate, model, endpoint FROM public.api_usage"
    for request, *row in connection.execute(f"{statement} WHERE request_id LIKE 'direct%'"):
        model.counted[request] = cost_of(*row)


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-Infinity", "-1", "1e40", "-1e40", "0", None])
def test_a_direct_insert_with_any_cost_succeeds_and_counts_at_least_its_tokens(
    database: Database, business: UUID, cost: str | None
) -> None:
    database.run("ALTER TABLE public.api_usage ALTER COLUMN cost_estimate TYPE numeric")
    database.run(INSERT, "chat", business, 1000, "gpt-4o-2024-08-06", cost, "direct")
    database.run(INSERT, "chat", business, None, "gpt-4o", cost, "no tokens")
    database.run(INSERT, "daily_reset", business, 1000, "gpt-4o", cost, "a marker")
    assert of(database, business) == (Decimal("0.01"), 0)
    assert database.rows(COUNTER) == database.rows(LEDGER)


def test_a_crowd_that_names_no_cost_stays_within_five_cents(database: Database, business: UUID) -> None:
    def call(crowd: Crowd, connection: psycopg.Connection[Any], rng: Any) -> None:
        request, tokens = f"{rng.random()}", rng.randrange(1, 40)
        row = connection.execute(RESERVE, [business, tokens, request, "gpt-4o", None]).fetchone()
        if row is not None and row[0]:
            crowd.admitted += 1
            if rng.random() < 0.9:
                connection.execute(SETTLE, [request, rng.randrange(tokens + 1), None])
        else:
            crowd.refused += 1
        if rng.random() < 0.02:
            connection.execute(INSERT, ["chat", business, 1, "gpt-4o", None, None])

    crowd = Crowd(database, business, 10**9)
    crowd.run(24, 10.0 if SOAK else 1.0, call, until=lambda c: c.refused > 0)
    assert crowd.errors == []
    assert crowd.admitted > 0 < crowd.refused
    direct = database.rows("SELECT count(*) * 0.00001 AS usd FROM public.api_usage WHERE request_id IS NULL")[0]["usd"]
    reap(database)
    used, held = of(database, business)
    assert used <= LIMIT + direct
    assert held == 0
    assert database.rows(COUNTER) == database.rows(LEDGER) != []


def test_the_example_of_the_readme_is_refused_at_its_limit(database: Database, business: UUID, tmp_path: Path) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path, decide_within_s=10)
    limit_to(database, business, Decimal("0.0072"))
    for n in range(10):
        with tracking.reserve_openai_usage(business, 1200, f"r{n}", model="gpt-4o-mini") as reservation:
            assert reservation.settle(900)
    refused = tracking.reserve_openai_usage(business, 1200, "r10", model="gpt-4o-mini")
    assert (refused.allowed, refused.decision.reason) == (False, "limit_usd")
    assert {row["cost_estimate"] for row in database.rows("SELECT cost_estimate FROM public.api_usage")} == {None}


def test_a_price_that_is_told_later_takes_the_place_of_the_estimate(database: Database, business: UUID) -> None:
    database.run(INSERT, "chat", business, 1000, "gpt-4o", None, "direct")
    assert of(database, business)[0] == Decimal("0.01")
    database.run("UPDATE public.api_usage SET cost_estimate = 0.002")
    assert of(database, business)[0] == Decimal("0.002")


def test_new_prices_count_at_once_and_the_counter_stays_the_ledger(database: Database, business: UUID) -> None:
    database.run(INSERT, "chat", business, 1000, "unheard-of", None, "direct")
    database.run(RESERVE, business, 100, "held before", "unheard-of", None)
    assert of(database, business) == (Decimal("0.06"), 0)
    today = datetime.now(UTC).date()
    price = "INSERT INTO monitoring.openai_prices VALUES ('unheard-of', %s, %s)"
    database.run(price, today - timedelta(days=1), 5000)
    database.run(price, today + timedelta(days=1), 7000)
    assert of(database, business)[0] == Decimal("0.005")
    assert database.rows(COUNTER) == database.rows(LEDGER)
    database.run("UPDATE monitoring.openai_prices SET upper_nano_usd_per_token = 1 WHERE model = 'gpt-4'")
    migrate(database.engine, ZoneInfo("UTC"))
    kept = "SELECT upper_nano_usd_per_token AS n FROM monitoring.openai_prices WHERE model IN ('gpt-4', 'unheard-of')"
    assert [row["n"] for row in database.rows(f"{kept} ORDER BY 1")] == [5000, 7000, 60000]
    assert database.rows(COUNTER) == database.rows(LEDGER)
    database.run("TRUNCATE monitoring.openai_prices")
    database.run(INSERT, "chat", business, 1000, "gpt-4o", None, "without any price")
    assert database.rows(COUNTER) == database.rows(LEDGER)


def test_what_a_reservation_counted_stays_when_the_reservation_is_forgotten(database: Database, business: UUID) -> None:
    limit_to(database, business, Decimal(5))
    database.run(RESERVE, business, 1000, "one", "gpt-4o", Decimal("1.25"))
    database.run(SETTLE, "one", 900, None)
    past = "UPDATE monitoring.openai_reservations SET reserved_at = reserved_at - %s::interval"
    for days in (7, 2, 30):
        database.run(past, f"{days} days")
        database.rows("SELECT monitoring.reap_openai_reservations()")
        assert of(database, business)[0] == Decimal("1.25")
        assert database.rows(COUNTER) == database.rows(LEDGER) != []
