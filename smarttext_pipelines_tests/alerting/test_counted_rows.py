"""A notice says what its rule counted: rows, customers, the first of them; few texts are judged by the last ones."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.alerting.incidents.counted_rows import Counted, counted_rows
from smarttext_pipelines.alerting.incidents.evaluate import Evaluated
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines_tests.alerting.test_evaluation import _miss, _spend, _texts, _use
from smarttext_pipelines_tests.alerts import MINUTE, World, business_id, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import roll_up_all

PLACE = Place(ZoneInfo("UTC"), 4, ())


@pytest.fixture
def world(database: Database) -> World:
    world = World(database)
    world.businesses(4)
    return world


def _rows(world: World, number: int) -> Counted:
    with world.database.engine.begin() as connection:
        return counted_rows(connection, number, world.rules, PLACE)


def _found(world: World) -> list[dict[str, Any]]:
    return world.database.rows("SELECT * FROM monitoring.incidents ORDER BY id")


def test_failures_that_came_as_reports_are_shown_by_message(world: World) -> None:
    world.rules = only("sms_failure_rate", for_=1)
    world.begin()
    sent = world.send(40, status="sent")
    world.report(sent[:30], "undelivered")
    world.tick()
    (incident,) = _found(world)
    rows = _rows(world, incident["id"]).rows
    assert len(rows) == 30
    assert {row["message"] for row in rows} == {f"SM{n:032x}" for n in sent[:30]}
    assert "555888" not in str(rows)


def test_missed_calls_spend_and_budgets_show_their_rows_and_a_run_its_reason(world: World) -> None:
    world.rules = only("missed_calls_unanswered", "openai_budget", "openai_spend", "pipeline_failures", for_=1)
    world.begin()
    _miss(world, 5, ago=30)
    _use(world, "104000", "100000", crossed=(100,))
    world.run(
        "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, reset_date, created_at)"
        f" SELECT 'openai', 'chat', '{business_id(1)}', 100, '2026-03-16', '2026-03-16 09:00+00'"
        " FROM generate_series(1, 3)"
    )
    _spend(world, 3, 3, 3, 30)
    world.run(
        "INSERT INTO monitoring.alert_signals (signal, scope, value, detail)"
        " VALUES ('pipeline_failures', 'run:rollup_job@2026-03-15', 1, 'the database is away')"
    )
    world.tick()
    found = {(row["rule"], row["scope"].split(":")[0]): _rows(world, row["id"]) for row in _found(world)}
    assert len(found["missed_calls_unanswered", "business"].rows) == 5
    assert "555999" not in str(found["missed_calls_unanswered", "business"].rows)
    assert len(found["openai_budget", "business"].rows) == 3
    assert len(found["openai_spend", "business"].rows) == 3
    assert found["pipeline_failures", "run"] == Counted(said="the database is away")


def _ticks(world: World, hours: int, *, every: int = 30) -> list[str]:
    told = [world.tick(every).notices for _ in range(hours * 60 // every)]
    return [kind for notices in told for kind, count in notices.items() for _ in range(count)]


def _few(world: World, *outcomes: str, hours: float = 5) -> Evaluated:
    """Send one text after the other, each to a number of its own, and evaluate after each."""
    done = Evaluated()
    for status in outcomes:
        world.now += timedelta(hours=hours)
        failed = status == "undelivered"
        world.send(1, ago=timedelta(0), status=status, error_code="30003" if failed else None)
        world.now += MINUTE
        day = world.now.date()
        roll_up_all(world.database.engine, DayRange(day - timedelta(days=1), day), as_of=world.now)
        done = world.tick(1)
    return done


def test_five_texts_in_a_row_that_fail_are_told_whatever_a_business_sends(world: World) -> None:
    world.rules = only("sms_failure_rate")
    world.begin()
    _few(world, "delivered", "delivered")
    assert not _few(world, *["undelivered"] * 4).notices
    assert _few(world, "undelivered").notices == {"firing": 1}
    assert "Hartley Plumbing: 5 of the last 5 texts failed; the first at" in _texts(world)[0]
    (incident,) = _found(world)
    assert len(_rows(world, incident["id"]).rows) == 5


def test_five_failures_to_one_number_are_one_persons_trouble(world: World) -> None:
    world.rules = only("sms_failure_rate")
    world.begin()
    world.send(7, status="undelivered", error_code="30003", to_number="+15558880001")
    world.send(1, business=2)
    assert not world.tick().notices
    assert not world.tick().notices


def test_a_repaired_business_with_few_texts_is_over_and_repeats_nothing(world: World) -> None:
    world.rules = only("sms_failure_rate")
    world.begin()
    _few(world, "delivered", *["undelivered"] * 6)
    world.run("UPDATE monitoring.notifications SET status = 'sent', finished_at = created_at")
    told = [_few(world, "delivered", hours=4).notices for _ in range(5)]
    told += [world.tick(5).notices for _ in range(3)]
    assert [notices for notices in told if notices] == [{"resolved": 1}]
    assert _found(world)[0]["reason"].startswith("recovered: 5 texts arrived since the last failure")


def test_without_any_text_for_a_day_it_ends_and_says_so(world: World) -> None:
    world.rules = only("sms_failure_rate")
    world.begin()
    _few(world, "delivered", *["undelivered"] * 6)
    world.run("UPDATE monitoring.notifications SET status = 'sent', finished_at = created_at")
    assert _ticks(world, 30, every=120) == ["resolved"]
    assert _found(world)[0]["reason"] == "no outcome for 24 hours"


def test_a_notice_says_its_window_and_times_in_the_reporting_zone(world: World) -> None:
    world.rules = only("registration_errors")
    world.begin()
    world.send(3, ago=40 * MINUTE, status="failed", error_code="30034", sender="+15557779999")
    world.send(9, ago=10 * MINUTE, status="undelivered", error_code="30007", sender="+15557779999")
    world.tick()
    (text,) = _texts(world)
    assert (
        "3 texts in the last 6 hours were refused because the sender is not registered; the first at 11:21 UTC" in text
    )
    assert "Customers affected: 3 callers, who got no text at all." in text
    assert "Why: 3 × sender is not registered (30034)." in text
    assert "Not counted here: 9 texts that failed for other reasons." in text
    assert "Businesses: Hartley Plumbing 3." in text


def test_what_can_wait_for_the_morning_waits_and_checks_of_one_evaluation_are_one_notice(world: World) -> None:
    world.rules = only("failed_checks")
    world.now = datetime(2026, 3, 16, 2, 0, tzinfo=UTC)
    world.begin()
    for name in ("coverage", "late_reports", "unattributed_share"):
        world.run(
            "INSERT INTO monitoring.alert_signals (signal, scope, value, detail) VALUES"
            f" ('failed_checks', 'check:sms_outcomes.{name}@2026-03-15', 1, '3 of 7 messages on 2026-03-15 are odd')"
        )
    assert not world.tick().notices
    world.now = datetime(2026, 3, 16, 7, 0, tzinfo=UTC)
    assert world.tick(1).notices == {"firing": 1}
    assert _texts(world)[-1].startswith(
        "🔵 3 checks: failed in one evaluation\nCheck sms_outcomes coverage, 2026-03-15: 3 of"
    )
