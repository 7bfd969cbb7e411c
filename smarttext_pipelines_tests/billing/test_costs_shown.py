"""OpenAI's bill where people look: the asset and its checks, the spend page, stats; off without the key, and said."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from smarttext_pipelines.billing import BilledDay, ask_costs, compared_days, complete_finding, cost_finding
from smarttext_pipelines.billing.costs_client import CostsClient
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.database.findings import Finding
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.openai_costs import NO_KEY
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import Settings, load_settings
from smarttext_pipelines.web.bill_rows import bill_tables
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.fakes.openai import KEY, FakeOpenAI, cost
from smarttext_pipelines_tests.fakes.server import serving

NOW = datetime.now(UTC)
DAYS = compared_days(NOW)


@pytest.fixture
def openai() -> Iterator[FakeOpenAI]:
    with serving(FakeOpenAI()) as server:
        yield server


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


def _tick(settings: Settings, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    schedules = build_definitions(settings).schedules or []
    schedule = next(s for s in schedules if s.name == "openai_costs_schedule")
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=NOW, resources={"warehouse": Warehouse(settings)}
    ) as context:
        data = schedule.evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else dg.SkipReason(data.skip_message)


def _run(settings: Settings, instance: dg.DagsterInstance, *, raises: bool = True) -> dg.ExecuteInProcessResult:
    job = build_definitions(settings).resolve_job_def("openai_costs_job")
    return job.execute_in_process(instance=instance, raise_on_error=raises)


def _ready(database: Database, openai: FakeOpenAI, key: str = KEY) -> Settings:
    return database.settings(openai_admin_key=key, openai_base_url=f"{openai.url}/v1")


def _ask(database: Database, openai: FakeOpenAI) -> None:
    ask_costs(database.engine, CostsClient(KEY, base_url=f"{openai.url}/v1"), NOW, retention_days=90)


def _record(database: Database, *usd_by_day: tuple[Any, str]) -> None:
    for day, usd in usd_by_day:
        database.run(
            "INSERT INTO public.api_usage (service, endpoint, tokens_used, cost_estimate, model, created_at)"
            " VALUES ('openai', 'chat', 10, CAST(%s AS numeric), 'gpt-4o-mini', %s)",
            usd,
            datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=9),
        )


def _world(database: Database, openai: FakeOpenAI) -> None:
    _record(database, (DAYS.first - timedelta(days=3), "1"), (DAYS.first, "2.00"), (DAYS.last, "4.00"))
    openai.costs = {
        DAYS.first: [cost("2.05"), cost("-0.04", "credit", project=None), cost("9.00", currency="eur")],
        DAYS.last: [cost(Decimal("10.25"))],
    }


def test_without_a_key_nothing_is_asked_and_that_is_said(database: Database, instance: dg.DagsterInstance) -> None:
    assert _tick(database.settings(), instance) == dg.SkipReason(NO_KEY)
    done = _run(database.settings(), instance, raises=False)
    assert not done.success
    assert NO_KEY in str(done.failure_data_for_node("openai_costs"))


def test_a_run_tells_what_is_left_and_its_checks_show_the_days(
    database: Database, openai: FakeOpenAI, instance: dg.DagsterInstance
) -> None:
    _world(database, openai)
    settings = _ready(database, openai)
    assert isinstance(_tick(settings, instance), dg.RunRequest)
    done = _run(settings, instance)
    found = {e.check_name: e for e in done.get_asset_check_evaluations()}
    assert {name: e.passed for name, e in found.items()} == {"cost_explained": False, "days_complete": True}
    assert found["cost_explained"].description == (
        f"OpenAI charges 10.25 USD for {DAYS.last} (UTC), and 4.00 USD were recorded: +6.25 USD are unexplained; "
        "1 of 8 days differ"
    )
    (told,) = done.asset_materializations_for_node("openai_costs")
    assert (told.metadata["unexplained_usd"].value, told.metadata["days_unknown"].value) == ("6.26", 0)
    days: Any = told.metadata["days"]
    assert [days.records[0].data[name] for name in ("OpenAI USD", "recorded", "left USD", "other currencies")] == [
        "2.01",
        "2.000000",
        "0.010000",
        "9.00 EUR",
    ]
    again = _run(settings, instance)
    assert again.asset_materializations_for_node("openai_costs")[0].metadata["calls"].value == 0
    assert len(openai.requests) == 1


def test_a_wrong_key_is_one_line_and_is_nowhere_in_what_dagster_keeps(
    database: Database, openai: FakeOpenAI, instance: dg.DagsterInstance
) -> None:
    done = _run(_ready(database, openai, "of-another-organisation"), instance, raises=False)
    kept = [str(event) for event in instance.all_logs(done.run_id)]
    assert any("OpenAI refused to tell its costs: 401" in event for event in kept)
    assert not any("of-another-organisation" in event for event in kept)


@pytest.mark.parametrize("key", ["sk with spaces in it", "short", "line\nbreak-of-a-key-1234"])
def test_what_is_no_key_is_refused_without_being_quoted(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", key)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value) == "OPENAI_ADMIN_KEY: not an API key; copy it anew, whole and without spaces"


def _require_helpful(database: Database, found: Finding | None) -> list[dict[str, Any]]:
    assert found is not None
    assert scrub(found.sql) == found.sql
    assert found.rows
    return database.rows(found.sql.replace("%", "%%"))


def test_the_sql_of_the_checks_shows_line_items_beside_models_and_days_that_are_not_told(
    database: Database, openai: FakeOpenAI
) -> None:
    _world(database, openai)
    _ask(database, openai)
    wrong = BilledDay(DAYS.last, NOW, True, {"USD": Decimal(9)}, Decimal(4), 0)
    rows = _require_helpful(database, cost_finding([wrong]))
    assert [(row["kind"], row["item"], row["amount"]) for row in rows] == [
        ("billed", "gpt-4o-mini, input", Decimal("10.25")),
        ("recorded", "gpt-4o-mini", Decimal(4)),
    ]
    late = BilledDay(DAYS.first, NOW, False, {}, Decimal(4), 0)
    assert [row["day"] for row in _require_helpful(database, complete_finding([late, wrong]))] == [DAYS.first]


def test_the_spend_page_has_each_day_and_each_line_and_says_what_is_unknown(
    database: Database, openai: FakeOpenAI
) -> None:
    with database.engine.connect() as connection:
        (empty,) = bill_tables(connection, DAYS)
    assert (empty.rows, empty.empty) == ((), "OpenAI was not asked for its costs of these days.")
    _world(database, openai)
    openai.late = {DAYS.last}
    _ask(database, openai)
    with database.engine.connect() as connection:
        by_day, by_line = bill_tables(connection, DAYS)
    assert [by_day.rows[0][key] for key in ("day", "billed_usd", "unexplained_usd")] == [DAYS.last, None, None]
    assert [by_day.rows[-1][key] for key in ("unexplained_usd", "others")] == [Decimal("0.01"), "9.00 EUR"]
    assert [(row["project"], row["item"], row["currency"], row["amount"]) for row in by_line.rows] == [
        ("proj_a", "gpt-4o-mini, input", "EUR", Decimal("9.00")),
        ("proj_a", "gpt-4o-mini, input", "USD", Decimal("2.05")),
        ("(none)", "credit", "USD", Decimal("-0.04")),
    ]


def test_stats_says_what_openai_charges_and_what_nobody_recorded(
    database: Database, openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
    asked = ["stats", "--from", str(DAYS.first), "--to", str(DAYS.last)]
    assert "OpenAI's own costs" not in CliRunner().invoke(app, asked).output
    _world(database, openai)
    openai.late = {DAYS.first + timedelta(days=1)}
    _ask(database, openai)
    told = " ".join(CliRunner().invoke(app, asked).output.split())
    assert (
        "OpenAI's own costs of 7 days (UTC): 12.26 USD charged, 6.00 USD recorded, +6.26 USD unexplained; 1 day unknown"
    ) in told
    one = DayRange(DAYS.first, DAYS.first + timedelta(days=1)).last
    assert "OpenAI's own costs (days in UTC): 1 day unknown" in " ".join(
        CliRunner().invoke(app, ["stats", "--date", str(one)]).output.split()
    )
    assert "own costs" not in CliRunner().invoke(app, [*asked, "--json"]).output
