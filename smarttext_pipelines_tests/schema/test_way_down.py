"""What adopting changed can be taken back: the application has what it had, and may be adopted again."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.errors import InputError, SchemaError, SmartTextError
from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.adoption.take_off import down_sql, down_to_application
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.schema.migrate import find_drift, make_roles, migrate
from smarttext_pipelines_tests import application as app
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import roll_up_all
from smarttext_pipelines_tests.legacy import DAYS, EVENT_TABLES, add_history, catalog, install_legacy
from smarttext_pipelines_tests.schema.test_adoption_plan import SORTED, as_found, decline, own_role
from smarttext_pipelines_tests.schema.test_application import answers
from smarttext_pipelines_tests.worlds import pg_dump

__all__ = ["own_role"]
UTC = ZoneInfo("UTC")
INSTALLS = [app.install_open, app.install_with_policies, app.install_closed, install_legacy]
DAILY = "SELECT date, business_id, messages_sent FROM public.daily_stats ORDER BY 1, 2, 3"
COMMENTED = """
COMMENT ON TABLE public.sms_events IS 'mine';
COMMENT ON COLUMN public.api_usage.model IS 'mine';
COMMENT ON VIEW public.openai_daily_usage IS 'mine';
COMMENT ON FUNCTION public.update_daily_stats(uuid, date) IS 'it''s mine'
"""


def down(database: Database, *, drop_monitoring: bool = False) -> list[Change]:
    shown: list[Change] = []
    changed = down_to_application(database.engine, shown.extend, lock_timeout="5s", drop_monitoring=drop_monitoring)
    assert shown == changed
    return changed


def hashes(database: Database) -> dict[str, Any]:
    tables = ("businesses", *EVENT_TABLES)
    query = "SELECT count(*) AS rows, md5(string_agg(t::text, '|' ORDER BY id)) AS hash FROM public.{} AS t"
    return {table: database.rows(query.format(table))[0] for table in tables}


def dumped(database: Database) -> list[str]:
    """Return the lines of ``pg_dump -s`` of ``public``, sorted; without what names the dump itself."""
    return sorted(
        line.rstrip(",") for line in pg_dump(database, "-n", "public").splitlines() if line and not line.startswith(("--", "\\"))
    )


@pytest.fixture
def database(empty_database: Database) -> Database:
    """Commands run here before anything was migrated."""
    return empty_database


@pytest.fixture(params=INSTALLS)
def application(request: pytest.FixtureRequest, empty_database: Database) -> Database:
    """The application's database with history, comments, sorted views and our optional roles."""
    request.param(empty_database)
    empty_database.run("DELETE FROM public.businesses")
    add_history(empty_database)
    for view, definition in SORTED.items():
        empty_database.run(f"DROP VIEW public.{view}; CREATE VIEW public.{view} AS {definition}")
    empty_database.run(COMMENTED)
    make_roles(empty_database.engine)
    return empty_database


@pytest.mark.parametrize("drops", [False, True], ids=["kept", "dropped"])
def test_the_application_has_what_it_had(application: Database, drops: bool) -> None:
    before = (hashes(application), dumped(application), catalog(application, "public"), as_found(application))
    migrate(application.engine, UTC)
    assert dumped(application) != before[1]
    down(application, drop_monitoring=drops)
    after = (hashes(application), dumped(application), catalog(application, "public"), as_found(application))
    assert after[0] == before[0]
    assert after[1] == before[1]
    assert {str(row) for row in after[2]} == {str(row) for row in before[2]}
    assert after[3] == before[3]
    assert bool(application.rows("SELECT FROM pg_namespace WHERE nspname = 'monitoring'")) is not drops
