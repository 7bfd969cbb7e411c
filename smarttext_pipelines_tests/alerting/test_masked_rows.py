"""Who may not read events sees the rows that a rule counted as the owner does, through functions that mask numbers."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from smarttext_pipelines.alerting.incidents.counted_rows import Counted, counted_rows
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.explain.masked_span import masked_engine
from smarttext_pipelines.schema.migrate import make_roles, migrate
from smarttext_pipelines_tests.alerting.test_evaluation import _miss, _spend
from smarttext_pipelines_tests.alerts import MINUTE, OWN_NUMBER, World, business_id, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events, roll_up_all
from smarttext_pipelines_tests.schema.test_roles import logged_in

SHARED, OTHER_SHARED = "+15557779999", "+15557779111"
PLACE = Place(ZoneInfo("UTC"), 4, (SHARED, OTHER_SHARED))


@pytest.fixture
def world(database: Database) -> World:
    world = World(database)
    world.businesses(5)
    make_roles(database.engine)
    migrate(database.engine, ZoneInfo("UTC"))
    return world


@pytest.fixture
def reader(world: World) -> Iterator[Engine]:
    with logged_in(world.database, "smarttext_reader") as engine:
        yield engine


def _rows(engine: Engine, world: World, number: int) -> Counted:
    with engine.begin() as connection:
        return counted_rows(connection, number, world.rules, PLACE, masked_engine)


def _agree(world: World, reader: Engine, rules: set[str]) -> None:
    """Require that both roles see the same rows of every incident, and that there are incidents of these rules."""
    incidents = world.database.rows("SELECT id, rule, scope, part FROM monitoring.incidents ORDER BY id")
    assert {row["rule"] for row in incidents} >= rules, incidents
    for incident in incidents:
        told, whole = _rows(reader, world, incident["id"]), _rows(world.database.engine, world, incident["id"])
        assert whole.rows, incident
        columns = told.rows[0].keys() if told.rows else ()
        assert list(told.rows) == [{name: row[name] for name in columns} for row in whole.rows], incident
        assert told.said == whole.said
        for number in ("555888", "555999", "555777", "555000"):
            assert number not in str(told.rows)


def test_texts_of_a_business_of_senders_and_of_the_platform(world: World, reader: Engine) -> None:
    world.rules = only(
        "sms_failure_rate", "sms_failure_rate_sender", "sms_failure_rate_platform", "registration_errors", for_=1
    )
    world.begin()
    world.failing(1, 30, 20)
    sent = world.send(40, business=2, status="sent")
    world.report(sent[:30], "undelivered")
    for sender in (SHARED, OTHER_SHARED, f"{OWN_NUMBER}0004"):
        for business in (3, 4):
            world.send(20, business=business, sender=sender, status="failed", error_code="30034")
    world.tick()
    scopes = world.database.rows("SELECT DISTINCT split_part(scope, ':', 1) AS kind FROM monitoring.incidents")
    assert {row["kind"] for row in scopes} >= {"business", "sender", "platform"}
    _agree(world, reader, {"sms_failure_rate", "registration_errors"})


def test_the_last_texts_of_a_business_that_sends_few(world: World, reader: Engine) -> None:
    world.rules = only("sms_failure_rate", for_=1)
    world.begin()
    for hours in (50, 40, 30, 20, 10, 1):
        world.send(1, ago=timedelta(hours=hours), status="undelivered", error_code="30003")
    day = world.now.date()
    roll_up_all(world.database.engine, DayRange(day - timedelta(days=3), day), as_of=world.now)
    world.tick()
    _agree(world, reader, {"sms_failure_rate"})


def test_missed_calls_usage_and_owner_alerts(world: World, reader: Engine) -> None:
    world.rules = only("missed_calls_unanswered", "openai_spend", "owner_alerts_undelivered", for_=1)
    world.begin()
    _miss(world, 5, ago=30)
    _miss(world, 3, ago=20, text="delivered")
    world.run(
        "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, reset_date, created_at)"
        f" SELECT 'openai', 'chat', '{business_id(1)}', 100, '2026-03-16', '2026-03-16 09:00+00'"
        " FROM generate_series(1, 3)"
    )
    _spend(world, 3, 3, 3, 30)
    alerts: list[dict[str, Any]] = [
        {
            "id": uuid4(), "business_id": business_id(1), "owner_phone": f"+155500011{n:02d}",
            "customer_phone": "+15550002222", "message_content": "", "alert_type": "missed_call",
            "message_sid": f"SMowner{n}", "delivered": n % 3 == 0, "created_at": world.now - (10 + n) * MINUTE,
        }
        for n in range(40)
    ]  # fmt: skip
    with world.database.engine.begin() as connection:
        insert_events(connection, {"owner_alerts": alerts})
    world.tick()
    _agree(world, reader, {"missed_calls_unanswered", "openai_spend", "owner_alerts_undelivered"})
