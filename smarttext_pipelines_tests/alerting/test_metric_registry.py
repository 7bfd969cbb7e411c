"""Every alert metric is whole: one world must breach, one must not, and what it leaves out is named."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4, uuid5
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, insert, text
from typer.testing import CliRunner

from smarttext_pipelines.alerting.incidents.counted_rows import counted_rows
from smarttext_pipelines.alerting.incidents.lifecycle import Verdict
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.metrics import ALERT_METRICS, AlertMetric
from smarttext_pipelines.alerting.metrics.alert_metric import Reading
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.alerting.signals import tell_signal
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.schema.tables.statistics import customer_days
from smarttext_pipelines_tests.alerting.test_evaluation import _miss, _spend, _use
from smarttext_pipelines_tests.alerts import NOON, World, business_id, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.docs import DOCS
from smarttext_pipelines_tests.events import insert_events
from smarttext_pipelines_tests.strategies import ID_SPACE

Build = Callable[[World, bool], object]
"""Makes a world in which the metric must breach, or one in which it must not."""

WITHOUT_ROWS = ("event_silence",)
"""Nothing came, so there is no row."""

OF_FACTS = ("openai_budget", "openai_spend", "unpriced_share")
"""Their worlds are made of rolled-up numbers, which have no events behind them."""

METRICS = pytest.mark.parametrize("metric", ALERT_METRICS.values(), ids=list(ALERT_METRICS))


def _failed(code: str, *, own: bool = True) -> Build:
    def build(world: World, is_bad: bool) -> None:
        for business in (1, 2, 3):
            sender = None if own else "+15557779999"
            world.send(38, business=business, sender=sender)
            if is_bad:
                world.send(12, business=business, sender=sender, status="undelivered", error_code=code)

    return build


def _in_flight(world: World, is_bad: bool) -> None:
    world.send(1, ago=timedelta(hours=5))
    world.send(24, status="queued" if is_bad else "delivered")


def _unattributed(world: World, is_bad: bool) -> None:
    world.send(10)
    world.send(40, business=None if is_bad else 2)


def _budget(world: World, is_bad: bool) -> None:
    _use(world, "90000" if is_bad else "10000", "100000", crossed=(80,) if is_bad else ())


def _money(world: World, is_bad: bool) -> None:
    _spend(world, 3, 3, 3, 30 if is_bad else 3)


def _customers(world: World, *uses: tuple[str | None, int, int]) -> None:
    """Roll up what customers caused today for the first business: key, requests and tokens of each."""
    zero = {c.name: 0 for c in customer_days.columns if not c.nullable and c.name not in ("id", "day", "updated_at")}
    rows = [
        {**zero, "id": uuid4(), "day": NOON.date(), "business_id": business_id(1), "customer_key": key,
         "openai_requests": requests, "openai_tokens_used": tokens}
        for key, requests, tokens in uses
    ]  # fmt: skip
    with world.database.engine.begin() as connection:
        connection.execute(delete(customer_days))
        connection.execute(insert(customer_days), rows)


def _heavy(world: World, is_bad: bool) -> None:
    _customers(world, ("a" * 64, 30, 21_000 if is_bad else 19_000), (None, 10, 9_000))


def _unpriced(world: World, is_bad: bool) -> None:
    _spend(world, 3, 3, 3, 3)
    unpriced = 60 if is_bad else 0
    world.run(
        f"UPDATE monitoring.spend SET request_count = 90, unpriced_requests = {unpriced} WHERE day = '{NOON.date()}'"
    )


def _owner_alerts(world: World, is_bad: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": uuid5(ID_SPACE, f"owner alert {n}"),
            "business_id": business_id(1),
            "owner_phone": "+15550001111",
            "customer_phone": "+15550002222",
            "alert_type": "missed_call",
            "message_content": "",
            "message_sid": f"SM{n:032x}",
            "delivered": not (is_bad and n % 2),
            "created_at": world.now - timedelta(minutes=20),
        }
        for n in range(20)
    ]
    with world.database.engine.begin() as connection:
        insert_events(connection, {"owner_alerts": rows})


def _missed(world: World, is_bad: bool) -> None:
    _miss(world, 5, ago=30, text=None if is_bad else "delivered")


def _silence(world: World, is_bad: bool) -> None:
    for weeks in (1, 2, 3, 4):
        world.send(30, ago=timedelta(weeks=weeks, hours=1))
    if not is_bad:
        world.send(30, ago=timedelta(hours=1))


def _signal(name: str, scope: str) -> Build:
    def build(world: World, is_bad: bool) -> None:
        with world.database.engine.begin() as connection:
            tell_signal(connection, name, scope, float(is_bad), "the reason")

    return build


def _dead(world: World, is_bad: bool) -> None:
    world.rules = {**world.rules, **only("sms_failure_rate", for_=1)}
    world.failing()
    world.tick()
    status = "dead" if is_bad else "sent"
    world.run(f"UPDATE monitoring.notifications SET status = '{status}', note = '401', finished_at = '{world.now}'")


def _broken_rule(world: World, is_bad: bool) -> None:
    world.rules = {**world.rules, **only("openai_budget")}
    if is_bad:
        world.run("ALTER TABLE monitoring.budget_crossings RENAME TO away")


def _unusual(world: World, is_bad: bool) -> None:
    yesterday = NOON.date() - timedelta(days=1)
    world.run(f"INSERT INTO monitoring.anomaly_days (day, tested_count) VALUES ('{yesterday}', 1)")
    if is_bad:
        world.run(
            "INSERT INTO monitoring.anomalies (day, metric, business_id, side, window_days, found, whole, expected,"
            f" low, high, nats) VALUES ('{yesterday}', 'texts_failed', '{business_id(1)}', 1, 1, 9, 30, 1, 0, 3, 20)"
        )


WORLDS: dict[str, Build] = {
    "sms_failure_rate": _failed("30003"),
    "sms_filtered_rate": _failed("30007"),
    "registration_errors": _failed("30034", own=False),
    "account_errors": _failed("30002"),
    "unmapped_errors": _failed("98765"),
    "sms_in_flight_share": _in_flight,
    "unattributed_share": _unattributed,
    "openai_budget": _budget,
    "openai_spend": _money,
    "openai_heavy_customer": _heavy,
    "unpriced_share": _unpriced,
    "owner_alerts_failed_rate": _owner_alerts,
    "missed_calls_unanswered": _missed,
    "event_silence": _silence,
    "pipeline_failures": _signal("pipeline_failures", "run:rollup_job@2026-03-16"),
    "failed_checks": _signal("failed_checks", "check:spend.agrees_with_sources@2026-03-16"),
    "notifications_dead": _dead,
    "rule_errors": _broken_rule,
    "anomalies": _unusual,
}


def _rule(metric: AlertMetric) -> Rule:
    """Return the first shipped rule that watches it, firing at once."""
    rules = [rule for rule in load_rules(None).values() if rule.metric == metric.name]
    assert rules, f"no rule of alert_rules.yaml watches {metric.name}"
    return rules[0].model_copy(update={"for_": 1})


@METRICS
@pytest.mark.parametrize("is_bad", [True, False], ids=["breach", "calm"])
def test_it_breaches_where_it_must_and_only_there(metric: AlertMetric, is_bad: bool, database: Database) -> None:
    assert metric.name in WORLDS, f"add a world for {metric.name} to WORLDS"
    world, rule = World(database), _rule(metric)
    world.businesses(12)
    world.rules = {rule.name: rule}
    world.begin()
    WORLDS[metric.name](world, is_bad)
    verdict = world.tick().verdicts[rule.name]
    wanted = (Verdict.breach,) if is_bad else (Verdict.ok, Verdict.no_traffic)
    said = (
        f"{metric.name} is {verdict.name}: compare signal, scope and minutes of its rows with the rule, and min_count"
    )
    assert verdict in wanted, said
    mine = [state for name, _, state in world.incidents() if name == rule.name and state != "pending"]
    assert bool(mine) is is_bad
    if is_bad and metric.rows is not None and metric.name not in OF_FACTS:
        with database.engine.begin() as connection:
            number = connection.execute(
                text("SELECT id FROM monitoring.incidents WHERE rule = :r"), {"r": rule.name}
            ).scalar()
            rows = counted_rows(connection, int(number or 0), world.rules, Place(ZoneInfo("UTC"), 4, ())).rows
        assert rows, f"{metric.name} lists no row behind its incident"


@METRICS
def test_it_lists_rows_unless_it_counts_none(metric: AlertMetric) -> None:
    is_excepted = metric.is_state or metric.name in WITHOUT_ROWS
    assert (metric.rows is None) is is_excepted, f"{metric.name} counts events, so it needs `rows`"


@METRICS
def test_it_reads_as_a_sentence_with_its_numbers(metric: AlertMetric) -> None:
    said = metric.headline(
        metric, Reading(17, 17, 40, "the last hour", "; the first at 13:00 UTC", "Monday", "the reason", " (usual)")
    )
    assert said, f"{metric.name} has no headline"
    assert "17" in said or metric.is_state
    assert metric.counts, f"{metric.name} does not say what it counts"


@METRICS
def test_it_says_what_to_do_next(metric: AlertMetric) -> None:
    is_said_by_the_error = metric.counts_messages and (metric.error_class or metric.name == "sms_failure_rate")
    assert metric.next_step or is_said_by_the_error, f"{metric.name} has no next_step"


@METRICS
def test_it_is_documented(metric: AlertMetric) -> None:
    assert (DOCS.parent / _rule(metric).runbook_page).exists(), f"write {_rule(metric).runbook_page}"
    listed = CliRunner().invoke(app, ["alerts", "metrics"])
    assert metric.name in listed.output


def test_a_heavy_customer_fires_by_tokens_or_by_requests_ends_below_the_clear_threshold_and_is_named_by_key_alone(
    database: Database,
) -> None:
    world, rules = World(database), only("openai_heavy_customer")
    world.businesses(2)
    world.rules = rules
    world.begin()
    key, other = "ab" * 32, "cd" * 32
    _customers(world, (key, 99, 300), (other, 1, 19_999))
    assert not world.tick().notices, "neither has enough to stand out"
    _customers(world, (key, 100, 300), (other, 20, 19_999))
    world.tick()
    ((headline,),) = world.outbox("message ->> 'headline'", "kind = 'firing'")
    assert "one customer caused 83 % of today's OpenAI requests (100 of 120)" in headline
    assert key[:12] in headline
    assert key[:13] not in headline
    _customers(world, (key, 100, 300), (other, 20, 19_999), (None, 100, 9))
    world.tick()
    assert [state for *_, state in world.incidents()] == ["firing"], "45 % is below what fires, above what ends"
    _customers(world, (key, 100, 300), (other, 20, 19_999), (None, 140, 9))
    for _ in range(10):
        world.tick()
    assert [state for *_, state in world.incidents()] == ["resolved"]
    _customers(world, (key, 30, 60_000), (other, 20, 20_000))
    world.tick()
    assert [state for *_, state in world.incidents()][-1] == "firing"
    world.tick(24 * 60)
    for _ in range(10):
        world.tick()
    assert [state for *_, state in world.incidents()][-1] == "resolved", "it ends with the day"
