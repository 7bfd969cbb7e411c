"""Twilio's callbacks arrive, once, signed; everything else is refused and counted."""

import asyncio
import json
import random
import string
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlencode

import pytest
import requests
from twilio.request_validator import RequestValidator

from smarttext_pipelines import tracking
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.health.doctor import Report, examine, readiness
from smarttext_pipelines.tracking.track import track_delivery_report
from smarttext_pipelines.twilio.callbacks import MAX_BYTES, Receiver
from smarttext_pipelines.twilio.callbacks.form import StatusReport
from smarttext_pipelines.twilio.callbacks.health_pages import Verdict
from smarttext_pipelines_tests.asgi import serving_app
from smarttext_pipelines_tests.conftest import Database

PUBLIC = "https://hooks.example.com/twilio/status"
TOKEN = "t" * 32


def _form(number: int = 1, **fields: str) -> dict[str, str]:
    return {
        "MessageSid": f"SM{number:032x}",
        "MessageStatus": "undelivered",
        "ErrorCode": "30003",
        "From": "+15550001000",
        "To": "+15550100001",
        "AccountSid": "AC" + "0" * 32,
        **fields,
    }


def _sign(form: dict[str, str], url: str = PUBLIC) -> str:
    signature: str = RequestValidator(TOKEN).compute_signature(url, form)
    return signature


def _ask(
    app: Receiver,
    form: dict[str, str],
    signature: str | None = None,
    *,
    body: bytes | None = None,
    method: str = "POST",
    path: str = "/twilio/status",
    media: str = "application/x-www-form-urlencoded",
    query: str = "",
) -> int:
    return int(
        _answer(app, form, signature, body=body, method=method, path=path, media=media, query=query)[0]["status"]
    )


def _answer(
    app: Receiver,
    form: dict[str, str],
    signature: str | None = None,
    *,
    body: bytes | None = None,
    method: str = "POST",
    path: str = "/twilio/status",
    media: str = "application/x-www-form-urlencoded",
    query: str = "",
) -> list[Any]:
    sent: list[Any] = []
    data = urlencode(form).encode() if body is None else body
    chunks = [data[n : n + 4096] for n in range(0, len(data), 4096)] or [b""]
    messages = iter(
        {"type": "http.request", "body": chunk, "more_body": n < len(chunks) - 1} for n, chunk in enumerate(chunks)
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", media.encode())]
    headers += [(b"x-twilio-signature", (_sign(form) if signature is None else signature).encode("latin-1"))]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.fixture
def heard() -> list[StatusReport]:
    return []


@pytest.fixture
def app(heard: list[StatusReport]) -> Receiver:
    return Receiver(auth_token=TOKEN, public_url=PUBLIC, track=heard.append)


def test_a_signed_report_is_taken(app: Receiver, heard: list[StatusReport]) -> None:
    assert _ask(app, _form()) == 204
    assert heard == [StatusReport(f"SM{1:032x}", "undelivered", "30003", "+15550100001")]


def test_the_query_is_part_of_what_is_signed(app: Receiver) -> None:
    assert _ask(app, _form(), _sign(_form(), PUBLIC + "?a=1"), query="a=1") == 204
    assert _ask(app, _form(), _sign(_form()), query="a=1") == 403


def test_every_mutated_signature_is_refused_and_counted(app: Receiver, heard: list[StatusReport]) -> None:
    chance = random.Random(3)
    right = _sign(_form())
    for _ in range(1000):
        place = chance.randrange(len(right))
        other = chance.choice([c for c in string.printable[:94] + "\xe9" if c != right[place]])
        changed = chance.choice([right[:place] + other + right[place + 1 :], right[:place], right + other])
        assert _ask(app, _form(), changed) == 403
    assert app.counts == {"forged": 1000}
    assert not heard


@pytest.mark.parametrize("field", ["MessageSid", "MessageStatus", "ErrorCode", "To", "AccountSid"])
def test_a_changed_field_is_refused(app: Receiver, field: str) -> None:
    signature = _sign(_form())
    assert _ask(app, _form(**{field: "x"}), signature) == 403


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        ({"body": b"a=" + b"x" * MAX_BYTES}, 413, "oversized"),
        ({"body": b"\xff\xfe"}, 400, "malformed"),
        ({"body": b"no form"}, 400, "malformed"),
        ({"body": "&".join(f"a{n}=1" for n in range(101)).encode()}, 400, "malformed"),
        ({"method": "GET"}, 405, "method"),
        ({"path": "/"}, 404, "not_found"),
        ({"media": "application/json"}, 415, "media_type"),
    ],
)
def test_what_is_no_callback_is_refused_and_counted(
    app: Receiver, heard: list[StatusReport], asked: dict[str, Any], status: int, reason: str
) -> None:
    assert _ask(app, _form(), **asked) == status
    assert app.counts == {reason: 1}
    assert not heard


@pytest.mark.parametrize(
    "fields", [{"MessageSid": "RATE_LIMITED"}, {"MessageStatus": ""}, {"ErrorCode": "x"}, {"To": "a\nb"}]
)
def test_a_signed_form_without_a_report_is_malformed(app: Receiver, fields: dict[str, str]) -> None:
    assert _ask(app, _form(**fields)) == 400


@pytest.mark.parametrize("url", ["", "hooks.example.com/x", "https://hooks.example.com", "https://h.example.com/a?b=c"])
def test_a_url_that_twilio_cannot_call_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="SMARTTEXT_RECEIVER_URL"):
        Receiver(auth_token=TOKEN, public_url=url, track=print)


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[str]:
    """A real server that writes to the database through the tracking library."""
    tracking.configure(database_url=database.url, spill_folder=tmp_path / "spill")

    def track(report: StatusReport) -> None:
        track_delivery_report(
            to=report.to_number,
            status=report.status,
            message_sid=report.sid,
            error_code=report.error_code,
        )

    with serving_app(Receiver(auth_token=TOKEN, public_url=PUBLIC, track=track)) as port:
        yield f"http://127.0.0.1:{port}/twilio/status"
    tracking.configure(database_url=database.url, spill_folder=tmp_path / "end")


def _post(url: str, form: dict[str, str]) -> int:
    return requests.post(url, data=form, headers={"X-Twilio-Signature": _sign(form)}, timeout=10).status_code


def test_reports_survive_an_outage_of_the_database_and_a_replay_changes_nothing(
    served: str, database: Database
) -> None:
    assert _post(served, _form(0)) == 204
    assert tracking.flush(20)
    with database.server.connect() as admin:
        admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,))
    assert [_post(served, _form(n)) for n in range(1, 40)] == [204] * 39
    with database.server.connect() as admin:
        admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
    assert [_post(served, _form(n)) for n in range(40)] == [204] * 40
    assert tracking.flush(60)
    rows = database.rows("SELECT request_id, from_number FROM public.sms_events")
    assert len(rows) == 40
    assert {(r["request_id"], r["from_number"]) for r in rows} == {("twilio-report", "")}
    assert tracking.counters().dropped == 0


def _look(looks: dict[str, Callable[[], Verdict]], path: str = "/healthz") -> tuple[int, dict[str, Any]]:
    app = Receiver(auth_token=TOKEN, public_url=PUBLIC, track=print, looks=looks)
    start, body = _answer(app, {}, method="GET", path=path)
    return start["status"], json.loads(body["body"])


def test_it_gives_the_verdict_of_doctor_and_tells_nobody_what_was_found(database: Database) -> None:
    settings = database.settings()
    looks: dict[str, Callable[[], Verdict]] = {
        "/healthz": lambda: examine(settings, services=False),
        "/readyz": lambda: readiness(settings),
    }
    assert _look(looks, "/readyz") == (200, {"at": ANY, "exit_code": 0, "lines": {"database": "ok"}})
    with database.server.connect() as admin:
        admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,))
    assert _look(looks, "/readyz")[0] == 503
    status, told = _look(looks)
    verdict = examine(settings, services=False)
    assert (status, told["exit_code"]) == (503, 2) == (verdict.http_status, verdict.exit_code)
    assert told["lines"] == {line.name: line.state for line in verdict.lines}


def test_however_many_ask_one_looks() -> None:
    looked = []

    def look() -> Report:
        looked.append(1)
        return Report(datetime.now(UTC), [])

    app = Receiver(auth_token=TOKEN, public_url=PUBLIC, track=print, looks={"/healthz": look})
    assert [_ask(app, {}, method="GET", path="/healthz") for _ in range(50)] == [200] * 50
    assert len(looked) == 1
    assert _ask(app, {}, method="POST", path="/healthz") == 404
    assert _ask(app, {}, method="GET", path="/elsewhere") == 404
