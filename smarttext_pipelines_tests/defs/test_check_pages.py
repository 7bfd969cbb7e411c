"""What the page of a check that failed shows: the finding, what to do, rows, and SQL that works when it is pasted."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import AgreementError, RepeatedKeyError
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.database.findings import MAX_ROWS, Finding, ranges
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs import health_assets, twilio_usage
from smarttext_pipelines.defs.assets import FACTS, STATS
from smarttext_pipelines.defs.budget_assets import openai_budgets
from smarttext_pipelines.defs.checks import AGREES, HISTORY, KEYS, REPEATED, UNDATED, agreement_failed, check_specs
from smarttext_pipelines.defs.evaluations import evaluation
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.health.pipeline_days import RunTimes
from smarttext_pipelines.health.pipeline_findings import beats_finding, runs_finding, silence_finding
from smarttext_pipelines.health.verdicts import Line, State
from smarttext_pipelines.rollup.quality import SHARE_CHECKS
from smarttext_pipelines.twilio import UsageDay, cost_finding, texts_finding
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, replace_events
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, business, call_event, events, owner_alert, sms_event

DAY = date(2026, 3, 15)
DAYS = DayRange(DAY, DAY)
AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
ONE, TWO = {"business_id": BUSINESS_IDS[0]}, {"business_id": BUSINESS_IDS[1]}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _everything_wrong() -> dict[str, list[dict[str, Any]]]:
    return events(
        businesses=[business(1, name="Dover +15550001234"), business(2)],
        sms_events=[
            sms_event(1, AT, message_sid="SM1", status="on-hold", **ONE),
            sms_event(2, AT, message_sid="SM2", status="failed", error_code="99999", **ONE),
            *(sms_event(10 + n, AT, message_sid=f"SM1{n}", status="queued") for n in range(5)),
            sms_event(3, AT - timedelta(days=20), message_sid="SM3", status="queued", **ONE),
            sms_event(4, AT, message_sid="SM3", status="delivered", request_id="twilio-report", **ONE),
            sms_event(5, AT, message_sid="SM5", status="sent", **TWO),
            sms_event(6, AT, message_sid="SM6", status="undelivered", error_code="30003"),
            sms_event(7, None, message_sid="SM7"),
            *(sms_event(100 + n, AT, message_sid="SMmock", to_number=f"+1555010000{n}") for n in range(4)),
        ],
        call_events=[
            call_event(1, AT, call_sid="SM9", event_type="sms.inbound", **TWO),
            call_event(2, None),
            *(call_event(10 + n, AT, call_sid="CAmock", from_number=f"+1555010000{n}") for n in range(4)),
        ],
        owner_alerts=[owner_alert(1, AT, message_sid="SM6", delivered=True), owner_alert(2, None)],
        api_usage=[],
    )


def _run(database: Database, instance: dg.DagsterInstance) -> list[Any]:
    settings = database.settings(customer_key=CUSTOMER_SECRET.decode())
    job = build_definitions(settings).resolve_job_def("rollup_job")
    done = job.execute_in_process(instance=instance, tags=range_tags(DAYS))
    return list(done.get_asset_check_evaluations())


@pytest.fixture(scope="module")
def found_wrong(server: Server, template: str) -> Iterator[tuple[str, list[Any]]]:
    """The name of a database in which everything was wrong when it was rolled up, and what the checks said."""
    with fresh_database(server, template) as database, dg.DagsterInstance.ephemeral() as instance:
        replace_events(database.engine, _everything_wrong())
        # No events make customers add up to something else than the facts: the table miscounts.
        database.run(
            "CREATE FUNCTION monitoring.one_more() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN NEW.messages_sent := NEW.messages_sent + 1; RETURN NEW; END $$"
        )
        database.run(
            "CREATE TRIGGER one_more BEFORE INSERT ON monitoring.customer_days"
            " FOR EACH ROW EXECUTE FUNCTION monitoring.one_more()"
        )
        evaluations = _run(database, instance)
        database.engine.dispose()
        yield database.name, evaluations


@pytest.fixture
def wrong(server: Server, found_wrong: tuple[str, list[Any]]) -> Iterator[Database]:
    with fresh_database(server, found_wrong[0]) as database:
        yield database


def _require_helpful(database: Database, found: Any) -> list[dict[str, Any]]:
    """Require what the page of a failed check must show; return the rows that its SQL shows."""
    metadata = found.metadata
    assert not found.passed
    assert any(sign.isdigit() for sign in found.description), found.check_name
    assert len(metadata["what_to_do"].value) > 30, found.check_name
    records = metadata["concerned"].records
    assert 0 < len(records) <= MAX_ROWS, found.check_name
    sql = metadata["sql"].value
    # Dagster's storage scrubs what it is told: the statement must come out as it went in.
    assert scrub(sql) == sql, found.check_name
    told = f"{found.description} {records}"
    assert scrub(told) == told, found.check_name
    assert "+1555" not in told
    return database.rows(sql.replace("%", "%%"))


def test_every_check_of_a_rollup_that_fails_shows_what_it_found(
    wrong: Database, found_wrong: tuple[str, list[Any]]
) -> None:
    failed = {(e.asset_key.to_user_string(), e.check_name): e for e in found_wrong[1] if not e.passed}
    declared = {(asset, spec.name) for asset in (*FACTS, *STATS) for spec in check_specs(asset)}
    fine = {("spend", UNDATED)}
    assert set(failed) == {key for key in declared - fine if key[1] not in (AGREES, KEYS, HISTORY)}
    shown = {key: _require_helpful(wrong, found) for key, found in failed.items()}
    assert all(shown.values())
    raised = wrong.rows("SELECT scope FROM monitoring.alert_signals WHERE value > 0")
    assert {tuple(row["scope"].removeprefix("check:").split("@")[0].split(".")) for row in raised} == set(failed)
    assert failed["sms_outcomes", "error_codes_mapped"].description == (
        "1 of 2 failed texts on 2026-03-15 had an error code of no class: 99999"
    )
    assert [row["value"] for row in shown["sms_outcomes", REPEATED]] == ["SMmock"]
    assert [row["value"] for row in shown["call_volume", REPEATED]] == ["CAmock"]
    assert {row["status"] for row in shown["sms_outcomes", "statuses_known"]} == {"on-hold"}
    assert {row["business_id"] for row in shown["daily_stats", "texts_have_calls"]} == {BUSINESS_IDS[0]}


def test_the_sql_of_a_share_shows_as_many_as_the_share_counts(wrong: Database) -> None:
    for check in SHARE_CHECKS:
        with wrong.engine.connect() as connection:
            share = check.read(connection, DAYS)[DAY]
        rows = wrong.rows(check.concerned(DAYS, wrong.settings().zone))
        if check.name == "unattributed_share":
            (row,) = rows
            seen = sum(row[name] or 0 for name in ("messages_sent", "calls_total", "messages_received"))
        elif check.name == "customers_add_up":
            # Each business as its customers add up, and as the facts have it.
            seen = len({row["business_id"] for row in rows})
            assert len(rows) == 2 * seen
        else:
            seen = sum(row.get("texts", 1) for row in rows)
        assert seen == share.part, check.name


def test_days_that_keep_their_numbers_are_shown_with_what_was_read_of_them(
    wrong: Database, instance: dg.DagsterInstance
) -> None:
    wrong.run("DELETE FROM public.sms_events WHERE message_sid = 'SM5'")
    (kept,) = [e for e in _run(wrong, instance) if e.check_name == HISTORY and e.asset_key.path == ["sms_outcomes"]]
    assert "1 of 1 days kept older numbers, on 2026-03-15" in kept.description
    assert {row["day"] for row in _require_helpful(wrong, kept)} == {DAY}


@pytest.mark.parametrize("asset", ["sms_outcomes", "daily_stats", "sms_failure_rates"])
@pytest.mark.parametrize("error", [AgreementError, RepeatedKeyError])
def test_a_rollup_that_was_rolled_back_shows_what_stands(
    wrong: Database, asset: str, error: type[AgreementError]
) -> None:
    found = agreement_failed(asset, error(f"{asset} of {DAY}: keys is 1 in the sources and 2 in the result"), DAYS)
    assert found.check_name == (KEYS if error is RepeatedKeyError else AGREES)
    (row,) = _require_helpful(wrong, found)
    assert row["day"] == DAY


def test_the_checks_of_budgets_show_what_differs_and_what_was_rewritten(database: Database) -> None:
    use = "INSERT INTO public.api_usage (service, endpoint, tokens_used) VALUES ('openai', 'chat', 90000)"
    database.run(use)
    database.run(use)
    database.run("DELETE FROM public.api_usage WHERE id = (SELECT id FROM public.api_usage LIMIT 1)")
    database.run("UPDATE monitoring.openai_budgets SET used_tokens = used_tokens - 1")
    done = dg.materialize([openai_budgets], resources={"warehouse": Warehouse(database.settings())})
    found = {e.check_name: e for e in done.get_asset_check_evaluations()}
    raised = database.rows("SELECT scope FROM monitoring.alert_signals WHERE value > 0")
    assert {row["scope"] for row in raised} == {f"check:openai_budgets.{name}" for name in found}
    (difference,) = _require_helpful(database, found["counter_equals_ledger"])
    assert difference["tokens"] == -1
    (rewrite,) = _require_helpful(database, found["ledger_rewrites"])
    assert rewrite["tokens_change"] == -90_000
    assert "1 times" in found["ledger_rewrites"].description


def _evaluated(module: Any, asset: str, name: str, finding: Finding | None) -> dg.AssetCheckResult:
    return evaluation(asset, name, module._CHECKS[name], finding)


def test_the_checks_of_twilios_bill_show_the_days_and_list_our_texts(database: Database) -> None:
    rows = [sms_event(n, AT, message_sid=f"SM{n}", status="sent") for n in range(3)]
    inbound = [call_event(1, AT, call_sid="SM9", event_type="sms.inbound")]
    replace_events(database.engine, events(sms_events=rows, call_events=inbound))
    day = UsageDay(DAY, 100, 3, 0, 3, Decimal(9), Decimal(0), 1, 1)
    fine = UsageDay(DAY - timedelta(days=1), 3, 3, 0, 0, Decimal(0), Decimal(0), 0, 0)
    texts = _evaluated(twilio_usage, "twilio_usage", "texts_explained", texts_finding([fine, day]))
    assert len(_require_helpful(database, texts)) == 4
    cost = _evaluated(twilio_usage, "twilio_usage", "cost_explained", cost_finding([fine, day]))
    assert {row["sid"] for row in _require_helpful(database, cost)} == {"SM0", "SM1", "SM2"}
    assert texts_finding([fine]) is cost_finding([fine]) is None


def test_the_checks_of_the_pipeline_name_runs_sources_and_parts(database: Database) -> None:
    at = AT.timestamp()
    runs = [RunTimes("rollup_job", n > 1, at, at + 400 * n, at + 900, f"run-{n}") for n in range(3)]
    database.run(
        "INSERT INTO monitoring.pipeline_health (day, kind, name, seen_count, failed_count, late_count)"
        " VALUES (%s, 'job', 'rollup_job', 3, 1, 2)",
        DAY,
    )
    replace_events(database.engine, events(sms_events=[sms_event(1, datetime.now(UTC), message_sid="SM1")]))
    database.run(
        "INSERT INTO monitoring.heartbeats (kind, name, interval_seconds, last_success_at)"
        " VALUES ('schedule', 'rollup_schedule', 86400, now() - interval '3 days')"
        " ON CONFLICT (kind, name) DO UPDATE SET last_success_at = excluded.last_success_at"
    )
    silent = [Line("source sms_events", State.fail, "no event for 3 h", "see the application")]
    late = [Line("schedule rollup_schedule", State.fail, "last succeeded 3 d ago", "see the daemon")]
    found = {
        "no_failed_runs": runs_finding(runs, DAYS, lambda run: run.failed, "failed", "failed_count"),
        "runs_start_in_time": runs_finding(runs, DAYS, lambda run: run.is_late, "started late", "late_count"),
        "sources_fresh": silence_finding(silent),
        "heartbeats_in_time": beats_finding(late),
    }
    assert set(found) == set(health_assets._CHECKS)
    for name, finding in found.items():
        result = _evaluated(health_assets, "pipeline_health", name, finding)
        assert _require_helpful(database, result), name
    assert [row["run_id"] for row in (found["no_failed_runs"] or Finding("", [], "")).rows] == ["run-2"]
    fine = [Line("source sms_events", State.ok, "newest event 1 s ago")]
    assert silence_finding(fine) is beats_finding(fine) is None


def test_days_are_told_as_few_ranges() -> None:
    days = [DAY + timedelta(days=n) for n in (3, 0, 1, 7, 1)]
    assert [str(each) for each in ranges(days)] == ["2026-03-15 … 2026-03-16", "2026-03-18", "2026-03-22"]
