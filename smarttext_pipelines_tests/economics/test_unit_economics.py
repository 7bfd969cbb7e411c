"""What a business costs and pays in a month: right to the cell, or said to be unknown."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.defs.economics_assets import build_unit_economics
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.economics.plans import Plan, parse_plans
from smarttext_pipelines.economics.unit_economics import MonthOfBusiness, read_economics, write_economics
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.economics.ledgers import AFTER, MARCH, days_of, outcomes, roll_up, spend, stats
from smarttext_pipelines_tests.guardrail import add_businesses

ZONE = ZoneInfo("UTC")
PLANS = {"basic": Plan("basic", Decimal(10))}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def business(database: Database) -> UUID:
    """A business with 4 missed calls of which 3 were answered, 1.20 USD of OpenAI and 5 texts at 0.01 USD."""
    (business,) = add_businesses(database, 1)
    roll_up(database, days_of(MARCH, 31))
    stats(database, business, MARCH, calls_missed=4, missed_calls_replied=3, missed_calls_unreplied=1, messages_sent=7,
          sms_suppressed_count=1)  # fmt: skip
    spend(database, business, MARCH, "openai", "chat", 3, "1.200000", tokens=900)
    spend(database, business, date(2026, 3, 31), "twilio", "messages", 5, "0.050000")
    spend(database, business, MARCH, "twilio", "messages.fees", 5, "0.010000")
    outcomes(database, business, MARCH, "delivered", "successful", 5)
    outcomes(database, business, MARCH, "failed", "failed", 1)
    outcomes(database, business, MARCH, "skipped", "suppressed", 1)
    return business


def read(
    database: Database, plans: Mapping[str, Plan] = PLANS, now: datetime = AFTER, month: date = MARCH
) -> list[MonthOfBusiness]:
    with database.engine.connect() as connection:
        return list(read_economics(connection, month, plans, zone=ZONE, now=now))


def test_a_month_is_told_to_the_cell(database: Database, business: UUID) -> None:
    (found,) = read(database)
    assert found == MonthOfBusiness(
        month=MARCH, business_id=business, business="B1", missed_calls=4, answered_callers=3, unanswered_callers=1,
        texts=6, tokens=900, openai_usd=Decimal("1.2"), openai_unpriced=0, texts_usd=Decimal("0.05"),
        fees_usd=Decimal("0.01"), texts_unpriced=0, known_cost_usd=Decimal("1.26"), cost_usd=Decimal("1.26"),
        usd_per_missed_call=Decimal("0.315"), usd_per_answered_caller=Decimal("0.42"), plan="basic",
        plan_usd=Decimal(10), margin_usd=Decimal("8.74"), margin_at_most_usd=Decimal("8.74"), days_known=31,
        complete=True,
    )  # fmt: skip
    assert (found.expected_cost_usd, found.loses) == (Decimal("1.26"), False)


def test_a_text_without_a_price_makes_the_cost_unknown_and_no_smaller(database: Database, business: UUID) -> None:
    outcomes(database, business, MARCH, "undelivered", "failed", 1)
    (found,) = read(database)
    assert (found.texts_unpriced, found.cost_usd, found.margin_usd) == (1, None, None)
    assert (found.usd_per_missed_call, found.usd_per_answered_caller) == (None, None)
    assert (found.known_cost_usd, found.margin_at_most_usd, found.loses) == (Decimal("1.26"), Decimal("8.74"), None)


def test_what_is_recorded_may_be_enough_to_know_a_loss(database: Database, business: UUID) -> None:
    spend(database, business, MARCH, "openai", "speech", 1, "9.000000", unpriced=1)
    (found,) = read(database)
    assert (found.openai_unpriced, found.cost_usd, found.loses) == (1, None, True)


def test_without_plans_a_price_is_unknown_not_zero(database: Database, business: UUID) -> None:
    (found,) = read(database, {})
    assert (found.plan, found.plan_usd, found.margin_usd, found.loses) == (None, None, None, None)
    assert found.cost_usd == Decimal("1.26")


def test_the_file_names_businesses_by_name_or_id_before_their_tier(database: Database, business: UUID) -> None:
    for named in ("b1", str(business)):
        plans = parse_plans(f"basic:\n  price_usd: 10\nvip:\n  price_usd: 0.5\n  businesses: ['{named}']\n")
        (found,) = read(database, plans)
        assert (found.plan, found.plan_usd, found.loses) == ("vip", Decimal("0.5"), True)


def test_a_name_of_two_businesses_is_refused(database: Database, business: UUID) -> None:
    database.run("INSERT INTO public.businesses (name) VALUES ('B1')")
    with pytest.raises(InputError, match="several are called so: write its id"):
        read(database, parse_plans("vip:\n  price_usd: 1\n  businesses: [B1]\n"))


def test_one_business_under_two_plans_by_name_and_id_is_refused(database: Database, business: UUID) -> None:
    text = f"a:\n  price_usd: 1\n  businesses: [B1]\nb:\n  price_usd: 1\n  businesses: ['{business}']\n"
    with pytest.raises(InputError, match="has two plans"):
        read(database, parse_plans(text))


def test_a_day_that_was_not_rolled_up_is_not_in_it_and_the_month_not_complete(
    database: Database, business: UUID
) -> None:
    database.run("DELETE FROM monitoring.rollup_days WHERE row_day = '2026-03-31' AND table_name = 'sms_events'")
    (found,) = read(database)
    assert (found.days_known, found.complete, found.texts_usd, found.texts_unpriced) == (30, False, None, 5)


def test_a_month_that_goes_on_is_expected_at_its_pace(database: Database, business: UUID) -> None:
    database.run("DELETE FROM monitoring.rollup_days WHERE row_day > '2026-03-03'")
    (found,) = read(database, now=datetime(2026, 3, 4, 12, tzinfo=UTC))
    assert (found.days_known, found.complete, found.known_cost_usd) == (3, False, Decimal("1.21"))
    assert found.expected_cost_usd == Decimal("1.21") * 31 / 3
    assert found.loses is True


def test_nothing_rolled_up_is_unknown_and_no_profit(database: Database, business: UUID) -> None:
    (found,) = read(database, month=date(2026, 1, 1))
    assert (found.days_known, found.cost_usd, found.margin_usd, found.loses) == (0, None, None, None)


def test_what_has_no_business_is_a_row_of_its_own(database: Database, business: UUID) -> None:
    spend(database, None, MARCH, "openai", "chat", 1, "0.300000", tokens=5)
    found = {each.business_id: each for each in read(database)}
    assert (found[None].business, found[None].known_cost_usd, found[None].plan_usd) == (
        "(no business)", Decimal("0.3"), None,
    )  # fmt: skip
    assert sum(each.known_cost_usd for each in found.values()) == Decimal("1.56")


def test_the_table_holds_what_is_read_and_a_second_time_changes_nothing(database: Database, business: UUID) -> None:
    spend(database, None, MARCH, "openai", "chat", 1, "0.300000", tokens=5)
    for _ in range(2):
        with database.engine.begin() as connection:
            write_economics(connection, MARCH, PLANS, zone=ZONE, now=AFTER)
        rows = database.rows("SELECT *, xmin::text AS version FROM monitoring.unit_economics ORDER BY business_id")
    assert len({row["version"] for row in rows}) == 1
    kept = {row["business_id"]: {k: v for k, v in row.items() if k not in ("updated_at", "version")} for row in rows}
    expected = {each.business_id: {k: v for k, v in vars(each).items() if k != "business"} for each in read(database)}
    assert kept == expected
    database.run("DELETE FROM monitoring.spend WHERE business_id IS NULL")
    with database.engine.begin() as connection:
        write_economics(connection, MARCH, PLANS, zone=ZONE, now=AFTER)
    assert [row["business_id"] for row in database.rows("SELECT * FROM monitoring.unit_economics")] == [business]


def test_the_asset_writes_a_month(database: Database, business: UUID, tmp_path: Path) -> None:
    (tmp_path / "plans.yaml").write_text("basic:\n  price_usd: 10\n")
    settings = database.settings(plans=tmp_path / "plans.yaml")
    done = dg.materialize(
        [build_unit_economics(settings)], partition_key="2026-03-01", resources={"warehouse": Warehouse(settings)}
    )
    (event,) = done.asset_materializations_for_node("unit_economics")
    assert event.metadata["complete"].value is True
    assert database.rows("SELECT margin_usd, complete FROM monitoring.unit_economics") == [
        {"margin_usd": Decimal("8.74"), "complete": True}
    ]


def test_the_command_names_who_costs_more_than_it_pays(
    database: Database, business: UUID, smarttext: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "plans.yaml").write_text("basic:\n  price_usd: 1\n")
    monkeypatch.setenv("SMARTTEXT_PLANS", str(tmp_path / "plans.yaml"))
    code, out, _ = smarttext("economics", "--month", "2026-03")
    assert code == 0
    assert all(
        part in out for part in ("B1", "basic", "1.26", "-0.26", "B1 costs more than it pays", "who needs a human")
    )
    code, out, _ = smarttext("economics", "--month", "2026-03", "--json")
    assert code == 0
    assert '"margin_usd": "-0.260000"' in out
