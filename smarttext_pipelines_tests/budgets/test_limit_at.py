"""When a limit will be reached follows from the hours of the week in which the business uses OpenAI."""

from datetime import UTC, datetime, timedelta
from statistics import median
from uuid import UUID

import pytest
from sqlalchemy import text

from smarttext_pipelines.budgets import limit_forecast
from smarttext_pipelines.sample.load import load_sample
from smarttext_pipelines_tests.budgets import limit_at_study
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.guardrail import add_businesses

MONDAY = datetime(2026, 3, 9, tzinfo=UTC)
_TODAY = """
CREATE OR REPLACE FUNCTION monitoring.today() RETURNS date LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$ SELECT date '2026-03-09' $$
"""
_USE = """
INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, created_at)
VALUES ('openai', 'chat', %s, %s, %s)
"""


@pytest.fixture
def business(database: Database) -> UUID:
    """A business that uses 100 tokens from 9 to 10 and 300 from 15 to 16 on each of 28 days."""
    database.run(_TODAY)
    (business,) = add_businesses(database, 1)
    for ago in range(1, 29):
        for hour, tokens in ((9, 100), (15, 300)):
            database.run(_USE, business, tokens, MONDAY - timedelta(days=ago) + timedelta(hours=hour, minutes=30))
    learn(database)
    return business


def learn(database: Database) -> None:
    with database.engine.begin() as connection:
        limit_forecast.learn_hours(connection)


def forecast(database: Database, business: UUID, used: int, allowed: int, at: datetime) -> datetime | None:
    budgets = (
        "SELECT CAST(:business AS uuid) AS business_key, date '2026-03-09' AS day, CAST(:used AS numeric) AS used, "
        "CAST(:allowed AS numeric) AS allowed, CAST(:at AS timestamptz) AS at"
    )
    statement = limit_forecast.REACHED_AT.format(budgets=budgets, prior=limit_forecast.PRIOR)
    values = {"business": business, "used": used, "allowed": allowed, "at": at}
    with database.engine.connect() as connection:
        found = connection.execute(text(statement), values).one_or_none()
    return found.reached_at if found else None


def test_a_limit_is_reached_in_an_hour_in_which_the_business_works(database: Database, business: UUID) -> None:
    at = MONDAY + timedelta(hours=11)
    assert forecast(database, business, 100, 250, at) == MONDAY + timedelta(hours=15, minutes=30)
    assert forecast(database, business, 100, 400, at) == MONDAY + timedelta(hours=16)
    assert forecast(database, business, 100, 401, at) is None


def test_a_day_that_was_busier_so_far_goes_on_so(database: Database, business: UUID) -> None:
    at = MONDAY + timedelta(hours=11)
    # In the hour of 300 tokens (200 + 0.3 × 400) / (100 + 0.3 × 400) times as many: 300 are used in 41 minutes.
    found = forecast(database, business, 200, 500, at)
    assert found is not None
    assert abs(found - (MONDAY + timedelta(hours=15, minutes=41.25))) < timedelta(seconds=1)


def test_hours_are_learnt_once_a_day(database: Database, business: UUID) -> None:
    before = database.rows("SELECT * FROM monitoring.openai_hours ORDER BY 1, 2, 3")
    assert len(before) == 14
    database.run(_USE, business, 5000, MONDAY - timedelta(hours=3))
    learn(database)
    assert database.rows("SELECT * FROM monitoring.openai_hours ORDER BY 1, 2, 3") == before
    database.run(_TODAY.replace("03-09", "03-10"))
    learn(database)
    assert {row["hour"] for row in database.rows("SELECT hour FROM monitoring.openai_hours")} == {9, 15, 21}


def test_a_business_without_hours_of_its_own_has_no_such_forecast(database: Database, business: UUID) -> None:
    assert forecast(database, UUID(int=9), 100, 250, MONDAY + timedelta(hours=11)) is None


def test_on_the_sample_hours_of_the_week_are_nearer_than_a_straight_line(server: Server, template: str) -> None:
    with fresh_database(server, template) as database:
        load_sample(database.url, limit_at_study.SPEC)
        found = limit_at_study.errors(database)
    medians = {way: median(minutes) for way, minutes in found.items()}
    assert len(found["as shown"]) > 100
    assert medians["as shown"] < 0.7 * medians["straight line"], medians
    assert medians["as shown"] < medians["last hour"], medians
