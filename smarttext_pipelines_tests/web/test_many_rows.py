"""Pages of a large installation: a count is the true one whatever a table shows, and one business costs one row."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from smarttext_pipelines.alerting.incidents.review import SHOWN
from smarttext_pipelines.budgets.ledger import read_budgets
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.web.conftest import ADDRESS

OPEN, OVER, BUDGETS = SHOWN + 37, 3, 50
_INCIDENT = """
    INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, fired_at, resolved_at,
                                      evaluated_at)
    SELECT 'sms_failure_rate', 'business:' || md5(n::text)::uuid, md5(n::text)::uuid, %s, %s, now(), now(), {over},
           now()
    FROM generate_series(%s::int, %s::int) AS n
"""


@pytest.fixture
def large(database: Database) -> Iterator[tuple[Database, TestClient]]:
    """Return a database with more open incidents than a table shows, and budgets of many businesses."""
    database.run(f"INSERT INTO public.businesses (id, name) SELECT md5(n::text)::uuid, 'b' || n FROM {_series(OPEN)}")
    open_, over = _INCIDENT.format(over="NULL"), _INCIDENT.format(over="now()")
    database.run(open_, "firing", "critical", 1, 5)
    database.run(open_, "recovering", "warning", 6, OPEN)
    database.run(over, "resolved", "critical", 1, OVER)
    database.run(
        "INSERT INTO monitoring.openai_budgets (business_id, day, used_tokens, limit_tokens)"
        f" SELECT md5(n::text)::uuid, monitoring.today(), n, 1000 FROM {_series(BUDGETS)}"
    )
    database.run("INSERT INTO monitoring.openai_budgets (day, used_tokens) VALUES (monitoring.today(), 7)")
    settings = database.settings()
    app = build_app(database.engine, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS) as client:
        yield database, client


def _series(most: int) -> str:
    return f"generate_series(1, {most}) AS n"


def _table(client: TestClient, address: str, name: str) -> dict[str, Any]:
    tables = client.get(f"/api/v1{address}").json()["tables"]
    found: dict[str, Any] = next(table for table in tables if table["name"] == name)
    return found


def test_more_incidents_than_a_table_shows_are_all_counted_and_the_table_says_so(
    large: tuple[Database, TestClient],
) -> None:
    database, client = large
    incidents = client.get("/api/v1/incidents").json()
    assert incidents["headline"] == f"{OPEN} incidents open"
    assert incidents["tone"] == "bad"
    assert client.get("/api/v1/").json()["headline"] == "5 critical incidents open"
    for address in ("/", "/incidents"):
        table = _table(client, address, "open")
        assert len(table["rows"]) == SHOWN
        assert table["title"] == f"Open incidents, the first {SHOWN} of {OPEN}"
        assert [row["severity"] for row in table["rows"]].count("critical firing") == 5
        assert f"the first {SHOWN} of {OPEN}" in client.get(address).text
    assert len(_table(client, "/incidents", "past")["rows"]) == OVER, "what is open hides nothing that is over"
    metrics = client.get("/metrics").text
    assert 'smarttext_incidents{severity="critical"} 5.0' in metrics
    assert f'smarttext_incidents{{severity="warning"}} {OPEN - 5}.0' in metrics
    database.run("UPDATE monitoring.incidents SET severity = 'warning' WHERE state = 'firing'")
    assert client.get("/api/v1/").json()["headline"] == f"{OPEN} incidents open"
    database.run("DELETE FROM monitoring.incidents WHERE business_id IN (SELECT id FROM public.businesses LIMIT 50)")
    assert _table(client, "/incidents", "open")["title"] == "Open incidents", "a whole table says nothing of a part"


def test_the_page_of_one_business_reads_no_budget_of_another(large: tuple[Database, TestClient]) -> None:
    database, client = large
    read: list[int] = []

    def note(_connection: object, cursor: Any, statement: str, *_more: object) -> None:
        if "monitoring.openai_budgets" in statement:
            read.append(cursor.rowcount)

    with database.engine.connect() as connection:
        every = read_budgets(connection)
        assert len(every) == BUDGETS + 1
        for use in every:
            assert read_budgets(connection, use.business_id) == [use]
        assert read_budgets(connection, UUID(int=9)) == []
        connection.rollback()
    event.listen(database.engine, "after_cursor_execute", note)
    for use in (every[0], every[-1]):
        rows = _table(client, f"/businesses/{use.business_id or 'none'}", "budgets")["rows"]
        assert [int(row["used_tokens"]) for row in rows] == [use.used_tokens]
    assert read == [1, 1]
