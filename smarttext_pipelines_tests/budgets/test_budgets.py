"""Budgets as people see and set them: the command line, the asset with its checks, the reset and the reaper."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from typer.testing import CliRunner

from smarttext_pipelines.budgets import ledger, ledger_findings
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.defs.budget_assets import openai_budgets, openai_reaper_sensor, openai_usage_reset_job
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.guardrail import add_businesses

USE = "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used) VALUES ('openai', 'chat', %s, %s)"


@pytest.fixture
def business(database: Database, monkeypatch: pytest.MonkeyPatch) -> UUID:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
    return add_businesses(database, 1)[0]


def smarttext(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def evaluate(database: Database) -> tuple[dict[str, bool], dict[str, Any]]:
    done = dg.materialize([openai_budgets], resources={"warehouse": Warehouse(database.settings())})
    metadata = done.asset_materializations_for_node("openai_budgets")[0].metadata
    checks = {e.check_name: e.passed for e in done.get_asset_check_evaluations()}
    return checks, {name: _shown(value) for name, value in metadata.items()}


def _shown(value: dg.MetadataValue[Any]) -> Any:
    return value.records if isinstance(value, dg.TableMetadataValue) else value.value


def admits(database: Database, business: UUID | None, tokens: int) -> bool:
    row = database.rows(
        "SELECT allowed FROM public.reserve_openai_usage(%s, %s, gen_random_uuid()::text)", business, tokens
    )
    return bool(row[0]["allowed"])


def test_a_limit_holds_from_the_moment_it_is_set(database: Database, business: UUID) -> None:
    assert admits(database, business, 60_000)
    smarttext("budgets", "set", "--business", "B1", "--tokens", "50000", "--usd", "1.5", "--by", "operator")
    assert not admits(database, business, 1)
    smarttext("budgets", "set", "--business", "B1", "--unlimited")
    assert admits(database, business, 10**9)
    smarttext("budgets", "set", "--unattributed", "--tokens", "5")
    assert not admits(database, None, 6)
    assert admits(database, None, 5)


def test_a_grant_adds_once_to_today_and_says_who_and_why(database: Database, business: UUID) -> None:
    assert not admits(database, business, 100_001)
    for _ in range(2):
        smarttext(
            "budgets", "grant", "--business", "B1", "--tokens", "5000", "--reason", "launch", "--id", "g1", "--by", "op"
        )
    assert not admits(database, business, 105_001)
    assert admits(database, business, 105_000)
    (row,) = database.rows("SELECT author, reason, tokens FROM monitoring.openai_grants")
    assert row == {"author": "op", "reason": "launch", "tokens": 5000}


def test_a_change_says_whom_it_concerns_and_what_is_allowed_now(database: Database, business: UUID) -> None:
    database.run("UPDATE public.businesses SET name = 'Dover [/b] Dental', subscription_tier = '[/b]'")
    assert smarttext("budgets", "set", "--business", "dover", "--tokens", "4321") == (
        "business Dover [/b] Dental: 4,321 tokens a day\n"
    )
    assert smarttext("budgets", "set", "--plan", "[/b]", "--usd", "1e5") == "plan [/b]: 100,000 USD a day\n"
    assert smarttext("budgets", "set", "--unattributed", "--unlimited") == "unattributed: no limit\n"
    given = ["--tokens", "1000", "--reason", "launch", "--id", "[/b]"]
    said = smarttext("budgets", "grant", "--business", "dover", *given)
    assert said == "Dover [/b] Dental: 1,000 tokens more today (id [/b]); 5,321 tokens are allowed now\n"
    assert "already; nothing is added" in smarttext("budgets", "grant", "--business", "dover", *given)
    assert "[/b]" in smarttext("budgets", "show")
    with pytest.raises(InputError, match="granted to Dover"):
        smarttext("budgets", "grant", "--unattributed", *given)


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "--tokens", "5"],
        ["set", "--default", "--plan", "pro", "--tokens", "5"],
        ["set", "--default"],
        ["set", "--default", "--unlimited", "--tokens", "5"],
        ["set", "--default", "--usd", "much"],
        ["set", "--business", "nobody", "--tokens", "5"],
        ["grant", "--tokens", "5", "--reason", "why"],
        ["grant", "--unattributed", "--reason", "why"],
        ["grant", "--unattributed", "--tokens", "5", "--reason", " "],
        ["set", "--business", "", "--tokens", "5"],
        ["set", "--plan", "no such plan", "--tokens", "5"],
        ["set", "--default", "--usd", "0.0000000000001"],
        ["set", "--default", "--tokens", "5", "--by", ""],
        ["grant", "--business", "", "--tokens", "5", "--reason", "why"],
        ["grant", "--unattributed", "--usd", "0", "--reason", "why"],
        ["grant", "--unattributed", "--tokens", "5", "--reason", "why", "--id", ""],
    ],
    ids=" ".join,
)
def test_a_mistake_changes_nothing_and_says_what_to_do(
    database: Database, business: UUID, arguments: list[str]
) -> None:
    before = database.rows("SELECT * FROM monitoring.openai_limits")
    with pytest.raises(InputError):
        smarttext("budgets", *arguments)
    assert database.rows("SELECT * FROM monitoring.openai_limits") == before
    assert database.rows("SELECT * FROM monitoring.openai_grants") == []


def test_show_names_the_business_its_use_and_its_refusals(database: Database, business: UUID) -> None:
    database.run(USE, business, 90_000)
    admits(database, business, 20_000)
    said = smarttext("budgets", "show")
    assert all(part in said for part in ("B1", "90,000", "100,000", "90"))
    assert "no OpenAI usage" not in said


def test_the_limit_is_forecast_from_the_last_hour(database: Database, business: UUID) -> None:
    database.run(USE, business, 99_000)
    with database.engine.connect() as connection:
        (use,) = ledger.read_budgets(connection)
    assert use.percent == 99
    assert use.reached_at is None or use.reached_at > datetime.now(UTC)


def test_a_budget_for_centuries_has_no_forecast_and_breaks_nothing(database: Database, business: UUID) -> None:
    smarttext("budgets", "set", "--default", "--tokens", "1000000000000")
    database.run(USE, business, 300)
    assert "1,000,000,000,000" in smarttext("budgets", "show")


def test_resets_by_every_name_touch_no_usage(database: Database, business: UUID) -> None:
    database.run(USE, business, 100_000)
    usage = database.rows("SELECT * FROM public.api_usage")
    smarttext("reset-openai")
    smarttext("reset-openai", "--business", "B1")
    smarttext("update-daily-stats", "--reset-openai")
    assert openai_usage_reset_job.execute_in_process(resources={"warehouse": Warehouse(database.settings())}).success
    assert database.rows("SELECT * FROM public.api_usage") == usage
    assert not admits(database, business, 1)
    opened = database.rows("SELECT business_id FROM monitoring.openai_resets ORDER BY business_id NULLS FIRST")
    assert opened == [{"business_id": None}, {"business_id": business}]


def test_the_asset_shows_use_and_its_checks_pass_when_all_is_well(database: Database, business: UUID) -> None:
    database.run(USE, business, 90_000)
    checks, metadata = evaluate(database)
    assert checks == {"counter_equals_ledger": True, "ledger_rewrites": True}
    assert (metadata["used_tokens"], metadata["dagster/row_count"]) == (90_000, 1)
    (row,) = metadata["today"]
    assert (row.data["business"], row.data["used"]) == ("B1", "90,000")


def test_a_counter_that_somebody_changed_and_usage_that_somebody_deleted_fail_their_checks(
    database: Database, business: UUID
) -> None:
    database.run(USE, business, 90_000)
    database.run("UPDATE monitoring.openai_budgets SET used_tokens = used_tokens - 1")
    assert evaluate(database)[0] == {"counter_equals_ledger": False, "ledger_rewrites": True}
    with database.engine.connect() as connection:
        ((_, named, tokens, usd),) = ledger_findings.counter_differences(connection)
    assert (named, tokens, usd) == (business, -1, Decimal(0))
    database.run("UPDATE monitoring.openai_budgets SET used_tokens = used_tokens + 1")
    database.run("DELETE FROM public.api_usage")
    assert evaluate(database)[0] == {"counter_equals_ledger": True, "ledger_rewrites": False}


def test_usage_that_no_trigger_saw_fails_the_check(database: Database, business: UUID) -> None:
    database.run("ALTER TABLE public.api_usage DISABLE TRIGGER USER")
    database.run(USE, business, 1)
    database.run(USE, None, 2)
    assert not evaluate(database)[0]["counter_equals_ledger"]


def test_the_reaper_books_what_nobody_settled(database: Database, business: UUID) -> None:
    assert admits(database, business, 700)
    database.run("UPDATE monitoring.openai_reservations SET reserved_at = now() - interval '16 minutes'")
    context = dg.build_sensor_context(resources={"warehouse": Warehouse(database.settings())})
    skipped = openai_reaper_sensor(context)
    assert isinstance(skipped, dg.SkipReason)
    assert (skipped.skip_message or "").startswith("1 reservations")
    assert database.rows("SELECT tokens_used FROM public.api_usage") == [{"tokens_used": 700}]
