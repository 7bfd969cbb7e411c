"""Under ``/api/v1`` a program never gets a page: every error is one line of JSON with the right status."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.openapi import openapi_document
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.web.conftest import ADDRESS

NOBODY = "00000000-0000-0000-0000-0000000000ff"


def _error(answer: Any, status: int) -> str:
    """Return the line of an error, after looking at its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert [*answer.json()] == ["error"]
    said: str = answer.json()["error"]
    assert said
    assert "\n" not in said
    assert "<" not in said
    return said


@pytest.mark.parametrize("as_csv", ["", "format=csv&table=days"])
@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/digest?date=tomorrow", 400, "no date"),
        ("/delivery?from=2020-01-01", 400, "range"),
        ("/businesses/me", 400, "no id"),
        (f"/businesses/{NOBODY}", 404, "no business"),
        ("/incidents/999", 404, "INC-999"),
        ("/explain/nothing", 404, "cannot be explained"),
        ("/nowhere", 404, "no page /api/v1/nowhere"),
    ],
)
def test_a_wrong_address_is_one_line_of_json_also_where_csv_is_asked_for(
    client: TestClient, address: str, status: int, said: str, as_csv: str
) -> None:
    asked = f"{address}{'&' if '?' in address else '?'}{as_csv}"
    assert said in _error(client.get(f"/api/v1{asked}"), status)
    # What people see is a page, as before.
    page = client.get(address)
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")


def test_an_unknown_table_and_a_form_that_is_sent_are_errors_of_the_api(client: TestClient) -> None:
    assert "no table" in _error(client.get("/api/v1/delivery?format=csv&table=nothing"), 404)
    _error(client.post("/api/v1/delivery"), 405)
    _error(client.get("/api/v1/delivery", headers={"host": "evil.example"}), 421)


def test_who_may_not_see_is_told_so_in_json(world: Database) -> None:
    token = world.settings(web_auth="token", web_viewer_token="v" * 16, web_operator_token="o" * 16)
    proxy = world.settings(web_auth="proxy", web_proxies="10.0.0.0/24", web_url=ADDRESS)
    for settings, status in ((token, 401), (proxy, 403)):
        app = build_app(world.engine, settings, access_of(settings, "127.0.0.1"))
        with TestClient(app, base_url=ADDRESS, follow_redirects=False) as visitor:
            for address in ("/", "/delivery?format=csv&table=days", "/nowhere", "/openapi.json"):
                _error(visitor.get(f"/api/v1{address}"), status)


def test_a_database_that_is_away_is_503_and_no_old_number(world: Database, settings: Settings) -> None:
    away = open_engine("postgresql+psycopg://x@127.0.0.1:9/x")
    app = build_app(away, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS) as visitor:
        for asked in ("", "?format=csv&table=days"):
            assert "cannot be used" in _error(visitor.get(f"/api/v1/delivery{asked}"), 503)
    app = build_app(world.engine, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS) as visitor:
        # Both are kept.
        assert visitor.get("/api/v1/delivery").status_code == 200
        assert visitor.get("/api/v1/delivery?format=csv&table=days").status_code == 200
        app.state.reader._engine = away
        for asked in ("", "?format=csv&table=days"):
            assert "cannot be reached since" in _error(visitor.get(f"/api/v1/delivery{asked}"), 503)


def test_a_fault_of_ours_says_nothing_of_itself(
    world: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = build_app(world.engine, settings, access_of(settings, "127.0.0.1"))

    def fail(*_args: object) -> None:
        msg = "a secret"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(app.state.reader, "read", fail)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as visitor:
        assert "secret" not in _error(visitor.get("/api/v1/delivery"), 500)


def test_the_document_says_what_errors_look_like() -> None:
    document = openapi_document()
    assert document["components"]["schemas"]["Error"]["required"] == ["error"]
    for described in document["paths"].values():
        answers = described["get"]["responses"]
        assert {"400", "401", "403", "404", "503"} <= {*answers}
        schemas = [answers[status]["content"]["application/json"]["schema"] for status in answers if status != "200"]
        assert all(schema == {"$ref": "#/components/schemas/Error"} for schema in schemas)
