"""What nobody touches is repeated only while there is news, and ends when it says nothing any more."""

from collections import Counter
from datetime import timedelta

import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines_tests.alerting.test_evaluation import _spend, _use
from smarttext_pipelines_tests.alerting.test_metric_registry import _owner_alerts
from smarttext_pipelines_tests.alerts import NOON, World, business_id, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import roll_up_all

HOURS = 60


@pytest.fixture
def world(database: Database) -> World:
    world = World(database)
    world.businesses(3)
    return world


def _told(world: World, *, days: int, every: int = 6, fresh: bool = False) -> Counter[str]:
    """Evaluate for so many days while everything is sent at once; return the notices by kind."""
    told: Counter[str] = Counter()
    for _ in range(days * 24 // every):
        if fresh:
            day = world.now.date()
            roll_up_all(world.database.engine, DayRange(day - timedelta(days=1), day), as_of=world.now)
        told.update(world.tick(every * HOURS).notices)
        _all_sent(world)
    return told


def _all_sent(world: World) -> None:
    sent = f"status = 'sent', finished_at = '{world.now}'"
    world.run(f"UPDATE monitoring.notifications SET {sent} WHERE status = 'pending'")


def test_a_business_that_closed_is_told_once_and_over_when_nothing_is_usual_any_more(world: World) -> None:
    world.rules = only("event_silence")
    world.begin()
    for business, days in ((1, 0), (2, 12)):
        world.run(
            "INSERT INTO public.sms_events (id, business_id, from_number, to_number, status, created_at)"
            f" SELECT gen_random_uuid(), '{business_id(business)}', '', '', 'delivered', at FROM generate_series("
            f" timestamptz '{NOON}' - interval '35 days', timestamptz '{NOON}' + interval '{days} days',"
            " interval '10 minutes') AS g (at)"
        )
    assert _told(world, days=6) == {"firing": 1}
    assert _told(world, days=3) == {"resolved": 1}
    assert world.incidents("reason") == [("nothing is usual any more after 7 days of silence",)]
    assert not _told(world, days=3)


def test_an_hour_in_which_nothing_is_usual_ends_no_silence(world: World) -> None:
    world.rules = only("event_silence", for_=1)
    world.begin()
    for weeks in (1, 2, 3, 4):
        world.send(30, ago=timedelta(weeks=weeks, hours=1))
    assert world.tick().notices == {"firing": 1}
    assert not _told(world, days=2)
    assert world.incidents("state") == [("firing",)]


def test_owner_alerts_that_failed_are_over_when_there_are_none_any_more(world: World) -> None:
    world.rules = only("owner_alerts_undelivered", for_=1)
    world.begin()
    _owner_alerts(world, is_bad=True)
    assert world.tick().notices == {"firing": 1}
    assert _told(world, days=10, every=12, fresh=True) == {"resolved": 1}
    assert world.incidents("reason") == [("too few owner alerts for 24 hours",)]


def test_missing_facts_end_no_incident_of_owner_alerts(world: World) -> None:
    world.rules = only("owner_alerts_undelivered", for_=1)
    world.begin()
    _owner_alerts(world, is_bad=True)
    assert world.tick().notices == {"firing": 1}
    assert not _told(world, days=3, every=12)
    assert world.incidents("state") == [("firing",)]


def test_a_failed_run_that_nobody_touches_is_told_once_and_again_when_it_fails_again(world: World) -> None:
    world.rules = only("pipeline_failures")
    world.begin()
    signal = "INSERT INTO monitoring.alert_signals (signal, scope, value, detail, told_at) VALUES"
    world.run(f"{signal} ('pipeline_failures', 'run:rollup_job@2026-03-15', 1, 'away', '{world.now}')")
    assert _told(world, days=7) == {"firing": 1}
    world.run(f"UPDATE monitoring.alert_signals SET told_at = '{world.now}', detail = 'away again'")
    assert _told(world, days=1) == {"repeat": 1}


def test_checks_that_fail_together_are_told_once(world: World) -> None:
    world.rules = only("failed_checks", notify="always", repeat_interval=timedelta(hours=4))
    world.begin()
    for day in (13, 14, 15):
        world.run(
            "INSERT INTO monitoring.alert_signals (signal, scope, value, detail, told_at)"
            f" VALUES ('failed_checks', 'check:spend.agrees@2026-03-{day}', 1, 'off by one', '{world.now}')"
        )
    assert _told(world, days=7) == {"firing": 1}
    assert len(world.incidents()) == 4, "one for each day, and the group"


def test_notifications_that_were_given_up_are_told_once(world: World) -> None:
    world.rules = only("notifications_dead", repeat_interval=timedelta(minutes=5))
    world.begin()
    world.run(
        "INSERT INTO monitoring.notifications (incident_id, sequence, kind, severity, channel, recipient, message,"
        " status, note, deadline_at, finished_at)"
        f" VALUES (7, 1, 'firing', 'warning', 'slack', 'C1', '{{}}', 'dead', '401', now(), '{world.now}')"
    )
    told: Counter[str] = Counter()
    for _ in range(5):
        told.update(world.tick(10).notices)
        _all_sent(world)
    assert told == {"firing": 1}


def test_rules_in_error_are_repeated_once_a_day(world: World) -> None:
    world.rules = only("rules_in_error", "openai_budget")
    world.begin()
    world.run("ALTER TABLE monitoring.budget_crossings RENAME TO away")
    assert _told(world, days=3) == {"firing": 1, "repeat": 2}


def test_a_budget_and_a_spend_at_which_nothing_is_used_any_more_are_told_once(world: World) -> None:
    world.rules = only("openai_budget", "openai_spend", for_=1)
    world.now = NOON.replace(hour=1)
    world.begin()
    _use(world, "85000", "100000", crossed=(80,))
    _spend(world, 3, 3, 3, 30)
    world.run(f"UPDATE monitoring.budget_crossings SET crossed_at = '{world.now}'")
    world.run(f"UPDATE monitoring.spend SET updated_at = '{world.now}'")
    told: Counter[str] = Counter()
    for _ in range(4):
        told.update(world.tick(5 * HOURS).notices)
        _all_sent(world)
    assert told == {"firing": 2}
