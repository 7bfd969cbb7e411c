"""Open pages: each is rendered once for all who have it open, gets what is new, and is not slowed by others."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sampler import CHANNEL
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.web.conftest import ADDRESS

OWN = {"origin": ADDRESS}


@pytest.fixture
def live(database: Database) -> Iterator[tuple[Database, TestClient]]:
    settings: Settings = database.settings()
    app = build_app(database.engine, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS) as client:
        yield database, client


def _next_main(socket: object) -> str:
    while True:
        message = json.loads(socket.receive_text())  # type: ignore[attr-defined]
        if message.get("main"):
            return str(message["main"])


def _silence(database: Database, reason: str) -> None:
    database.run(
        "INSERT INTO monitoring.silences (rule, author, reason, ends_at) VALUES ('x', 'a', %s, now() + interval '1 h')",
        reason,
    )
    database.run(f"NOTIFY {CHANNEL}, 'incidents'")


def test_an_open_page_gets_what_is_new(live: tuple[Database, TestClient]) -> None:
    database, client = live
    with client.websocket_connect("ws://127.0.0.1:8000/live?page=/incidents", headers=OWN) as socket:
        assert "Nothing is silenced" in _next_main(socket)
        _silence(database, "first reason")
        while "first reason" not in _next_main(socket):
            pass


def test_statements_do_not_grow_with_the_sockets(live: tuple[Database, TestClient]) -> None:
    database, client = live
    counts: list[int] = []
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for sockets in (1, 20):
        with ExitStack() as stack:
            opened = [
                stack.enter_context(client.websocket_connect("ws://127.0.0.1:8000/live?page=/incidents", headers=OWN))
                for _ in range(sockets)
            ]
            for socket in opened:
                _next_main(socket)
            took = []
            for n in range(3):
                statements.clear()
                _silence(database, f"{n} for {sockets}")
                for socket in opened:
                    while f"{n} for {sockets}" not in _next_main(socket):
                        pass
                took.append(len(statements))
            # On a slow machine what was opened before is still being read.
            counts.append(min(took))
    assert counts[1] <= counts[0] * 2, "a change may be announced twice, whatever the number of sockets"


def test_a_page_that_a_change_does_not_concern_stays_as_it_is(live: tuple[Database, TestClient]) -> None:
    database, client = live
    with (
        client.websocket_connect("ws://127.0.0.1:8000/live?page=/delivery", headers=OWN) as delivery,
        client.websocket_connect("ws://127.0.0.1:8000/live?page=/incidents", headers=OWN) as incidents,
    ):
        _next_main(delivery)
        _next_main(incidents)
        rendered = client.app.state.live.renders  # type: ignore[attr-defined]
        _silence(database, "only there")
        while "only there" not in _next_main(incidents):
            pass
        assert client.app.state.live.renders - rendered <= 2  # type: ignore[attr-defined]
