"""A database with every peculiarity of three days, rolled up, and the dashboard over it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import replace_events, roll_up_all

DAY = date(2026, 3, 10)
NOW = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[Database]:
    """Return a database that the tests of a module share, and read only."""
    with fresh_database(server, template) as found:
        replace_events(found.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
        days = DayRange(DAY - timedelta(days=2), DAY)
        roll_up_all(found.engine, days, shared_senders=sorted(strategies.SHARED_SENDERS), as_of=NOW)
        yield found


@pytest.fixture
def settings(world: Database) -> Settings:
    return world.settings(shared_senders=",".join(sorted(strategies.SHARED_SENDERS)))


@pytest.fixture
def client(world: Database, settings: Settings) -> Iterator[TestClient]:
    app = build_app(world.engine, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS, follow_redirects=False) as found:
        yield found
