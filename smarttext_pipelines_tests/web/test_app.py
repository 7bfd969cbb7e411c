"""Who gets in, what comes out: headers, forms, forged names, hostile names, and a database that is away."""

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from smarttext_pipelines.core.errors import DatabaseError, SettingsError
from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.schema.migrate import make_roles, migrate
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.openapi import openapi_document
from smarttext_pipelines.web.pages import PAGES
from smarttext_pipelines.web.rendering import STATIC
from smarttext_pipelines.web.sign_in import COOKIE, access_of
from smarttext_pipelines.web.view import Ask, Page, View
from smarttext_pipelines.web.view_reader import Reader
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.schema.test_roles import logged_in
from smarttext_pipelines_tests.web.conftest import ADDRESS, DAY

HOSTILE = '<script>alert(1)</script> <!channel> =cmd|x \u202e javascript:alert(2) &amp; "quoted"'
VIEWER, OPERATOR = "v" * 16, "o" * 16
ADDRESSES = [page.route.format(number=1, business="none", column="messages_sent", sid="SM1") for page in PAGES]


@pytest.fixture
def acting(database: Database) -> Iterator[tuple[Database, TestClient]]:
    """Return a database with an incident and a hostile business, and the dashboard of its own user."""
    settings = database.settings()
    database.run("INSERT INTO public.businesses (id, name) VALUES (md5('b')::uuid, %s)", HOSTILE)
    database.run(
        "INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, fired_at, evaluated_at)"
        " VALUES ('sms_failure_rate', 'business:' || md5('b')::uuid, md5('b')::uuid, 'firing', 'critical', now(),"
        " now(), now())"
    )
    with _client(database, settings) as client:
        yield database, client


def _client(database: Database, settings: Settings, host: str = "127.0.0.1", **options: Any) -> TestClient:
    app = build_app(database.engine, settings, access_of(settings, host))
    return TestClient(app, base_url=ADDRESS, follow_redirects=False, **options)


def _form_token(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found
    return found[1]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_answers_with_its_headers_as_html_and_json(client: TestClient, address: str) -> None:
    page = client.get(address)
    assert page.status_code in (200, 404), address
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    # Nothing of another host is named, and nothing runs that the policy would stop.
    assert not re.search(r"<script(?! src=\"/static/)|<style|style=|onclick=|src=\"http", page.text)
    assert "Traceback" not in page.text
    data = client.get(f"/api/v1{address}")
    assert data.status_code == page.status_code
    if page.status_code == 200:
        assert data.json()["title"]


def test_every_table_of_a_page_is_csv_with_exact_numbers(client: TestClient) -> None:
    tables = client.get("/api/v1/delivery", params={"from": str(DAY), "to": str(DAY)}).json()["tables"]
    assert len(tables) >= 3
    for table in tables:
        answer = client.get(
            "/api/v1/delivery", params={"from": str(DAY), "to": str(DAY), "format": "csv", "table": table["name"]}
        )
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(rows) == len(table["rows"]), table["name"]
        for row, shown in zip(rows, table["rows"], strict=True):
            assert all(row[c["key"]].lstrip("'") == _plain(shown[c["key"]]) for c in table["columns"])
    assert client.get("/api/v1/delivery?format=csv&table=nothing").status_code == 404


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def test_the_document_describes_every_page() -> None:
    document = openapi_document()
    assert set(document["paths"]) == {f"/api/v1{page.route}" for page in PAGES}
    assert "IncidentView" in document["components"]["schemas"]


def test_a_hostile_name_is_text_on_every_page_and_no_formula(acting: tuple[Database, TestClient]) -> None:
    database, client = acting
    database.run(
        "INSERT INTO public.daily_stats (business_id, date, messages_sent) VALUES (md5('b')::uuid, current_date, 1)"
    )
    identity = database.rows("SELECT md5('b')::uuid AS id")[0]["id"]
    for address in ("/", "/incidents", "/incidents/1", "/businesses", f"/businesses/{identity}"):
        page = client.get(address).text
        assert "<script>alert" not in page, address
        assert "\u202e" not in page, address
        assert "&lt;script&gt;alert" in page, address
        assert "javascript:alert(2)&#34;" not in re.sub(r">[^<]*<", "><", page), address
    named = client.get("/api/v1/businesses?format=csv&table=businesses").text
    assert "\n=" not in named
    database.run("UPDATE public.businesses SET name = '=1+1'")
    assert "'=1+1" in client.get("/api/v1/businesses?format=csv&table=businesses").text


def test_a_person_acknowledges_silences_and_grants_under_that_name(acting: tuple[Database, TestClient]) -> None:
    database, client = acting
    token = _form_token(client.get("/incidents/1").text)
    own = {"origin": ADDRESS}
    assert client.post("/incidents/1/acknowledge", data={"csrf": token}, headers=own).status_code == 303
    done = client.post("/incidents/1/silence", data={"csrf": token, "for": "2h", "reason": "known"}, headers=own)
    assert done.headers["location"] == "/incidents/1"
    (incident,) = database.rows("SELECT acknowledged_by FROM monitoring.incidents")
    (silence,) = database.rows("SELECT rule, author, reason FROM monitoring.silences")
    assert (silence["rule"], silence["reason"]) == ("sms_failure_rate", "known")
    assert incident["acknowledged_by"] == silence["author"] != ""
    assert client.post("/silences/1/end", data={"csrf": token}, headers=own).status_code == 303
    assert database.rows("SELECT 1 FROM monitoring.silences WHERE ends_at > now()") == []
    identity = database.rows("SELECT md5('b')::uuid AS id")[0]["id"]
    form = {"csrf": token, "id": "once", "tokens": "500", "reason": "a big day"}
    for _twice in range(2):
        assert client.post(f"/budgets/{identity}/grant", data=form, headers=own).status_code == 303
    assert [row["tokens"] for row in database.rows("SELECT tokens FROM monitoring.openai_grants")] == [500]


@pytest.mark.parametrize(
    ("form", "headers", "status"),
    [
        ({}, {"origin": ADDRESS}, 403),
        ({"csrf": "0" * 64}, {"origin": ADDRESS}, 403),
        ({"csrf": "right"}, {"origin": "http://evil.example"}, 403),
        ({"csrf": "right"}, {}, 403),
        ({"csrf": "right"}, {"origin": ADDRESS, "host": "evil.example"}, 421),
        ({"csrf": "right", "for": "-1h", "reason": "x"}, {"origin": ADDRESS}, 400),
        ({"csrf": "right", "for": "2h", "reason": " "}, {"origin": ADDRESS}, 400),
    ],
)
def test_what_does_not_come_from_a_form_of_our_own_changes_nothing(
    acting: tuple[Database, TestClient], form: dict[str, str], headers: dict[str, str], status: int
) -> None:
    database, client = acting
    token = _form_token(client.get("/incidents/1").text)
    form = {name: token if value == "right" else value for name, value in form.items()}
    assert client.post("/incidents/1/silence", data=form, headers=headers).status_code == status
    assert database.rows("SELECT 1 FROM monitoring.silences") == []
    assert status == 400 or client.app.state.access.refused.total() == 1  # type: ignore[attr-defined]


def test_on_another_address_it_needs_a_way_to_sign_in(database: Database) -> None:
    with pytest.raises(SettingsError, match="SMARTTEXT_WEB_AUTH"):
        access_of(database.settings(), "0.0.0.0")  # noqa: S104
    with pytest.raises(SettingsError, match="SMARTTEXT_WEB_PROXIES"):
        access_of(database.settings(web_auth="proxy"), "0.0.0.0")  # noqa: S104
    with pytest.raises(SettingsError, match="TOKEN"):
        access_of(database.settings(web_auth="token"), "127.0.0.1")


def test_the_name_of_a_proxy_counts_only_from_its_address(acting: tuple[Database, TestClient]) -> None:
    database, _ = acting
    settings = database.settings(web_auth="proxy", web_proxies="10.0.0.0/24", web_operators="ann", web_url=ADDRESS)
    for client, status in (("10.0.0.9", 200), ("10.0.1.9", 403), ("testclient", 403)):
        with _client(database, settings, "0.0.0.0", client=(client, 50000)) as visitor:  # noqa: S104
            assert visitor.get("/", headers={"X-Forwarded-User": "ann"}).status_code == status
            assert visitor.get("/").status_code == 403
    with _client(database, settings, "0.0.0.0", client=("10.0.0.9", 50000)) as visitor:  # noqa: S104
        as_bob, as_ann = ({"X-Forwarded-User": name, "origin": ADDRESS} for name in ("bob", "ann"))
        assert "(viewer)" in visitor.get("/", headers=as_bob).text
        assert "Acknowledge" not in visitor.get("/incidents/1", headers=as_bob).text
        token = _form_token(visitor.get("/incidents/1", headers=as_ann).text)
        assert visitor.post("/incidents/1/acknowledge", data={"csrf": token}, headers=as_bob).status_code == 403
        assert visitor.post("/incidents/1/acknowledge", data={"csrf": token}, headers=as_ann).status_code == 303
    assert database.rows("SELECT acknowledged_by AS by FROM monitoring.incidents") == [{"by": "ann"}]


def test_a_token_is_exchanged_for_a_cookie_that_cannot_be_forged(acting: tuple[Database, TestClient]) -> None:
    database, _ = acting
    settings = database.settings(web_auth="token", web_viewer_token=VIEWER, web_operator_token=OPERATOR)
    with _client(database, settings) as visitor:
        answer = visitor.get("/incidents/1?x=1")
        assert answer.headers["location"] == "/sign-in?next=%2Fincidents%2F1%3Fx%3D1"
        assert visitor.get("/api/v1/").status_code == 401
        own = {"origin": ADDRESS}
        wrong = visitor.post("/sign-in", data={"name": "ann", "token": "guess"}, headers=own)
        assert wrong.status_code == 401
        assert "guess" not in wrong.text
        form = {"name": "ann@x.org", "token": VIEWER, "next": "//evil.example/"}
        done = visitor.post("/sign-in", data=form, headers=own)
        assert (done.status_code, done.headers["location"]) == (303, "/")
        assert {"httponly", "samesite=strict"} <= set(done.headers["set-cookie"].lower().replace(" ", "").split(";"))
        assert "ann@x.org (viewer)" in visitor.get("/").text
        cookie = visitor.cookies[COOKIE]
        name, role, ends, signature = cookie.split(".")
        for forged in (
            f"{name}.operator.{ends}.{signature}",
            f"bob.{role}.{ends}.{signature}",
            f"{name}.{role}.{int(ends) + 9}.{signature}",
            f"{name}.{role}.{ends}.",
            "",
        ):
            visitor.cookies.clear()
            visitor.cookies.set(COOKIE, forged)
            assert visitor.get("/").status_code == 303, forged
    other = database.settings(web_auth="token", web_viewer_token=VIEWER + "2", web_operator_token=OPERATOR)
    with _client(database, other) as visitor:
        visitor.cookies.set(COOKIE, cookie)
        assert visitor.get("/").status_code == 303, "a token that is changed ends its sessions"


def test_a_socket_is_opened_only_by_a_page_of_our_own(client: TestClient) -> None:
    with client.websocket_connect("ws://127.0.0.1:8000/live?page=/", headers={"origin": ADDRESS}) as socket:
        assert "<h1>Today</h1>" in socket.receive_json()["main"]
    for headers in ({"origin": "http://evil.example"}, {}):
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("ws://127.0.0.1:8000/live?page=/", headers=headers) as socket,
        ):
            socket.receive_json()
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://127.0.0.1:8000/live?page=/nowhere", headers={"origin": ADDRESS}) as socket,
    ):
        socket.receive_json()


def test_a_database_that_is_away_is_named_with_the_age_of_what_is_shown(world: Database, settings: Settings) -> None:
    away = open_engine("postgresql+psycopg://x@127.0.0.1:9/x")
    app = build_app(away, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS) as visitor:
        answer = visitor.get("/delivery")
        assert answer.status_code == 503
        assert "cannot be reached" in answer.text
    app = build_app(world.engine, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS) as visitor:
        before = visitor.get("/delivery")
        assert before.status_code == 200
        app.state.reader._engine = away
        after = visitor.get("/delivery")
        assert after.status_code == 503
        assert "The database cannot be reached. This is as of" in after.text
        app.state.reader._engine = world.engine
        assert visitor.get("/delivery").status_code == 200


def test_a_statement_that_is_refused_is_no_absence_of_the_database(world: Database, settings: Settings) -> None:
    def view(connection: Connection, _ask: Ask) -> View:
        connection.exec_driver_sql("SELECT * FROM monitoring.no_such_table")
        raise AssertionError

    reader = Reader(world.engine, settings)
    with pytest.raises(DatabaseError, match="no_such_table"):
        reader.read(Page("x", "/x", view), {}, {}, "/x")
    assert reader.answers()


def test_files_of_others_are_what_their_package_has() -> None:
    listed = (STATIC / "vendor" / "README.md").read_text(encoding="utf-8")
    names = [each.name for each in (STATIC / "vendor").iterdir() if each.name.endswith(".js")]
    assert names
    for name in names:
        digest = hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest()
        assert name in listed
        assert digest in listed
    own = [each for each in STATIC.iterdir() if each.name.endswith(".js")]
    assert sum(len(each.read_text(encoding="utf-8").splitlines()) for each in own) < 300


def test_a_role_that_only_reads_sees_every_page_and_changes_nothing(acting: tuple[Database, TestClient]) -> None:
    database, _ = acting
    database.run(
        "INSERT INTO monitoring.incidents (rule, scope, state, severity, since, fired_at, evaluated_at)"
        " VALUES ('sms_failure_rate', 'sender:abc', 'firing', 'warning', now(), now(), now())"
    )
    make_roles(database.engine)
    migrate(database.engine, ZoneInfo("UTC"))
    with logged_in(database, "smarttext_reader") as engine:
        url = SecretStr(engine.url.render_as_string(hide_password=False))
        settings = database.settings().model_copy(update={"database_url": url})
        app = build_app(engine, settings, access_of(settings, "127.0.0.1"))
        with TestClient(app, base_url=ADDRESS, follow_redirects=False) as visitor:
            for address in ADDRESSES:
                assert visitor.get(address).status_code in (200, 404), address
            assert "a sender" in visitor.get("/incidents").text
            form = {"csrf": _form_token(visitor.get("/incidents/1").text)}
            answer = visitor.post("/incidents/1/acknowledge", data=form, headers={"origin": ADDRESS})
            assert answer.status_code == 400
            assert "smarttext_reader may not" in answer.text
    assert [row["by"] for row in database.rows("SELECT acknowledged_by AS by FROM monitoring.incidents")] == [
        None,
        None,
    ]
