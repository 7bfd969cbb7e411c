"""The application's table refuses the guard's rows: settling works, nothing is lost, and all is booked later."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from smarttext_pipelines import tracking
from smarttext_pipelines.health import database_lines as lines
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.guardrail import CANCEL, COUNTER, LEDGER, RESERVE, SETTLE, add_businesses, reap

_RAISES = """
CREATE FUNCTION public.complain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.tokens_used > 50 THEN RAISE EXCEPTION 'tokens % of %', NEW.tokens_used, NEW.request_id; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER complain BEFORE INSERT OR UPDATE ON public.api_usage FOR EACH ROW EXECUTE FUNCTION public.complain()
"""
REFUSALS = {
    "a required column": (
        "ALTER TABLE public.api_usage ADD COLUMN environment text NOT NULL DEFAULT 'x';"
        "ALTER TABLE public.api_usage ALTER COLUMN environment DROP DEFAULT",
        "ALTER TABLE public.api_usage ALTER COLUMN environment SET DEFAULT 'production'",
        "23502 environment",
    ),
    "a constraint": (
        "ALTER TABLE public.api_usage ADD CONSTRAINT few CHECK (tokens_used < 50 OR endpoint <> 'chat')",
        "ALTER TABLE public.api_usage DROP CONSTRAINT few",
        "23514 few",
    ),
    "a trigger": (_RAISES, "DROP TRIGGER complain ON public.api_usage", "P0001"),
    "a narrow type": (
        "DROP VIEW public.openai_daily_usage; ALTER TABLE public.api_usage ALTER COLUMN tokens_used TYPE smallint;"
        "ALTER TABLE public.api_usage ADD COLUMN narrow smallint GENERATED ALWAYS AS (tokens_used * 1000) STORED",
        "ALTER TABLE public.api_usage DROP COLUMN narrow",
        "22003",
    ),
}
WAITING = "SELECT request_id, state, refusal, unbooked_usd FROM monitoring.openai_reservations ORDER BY request_id"


@pytest.fixture
def business(database: Database) -> UUID:
    return add_businesses(database, 1)[0]


@pytest.fixture(params=REFUSALS, ids=str)
def mending(request: pytest.FixtureRequest, database: Database) -> tuple[str, str]:
    breaking, mend, why = REFUSALS[request.param]
    database.run(breaking)
    return mend, why


def budget(database: Database) -> tuple[Decimal, ...]:
    (row,) = database.rows("SELECT used_tokens, used_usd, reserved_tokens, reserved_usd FROM monitoring.openai_budgets")
    return tuple(row.values())


def doctor(database: Database) -> tuple[State, str]:
    with database.engine.connect() as connection:
        line = lines.unbooked(connection)
    return line.state, line.said


def test_a_settlement_that_the_ledger_refuses_is_kept_held_and_booked_when_it_is_mended(
    database: Database, business: UUID, mending: tuple[str, str]
) -> None:
    mend, why = mending
    database.run(RESERVE, business, 100, "one")
    assert database.rows(SETTLE, "one", 90, Decimal("0.25")) == [{"settled": True, "reason": "ledger_refuses"}]
    assert database.rows(SETTLE, "one", 80, None) == [{"settled": False, "reason": "already_settled"}]
    assert budget(database) == (0, 0, 90, Decimal("0.25"))
    assert database.rows(WAITING)[0]["refusal"].startswith(why)
    state, said = doctor(database)
    assert state == State.fail
    assert why in said
    reap(database)
    assert budget(database) == (0, 0, 90, Decimal("0.25"))
    database.run(mend)
    assert reap(database) == 1
    assert reap(database) == 0
    assert budget(database) == (90, Decimal("0.25"), 0, 0)
    (booked,) = database.rows("SELECT tokens_used, cost_estimate, request_id FROM public.api_usage")
    assert booked == {"tokens_used": 90, "cost_estimate": Decimal("0.25"), "request_id": "one"}
    assert database.rows(COUNTER) == database.rows(LEDGER)
    assert doctor(database)[0] == State.ok


def test_what_nobody_settled_is_held_until_the_ledger_takes_it(
    database: Database, business: UUID, mending: tuple[str, str]
) -> None:
    mend, why = mending
    database.run(RESERVE, business, 100, "one")
    assert reap(database) == 0
    assert [row["state"] for row in database.rows(WAITING)] == ["held"]
    assert why in doctor(database)[1]
    assert budget(database)[:3] == (0, 0, 100)
    database.run(mend)
    assert reap(database) == 1
    assert budget(database)[0] == 100
    assert budget(database)[2:] == (0, 0)
    assert database.rows(COUNTER) == database.rows(LEDGER)


def test_a_refused_row_holds_up_no_other(database: Database, business: UUID) -> None:
    database.run(REFUSALS["a constraint"][0])
    for n in range(6):
        database.run(RESERVE, business, 20 * n, f"r{n}")
    assert reap(database) == 3
    assert {row["request_id"]: row["state"] for row in database.rows(WAITING)} == {
        **dict.fromkeys(("r0", "r1", "r2"), "reaped"),
        **dict.fromkeys(("r3", "r4", "r5"), "held"),
    }
    assert budget(database)[0] == 20 + 40
    assert budget(database)[2] == 60 + 80 + 100


def test_what_waits_for_the_ledger_counts_against_the_limit(database: Database, business: UUID) -> None:
    database.run(REFUSALS["a required column"][0])
    database.run("UPDATE monitoring.openai_limits SET limit_tokens = 1000, limit_usd = 1")
    database.run(RESERVE, business, 600, "one")
    database.run(SETTLE, "one", 900, Decimal("0.5"))
    assert database.rows(RESERVE, business, 101, "two") == [{"allowed": False, "reason": "limit_tokens"}]
    assert database.rows(RESERVE, business, 100, "three") == [{"allowed": True, "reason": None}]


def test_a_late_truth_that_the_ledger_refuses_is_written_when_it_is_mended(database: Database, business: UUID) -> None:
    breaking, mend, _ = REFUSALS["a trigger"]
    database.run(RESERVE, business, 100, "one")
    reap(database)
    database.run(breaking)
    assert database.rows(SETTLE, "one", 70, None) == [{"settled": True, "reason": "ledger_refuses"}]
    assert budget(database)[0] == 100
    database.run(mend)
    assert reap(database) == 1
    assert budget(database)[0] == 70
    assert database.rows(COUNTER) == database.rows(LEDGER)
    assert [row["state"] for row in database.rows(WAITING)] == ["settled"]


def test_what_a_refusal_waits_for_is_kept_for_as_long_as_it_takes_and_can_be_cancelled_when_held(
    database: Database, business: UUID
) -> None:
    breaking, mend, _ = REFUSALS["a constraint"]
    database.run(breaking)
    for request in ("held", "settled"):
        database.run(RESERVE, business, 100, request)
    database.run(SETTLE, "settled", 60, None)
    database.run(
        "UPDATE monitoring.openai_reservations SET day = day - 30, reserved_at = reserved_at - '30 days'::interval"
    )
    reap(database)
    assert len(database.rows(WAITING)) == 2
    assert database.rows(CANCEL, "held") == [{"cancelled": True, "reason": None}]
    database.run(mend)
    reap(database)
    assert database.rows("SELECT tokens_used FROM public.api_usage") == [{"tokens_used": 60}]


def test_the_reason_names_no_value(database: Database, business: UUID) -> None:
    database.run(_RAISES)
    database.run(RESERVE, business, 54_321, "request of +15550100")
    database.run(SETTLE, "request of +15550100", 54_321, None)
    told = f"{database.rows(WAITING)[0]['refusal']} {doctor(database)[1]}"
    assert not re.search("54321|15550100", told)


@contextmanager
def locked(database: Database) -> Iterator[psycopg.Connection]:
    with database.server.connect(database.name) as holder, holder.transaction():
        holder.execute("LOCK TABLE public.api_usage IN ACCESS EXCLUSIVE MODE")
        yield holder


def test_a_lock_is_no_refusal(database: Database, business: UUID) -> None:
    database.run(RESERVE, business, 100, "one")
    with locked(database), database.server.connect(database.name) as connection:
        connection.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute(SETTLE, ["one", 90, None])
    assert database.rows(WAITING) == [{"request_id": "one", "state": "held", "refusal": None, "unbooked_usd": None}]
    assert database.rows(SETTLE, "one", 90, None) == [{"settled": True, "reason": None}]


def test_the_library_settles_although_the_ledger_refuses(database: Database, business: UUID, tmp_path: Path) -> None:
    database.run(REFUSALS["a required column"][0])
    tracking.configure(database_url=database.url, spill_folder=tmp_path, decide_within_s=10)
    with tracking.reserve_openai_usage(business, 500, "one") as reservation:
        assert reservation.settle(400)
    assert budget(database)[2] == 400
