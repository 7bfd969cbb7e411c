"""What an evaluation finds, holds back and tells, against a real database."""

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from smarttext_pipelines.alerting.incidents.incident_store import read_open, write
from smarttext_pipelines.alerting.incidents.lifecycle import Verdict
from smarttext_pipelines.alerting.incidents.review import acknowledge
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import Message, full_text
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines_tests.alerts import MINUTE, NOON, Recorder, World, business_id, only, parse_rules
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events, roll_up_all


@pytest.fixture
def world(database: Database) -> World:
    world = World(database)
    world.businesses(12)
    return world


@pytest.fixture
def rated(world: World) -> World:
    """A world with the one rule of failing texts, in which nothing is wrong yet."""
    world.rules = only("sms_failure_rate")
    world.begin()
    return world


def _texts(world: World) -> list[str]:
    return [full_text(Message.from_json(message), PLAIN) for (message,) in world.outbox("message")]


def test_a_failing_business_is_told_once_and_its_end_is_told(rated: World) -> None:
    failed = rated.failing()
    assert not rated.tick().notices
    assert rated.tick().notices == {"firing": 1}
    assert not rated.tick().notices
    rated.report(failed, "delivered")
    for _ in range(3):
        assert not rated.tick().notices
    assert rated.tick().notices == {"resolved": 1}
    assert not rated.tick().notices
    assert rated.outbox("kind, sequence, channel") == [("firing", 1, "slack"), ("resolved", 2, "slack")]
    assert rated.incidents("state, reason") == [("resolved", "recovered")]


def test_the_message_names_business_causes_and_next_step(rated: World) -> None:
    rated.send(1181, business=2)
    rated.send(1, business=2, status="undelivered", error_code="30003")
    rated.send(38)
    rated.send(19, status="undelivered", error_code="30007")
    rated.send(3, status="undelivered", error_code="30003")
    rated.send(1, status="failed", error_code="30500")
    rated.send(5, status="queued")
    rated.tick()
    rated.tick()
    assert _texts(rated) == [
        "🔴 Hartley Plumbing: 23 of the last hour’s 61 texts failed; the first at 11:41 UTC\n"
        "Customers affected: 23 callers, who got no text at all.\n"
        "Why: 19 × carrier filtered the content (30007) · 3 × unreachable handset (30003) · 1 × fault at the provider"
        " (30500). Only this business: 1 of 1,182 elsewhere.\n"
        "Next step: look at the reply text for links or shorteners, restore the last one that worked, then watch"
        " 20 messages.\n"
        "Confidence: the outcome of 61 of 66 texts is known (92 %). The true share is at least 26.6 % (95 % sure);"
        " the rule fires above 10 %.\n"
        "INC-1 · sms_failure_rate · critical · open for 0 min · `smarttext alerts runbook 1` ·"
        " http://127.0.0.1:3000/assets/alert_incidents · `smarttext alerts show 1`"
    ]


def test_what_is_usual_is_said_with_the_days_it_is_of(rated: World) -> None:
    for weeks, failed, delivered in ((1, 1, 27), (2, 1, 26), (3, 1, 99), (4, 9, 0), (9, 30, 0)):
        rated.run(
            "INSERT INTO monitoring.sms_failure_rates (id, business_id, date, failed, successful, failure_rate_percent,"
            f" total_attempts, in_flight, suppressed, unknown) SELECT gen_random_uuid(), '{business_id(1)}',"
            f" '{NOON.date() - timedelta(weeks=weeks)}', k, n - k, round(100.0 * k / n, 2), n, 0, 0, 0"
            f" FROM (VALUES ({failed}, {failed + delivered})) AS v (k, n)"
        )
    rated.failing()
    rated.tick()
    rated.tick()
    said = _texts(rated)[0].splitlines()[0]
    assert said.endswith("(usual: 1–3.7 % on 3 Mondays)"), "nine texts are no rate, and nine weeks are long ago"


def test_an_owner_is_no_customer_who_is_affected(rated: World) -> None:
    rated.send(38)
    rated.send(20, status="undelivered", error_code="30007")
    rated.send(3, status="undelivered", error_code="30007", request_id="req-0-owner")
    rated.tick()
    rated.tick()
    assert "Customers affected: 20 callers, who got no text" in _texts(rated)[0]


def test_without_delivery_reports_a_rate_is_not_applicable(world: World) -> None:
    world.rules = only("sms_failure_rate", "sms_in_flight")
    world.send(30, status="queued")
    world.send(25, status="failed", error_code="30007")
    assert set(world.tick().verdicts.values()) == {Verdict.not_applicable}
    assert world.incidents() == []


def test_invalid_numbers_and_opt_outs_are_outside_the_rate(rated: World) -> None:
    rated.send(30)
    rated.send(30, status="failed", error_code="21610")
    rated.send(30, status="failed", error_code="21211")
    rated.tick()
    assert rated.incidents() == []


def test_too_few_texts_fire_nothing_and_resolve_nothing(rated: World) -> None:
    rated.failing(failed=8, delivered=4)
    rated.tick()
    assert rated.incidents() == []
    rated.failing()
    rated.tick()
    rated.tick()
    for _ in range(30):
        rated.tick(10)
    assert rated.incidents("state") == [("firing",)]


def test_an_unregistered_sender_is_told_on_its_first_text(world: World) -> None:
    world.rules = only("registration_errors")
    world.begin()
    world.send(1, status="failed", error_code="30034", message_sid="")
    assert world.tick().notices == {"firing": 1}
    assert "Sender +155577700001: 1 text in the last 6 hours was refused because" in _texts(world)[0]
    assert "(operator) register the sending number" in _texts(world)[0]


def test_the_baseline_is_one_message(world: World) -> None:
    world.rules = only("sms_failure_rate", for_=1)
    for business in (1, 2, 3):
        world.failing(business)
    assert world.tick().notices == {"baseline": 1}
    (text,) = _texts(world)
    assert "3 things are wrong already" in text
    for number, name in ((1, "Hartley Plumbing"), (2, "Business 2"), (3, "Business 3")):
        said = f"critical: {name}: 23 of the last hour’s 61 texts failed; the first at 11:40 UTC (INC-"
        assert said in text, number
    assert "`smarttext alerts runbook 1` says what the first of them means" in text
    assert not world.tick().notices
    assert {held for (held,) in world.incidents("held_by")} == {"baseline", None}


def test_a_baseline_leaves_data_checks_for_the_morning(world: World) -> None:
    world.rules = only("pipeline_failures", "failed_checks", for_=1)
    signal = "INSERT INTO monitoring.alert_signals (signal, scope, value, detail) VALUES"
    world.run(f"{signal} ('pipeline_failures', 'run:rollup_job@2026-03-15', 1, 'the database is away')")
    world.run(f"{signal} ('failed_checks', 'check:spend.agrees@2026-03-15', 1, 'off by one')")
    assert world.tick().notices == {"baseline": 1}
    (text,) = _texts(world)
    assert "critical: Run of rollup_job, 2026-03-15: failed: the database is away (INC-" in text
    assert "1 data check fails; it concerns past days and can wait for the morning." in text
    assert "off by one" not in text


def test_many_businesses_at_once_become_one_message_and_one_end(rated: World) -> None:
    failed = [number for business in range(1, 8) for number in rated.failing(business)]
    rated.tick()
    assert rated.tick().notices == {"firing": 1}
    (message,) = _texts(rated)
    assert message.startswith("🔴 7 businesses: too many texts failed at each\nWorst: ")
    rated.report(failed, "delivered")
    told = [rated.tick().notices for _ in range(6)]
    assert [notices for notices in told if notices] == [{"resolved": 1}]
    assert {state for (state,) in rated.incidents("state")} == {"resolved"}


def test_a_platform_incident_inhibits_those_of_businesses(world: World) -> None:
    world.rules = only("sms_failure_rate", "sms_failure_rate_platform")
    world.begin()
    for business in (1, 2, 3):
        world.failing(business)
    world.tick()
    assert world.tick().notices == {"firing": 1}
    inhibited = ("suppressed", "inhibited by sms_failure_rate_platform")
    assert sorted(world.outbox("status, note")) == [("pending", None), *[inhibited] * 3]
    world.send(4000, business=4)
    told = [world.tick().notices for _ in range(6)]
    assert {"resolved": 1, "firing": 3} in told, "they still fail, and are told as soon as nothing inhibits it"


def test_two_rules_with_one_reason_are_told_once(world: World) -> None:
    world.rules = only("sms_failure_rate", "sms_filtered_rate", for_=1)
    world.begin()
    world.failing()
    assert world.tick().notices == {"firing": 1}
    assert sorted(world.outbox("status, note"), key=str) == [
        ("pending", None),
        ("suppressed", "inhibited by sms_failure_rate"),
    ]


def test_one_business_does_not_make_an_incident_of_everybody(world: World) -> None:
    world.rules = only("sms_failure_rate", "sms_failure_rate_platform", for_=1)
    world.begin()
    world.send(60, business=2)
    world.failing()
    world.tick()
    assert world.incidents("rule") == [("sms_failure_rate",)]


def test_a_silence_holds_back_until_it_ends(rated: World) -> None:
    rated.run(
        "INSERT INTO monitoring.silences (rule, author, reason, starts_at, ends_at)"
        f" VALUES ('sms_failure_rate', 'Ann', 'known', '2026-03-16', '{rated.now + 4 * MINUTE}')"
    )
    rated.failing()
    assert [rated.tick().notices for _ in range(5)] == [{}, {}, {}, {"firing": 1}, {}]
    assert rated.outbox("status, note")[0] == ("suppressed", "silence 1")


def test_a_silence_that_ends_tells_again_what_had_been_told(rated: World) -> None:
    rated.failing()
    rated.tick()
    assert rated.tick().notices == {"firing": 1}
    rated.run(f"UPDATE monitoring.notifications SET status = 'sent', finished_at = '{rated.now}'")
    rated.run(
        "INSERT INTO monitoring.silences (rule, author, reason, starts_at, ends_at)"
        f" VALUES ('sms_failure_rate', 'Ann', 'known', '2026-03-16', '{rated.now + 3 * MINUTE}')"
    )
    assert [rated.tick().notices for _ in range(3)] == [{}, {}, {"repeat": 1}]


def test_what_was_told_is_told_to_be_over_when_its_rule_or_business_goes(rated: World) -> None:
    rated.failing(1)
    rated.failing(2)
    rated.tick()
    rated.tick()
    rated.run(f"UPDATE public.sms_events SET business_id = NULL WHERE business_id = '{business_id(2)}'")
    rated.run(f"DELETE FROM public.businesses WHERE id = '{business_id(2)}'")
    rated.tick()
    rated.rules = {}
    rated.tick()
    assert sorted(rated.incidents("reason")) == [("business removed",), ("rule removed",)]
    assert [kind for (kind,) in rated.outbox("kind")] == ["firing", "firing", "resolved", "resolved"]


def test_an_acknowledged_incident_is_repeated_only_when_worse(rated: World) -> None:
    rated.failing(failed=12, delivered=49)
    rated.tick()
    rated.tick()
    assert rated.incidents("severity") == [("warning",)]
    rated.run("UPDATE monitoring.notifications SET status = 'sent', finished_at = '2026-03-16 12:05+00'")
    rated.run("UPDATE monitoring.incidents SET acknowledged = 'warning', acknowledged_by = 'Ann'")
    assert not rated.tick(30).notices
    rated.now += timedelta(hours=5)
    rated.failing(failed=40, delivered=10)
    assert rated.tick().notices == {"worse": 1}
    rated.run("UPDATE monitoring.notifications SET status = 'sent', finished_at = '2026-03-16 12:05+00'")
    assert rated.tick().notices == {"repeat": 1}


def test_an_acknowledgement_during_an_evaluation_stays(rated: World) -> None:
    rated.failing()
    rated.tick()
    rated.tick()
    with rated.database.engine.connect() as reading, reading.begin():
        read = read_open(reading)
        with rated.database.engine.begin() as other:
            acknowledge(other, 1, "Ann")
        write(reading, list(read.values()), [], rated.now)
    assert rated.incidents("acknowledged, acknowledged_by") == [("critical", "Ann")]


def _use(world: World, used: str, allowed: str, *, crossed: Sequence[int], unit: str = "tokens") -> None:
    """Use so much of a budget, as the guardrail counts it."""
    limits = f"used_{unit}, limit_{unit}"
    world.run(
        f"INSERT INTO monitoring.openai_budgets (business_id, day, {limits})"
        f" VALUES ('{business_id(1)}', '{NOON.date()}', {used}, {allowed}) ON CONFLICT (day, business_key)"
        f" DO UPDATE SET ({limits}) = ROW (EXCLUDED.used_{unit}, EXCLUDED.limit_{unit})"
    )
    for threshold in crossed:
        world.run(
            "INSERT INTO monitoring.budget_crossings (business_id, day, unit, threshold_percent, used, allowed)"
            f" VALUES ('{business_id(1)}', '{NOON.date()}', '{unit}', {threshold}, {used}, {allowed})"
        )


def test_a_budget_that_jumps_is_told_once_as_it_is_now(world: World) -> None:
    world.rules = only("openai_budget")
    world.begin()
    _use(world, "104000", "100000", crossed=(80, 90, 100))
    assert world.tick().notices == {"firing": 1}
    assert "Hartley Plumbing: 104 % of today's OpenAI budget used (104,000 of 100,000 tokens)" in _texts(world)[0]
    world.now += timedelta(days=1)
    assert [world.tick(2).notices for _ in range(3)] == [{}, {}, {"resolved": 1}]
    assert world.incidents("reason") == [("window rolled",)]


def test_a_budget_in_dollars_is_told_in_dollars_until_more_is_granted(world: World) -> None:
    world.rules = only("openai_budget")
    world.begin()
    _use(world, "10000", "100000", crossed=())
    _use(world, "0.4295", "0.50", crossed=(80,), unit="usd")
    assert world.tick().notices == {"firing": 1}
    assert "Hartley Plumbing: 85 % of today's OpenAI budget used (0.43 of 0.50 USD)" in _texts(world)[0]
    world.run("UPDATE monitoring.openai_budgets SET granted_usd = 1")
    assert [world.tick(2).notices for _ in range(3)] == [{}, {}, {"resolved": 1}]
    assert world.incidents("reason") == [("recovered",)]


def _spend(world: World, *usd: float) -> None:
    """Spend so much on the days up to today; the last one is today's."""
    world.run("DELETE FROM monitoring.spend")
    for ago, cost in enumerate(reversed(usd)):
        world.run(
            "INSERT INTO monitoring.spend (id, day, business_id, service, endpoint, model, cost_usd, request_count,"
            " tokens_used, unpriced_requests, unpriced_tokens)"
            f" SELECT gen_random_uuid(), date '{NOON.date()}' - {ago}, '{business_id(1)}', 'openai', '', '', {cost},"
            " 9, 900, 0, 0"
        )


def test_spend_is_compared_with_the_days_since_the_first_use(world: World) -> None:
    world.rules = only("openai_spend", for_=1)
    world.begin()
    _spend(world, 3, 3)
    world.tick()
    _spend(world, 0.5, 0.5, 15)
    world.tick()
    _spend(world, 3, 3, 3, 12)
    world.tick()
    assert world.incidents() == [], "new, still new, and four times the usual"
    _spend(world, 3, 3, 3, 15)
    assert world.tick().notices == {"firing": 1}
    assert _texts(world)[0].startswith(
        "🟠 Hartley Plumbing: 15.00 USD for OpenAI today, 5.0 × the usual (3.00 USD a day on the 3 days before)"
    )


def test_a_spike_of_small_spend_is_over_when_the_next_day_is_small(world: World) -> None:
    world.rules = only("openai_spend", for_=1)
    world.begin()
    roll_up_all(world.database.engine, DayRange(NOON.date(), NOON.date()))
    _spend(world, 0.3, 0.3, 0.3, 3)
    assert world.tick().notices == {"firing": 1}
    _spend(world, 0.3, 0.3, 0.3, 3, 0.3)
    assert [world.tick(2).notices for _ in range(3)] == [{}, {}, {"resolved": 1}]


def test_the_most_specific_override_wins(world: World) -> None:
    world.rules = parse_rules(
        f"""
        rules:
          strict:
            metric: sms_failure_rate
            threshold: 90
            for: 1
            plans: {{basic: {{threshold: 10}}}}
            businesses: {{{business_id(2)}: {{threshold: 95}}}}
        """
    )
    world.begin()
    world.failing(1)
    world.failing(2)
    world.tick()
    assert world.incidents("scope") == [(f"business:{business_id(1)}",)]


def test_what_a_business_leaves_open_its_plan_says(world: World) -> None:
    world.rules = parse_rules(
        f"""
        rules:
          strict:
            metric: sms_failure_rate
            threshold: 90
            for: 1
            plans: {{basic: {{threshold: 10}}}}
            businesses: {{{business_id(1)}: {{min_count: 50}}, {business_id(2)}: {{min_count: 500}}}}
        """
    )
    world.begin()
    world.failing(1)
    world.failing(2)
    world.tick()
    assert world.incidents("scope") == [(f"business:{business_id(1)}",)]
    limits = world.rules["strict"].plans["basic"]
    assert (limits.clear_below, limits.model_copy(update={"clear_threshold": 5.0}).clear_below) == (8, 5)
    assert world.rules["strict"].businesses[business_id(1)].clear_below is None


def test_a_fault_in_one_metric_is_told_and_leaves_the_others_alone(world: World) -> None:
    world.rules = only("openai_budget", "sms_failure_rate", for_=1)
    world.begin()
    world.failing()
    world.run("ALTER TABLE monitoring.budget_crossings RENAME TO away")
    done = world.tick()
    assert done.verdicts == {"openai_budget": Verdict.error, "sms_failure_rate": Verdict.breach}
    assert done.notices == {"firing": 1}


def test_texts_that_stay_in_flight_are_not_told_to_have_arrived(world: World) -> None:
    world.rules = only("sms_in_flight")
    world.send(1, ago=timedelta(hours=5))
    world.begin()
    world.send(24, status="queued")
    assert world.tick().notices == {"firing": 1}
    world.run(
        "UPDATE public.sms_events SET created_at = created_at - interval '6 hours' WHERE to_number < '+15558880008'"
    )
    roll_up_all(world.database.engine, DayRange(NOON.date(), NOON.date()))
    assert [world.tick(5).notices for _ in range(3)] == [{}, {}, {}]
    assert world.incidents("state") == [("firing",)]


def test_silence_is_measured_against_the_same_hours_of_four_weeks(world: World) -> None:
    world.rules = only("event_silence", for_=1)
    world.begin()
    for weeks in (1, 2, 3, 4):
        world.send(30, business=1, ago=timedelta(weeks=weeks, hours=1))
        world.send(30, business=2, ago=timedelta(weeks=weeks, hours=1))
    world.send(25, business=2, ago=timedelta(hours=1))
    assert world.tick().notices == {"firing": 1}
    assert _texts(world)[0].startswith(
        "🟠 Hartley Plumbing: 0 events in the last 3 hours; at least 30 in the same hours"
    )


def test_when_twilio_is_broken_texts_share_its_fate(world: World) -> None:
    world.rules = only("account_errors")
    world.channels = [Recorder(), Recorder("twilio_sms", ("phone-1",)), Recorder("pagerduty", ("routing_key",))]
    world.begin()
    world.send(1, status="failed", error_code="20003", message_sid="")
    world.tick()
    assert sorted(world.outbox("channel, status, note")) == [
        ("pagerduty", "pending", None),
        ("slack", "pending", None),
        ("twilio_sms", "suppressed", "shared fate: Twilio is what is broken"),
    ]


def test_texts_of_an_hour_are_capped_but_not_the_end(world: World) -> None:
    world.rules = only("sms_failure_rate", for_=1, channels=("twilio_sms",))
    world.channels = [Recorder("twilio_sms", ("phone-1",))]
    world.begin()
    failed = [number for business in (1, 2, 3) for number in world.failing(business)]
    world.tick(texts_per_hour=2)
    assert [note for (note,) in world.outbox("note")] == [None, None, "cap of 2 texts an hour"]
    world.report(failed, "delivered")
    for _ in range(5):
        world.tick(texts_per_hour=2)
    assert len(world.outbox("note", "kind = 'resolved'")) == 2


def _capped(world: World, **rule: Any) -> None:
    """Make a world with two texts an hour and no other channel."""
    world.rules = only("sms_failure_rate", for_=1, channels=("twilio_sms",), **rule)
    world.channels = [Recorder("twilio_sms", ("phone-1",))]
    world.begin()


def _an_hour_goes_by(world: World) -> None:
    world.run("UPDATE monitoring.notifications SET created_at = created_at - interval '61 minutes'")


def test_what_only_a_text_would_tell_is_texted_when_the_hour_allows_it(world: World) -> None:
    _capped(world)
    failed = [number for business in (1, 2, 3, 4) for number in world.failing(business)]
    assert world.tick(texts_per_hour=2).notices == {"firing": 2}
    assert world.incidents("told, held_by")[2:] == [(None, "cap of 2 texts an hour")] * 2
    assert not world.tick(texts_per_hour=2).notices
    assert len(world.outbox(where="status = 'suppressed'")) == 2, "recorded once"
    _an_hour_goes_by(world)
    assert world.tick(texts_per_hour=2).notices == {"firing": 2}
    world.report(failed, "delivered")
    told = [world.tick(texts_per_hour=2).notices for _ in range(5)]
    assert [notices for notices in told if notices] == [{"resolved": 4}]


def test_an_end_in_the_same_evaluation_costs_no_text_of_the_cap(world: World) -> None:
    _capped(world, keep_firing_for=timedelta(0))
    failed = world.failing(1)
    world.tick(texts_per_hour=2)
    world.report(failed, "delivered")
    world.failing(2)
    assert world.tick(texts_per_hour=2).notices == {"resolved": 1, "firing": 1}
    assert world.incidents("state, told") == [("resolved", "critical"), ("firing", "critical")]


def test_a_group_that_the_cap_holds_back_is_told_later_as_one(world: World) -> None:
    _capped(world)
    for business in range(1, 3):
        world.failing(business)
    assert world.tick(texts_per_hour=2).notices == {"firing": 2}
    for business in range(3, 10):
        world.failing(business)
    assert not world.tick(texts_per_hour=2).notices
    assert {scope for (scope,) in world.incidents("scope")} == {f"business:{business_id(n)}" for n in range(1, 10)}
    _an_hour_goes_by(world)
    assert world.tick(texts_per_hour=2).notices == {"firing": 1}
    assert _texts(world)[-1].startswith("🔴 7 businesses: too many texts failed at each")


def test_a_process_without_channels_enqueues_for_the_others(rated: World) -> None:
    rated.channels = [Recorder("log", ("log",))]
    rated.failing()
    rated.tick()
    rated.tick()
    assert rated.outbox("channel") == [("slack",)]


def test_a_channel_that_is_dead_is_told_by_another(world: World) -> None:
    world.rules = only("sms_failure_rate", "notifications_dead", for_=1)
    world.channels = [Recorder(), Recorder("twilio_sms", ("phone-1",))]
    world.begin()
    world.failing()
    world.tick()
    world.run("UPDATE monitoring.notifications SET status = 'dead', note = '401' WHERE channel = 'twilio_sms'")
    world.run(f"UPDATE monitoring.notifications SET finished_at = '{world.now}'")
    assert world.tick().notices == {"firing": 1}
    told = world.outbox("channel, status", "message->>'rule' = 'notifications_dead'")
    assert sorted(told) == [("slack", "pending"), ("twilio_sms", "suppressed")]


def test_two_evaluations_at_once_open_one_incident(rated: World) -> None:
    rated.rules = only("sms_failure_rate", for_=1)
    rated.failing()
    now = rated.now
    worlds = [World(rated.database, now=now, rules=rated.rules) for _ in range(4)]
    threads = [threading.Thread(target=world.tick) for world in worlds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rated.incidents()) == 1
    assert len(rated.outbox()) == 1


def test_statements_do_not_grow_with_the_businesses(world: World) -> None:
    statements = []
    event.listen(world.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    world.begin()
    counts = []
    for business in (range(1, 3), range(3, 13)):
        for number in business:
            world.failing(number)
        statements.clear()
        world.tick()
        world.tick()
        counts.append(len(statements))
    assert len(world.incidents()) > 10
    assert counts[1] <= counts[0] + 2, "reading names and details of what is told first may add a statement"


def test_no_number_of_a_person_is_in_incidents_or_outbox(world: World) -> None:
    world.rules = only("sms_failure_rate", "registration_errors", for_=1)
    world.channels = [Recorder(), Recorder("twilio_sms", ("phone-1",))]
    world.begin()
    world.failing()
    world.send(3, status="failed", error_code="30034", message_sid="", error_message="to +15558880001")
    world.tick()
    dump = str(world.database.rows("SELECT * FROM monitoring.incidents"))
    dump += str(world.database.rows("SELECT * FROM monitoring.notifications"))
    assert "Hartley" in dump
    assert "555888" not in dump
    assert "+155577700001" in dump, "the company's own number names the sender"


def _miss(world: World, count: int, *, ago: float, business: int = 1, text: str | None = None) -> None:
    """Record missed calls, each of a caller of its own; with a status, a text to each a minute later."""
    at, calls = world.now - ago * MINUTE, []
    for n in range(count):
        caller = f"+1555999{int(ago * 10):03d}{n}"
        number = f"+15557770{business:03d}"
        calls.append(
            {
                "call_sid": f"CA{business}-{ago}-{n}",
                "event_type": "voice.missed",
                "from_number": caller,
                "to_number": number,
                "business_id": business_id(business),
                "ts": at,
            }
        )
        if text:
            world.send(1, business=business, ago=(ago - 1) * MINUTE, status=text, to_number=caller)
    with world.database.engine.begin() as connection:
        insert_events(connection, {"call_events": calls})


def test_missed_calls_without_a_text_are_told_and_their_end_too(world: World) -> None:
    world.rules = only("missed_calls_unanswered")
    world.begin()
    _miss(world, 2, ago=30)
    _miss(world, 4, ago=20, text="delivered")
    _miss(world, 5, ago=0.5)
    world.tick()
    world.tick()
    assert world.incidents() == [], "two got none, and the last five are still waiting"
    _miss(world, 1, ago=31, text="undelivered")
    world.tick()
    assert world.tick().notices == {"firing": 1}
    assert _texts(world)[0].startswith(
        "🟠 Hartley Plumbing: 3 of the last hour’s 12 missed calls got no text; the first at 11:3"
    )
    world.run("UPDATE public.sms_events SET status = 'delivered' WHERE status = 'undelivered'")
    world.run("DELETE FROM public.call_events WHERE ts > '2026-03-16 11:56:00+00'")
    world.tick(5)
    world.tick(5)
    assert world.incidents("state, reason") == [("resolved", "window rolled")]


def test_a_text_on_its_way_is_no_missing_answer(world: World) -> None:
    world.rules = only("missed_calls_unanswered")
    world.begin()
    _miss(world, 9, ago=30, text="queued")
    world.tick()
    world.tick()
    assert world.incidents() == []
