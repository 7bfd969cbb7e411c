"""Requests per second and latency of the receiver against a bare ASGI application; and what an outage loses."""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from twilio.request_validator import RequestValidator

from smarttext_pipelines import tracking
from smarttext_pipelines.database.connect import parse_url
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.tracking.track import track_delivery_report
from smarttext_pipelines.twilio.callbacks import Receiver
from smarttext_pipelines.twilio.callbacks.form import StatusReport
from smarttext_pipelines_tests.asgi import serving_app
from smarttext_pipelines_tests.bench.tools import Line
from smarttext_pipelines_tests.conftest import Server, fresh_database
from smarttext_pipelines_tests.proxy import proxied

REQUESTS, CLIENTS, OUTAGE_S = 20_000, 16, 10
URL, TOKEN = "https://hooks.example.com/twilio/status", "t" * 32


def measure(server: Server, scale: float) -> list[Line]:
    """Return what one process takes, and the rows of an outage of the database under load."""
    count = max(1_000, int(REQUESTS * scale))
    with (
        fresh_database(server) as database,
        proxied(parse_url(database.url).port or 5432) as proxy,
        tempfile.TemporaryDirectory() as folder,
    ):
        migrate(database.engine, ZoneInfo("UTC"))
        url = parse_url(database.url).set(port=proxy.port).render_as_string(hide_password=False)
        tracking.configure(database_url=url, spill_folder=Path(folder))
        app = Receiver(auth_token=TOKEN, public_url=URL, track=_track)
        with serving_app(_echo) as bare, serving_app(app) as port:
            echoed, taken = _drive(bare, 0, count), _drive(port, 0, count)
            tracking.flush(60)
            threading.Timer(1, proxy.cut).start()
            threading.Timer(1 + OUTAGE_S * scale, proxy.restore).start()
            second = _drive(port, count, count, lasting=OUTAGE_S * scale + 3)
        tracking.flush(120)
        (found,) = database.rows(
            "SELECT count(*) AS rows, count(DISTINCT message_sid) AS messages FROM public.sms_events"
        )
        tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=Path(folder))
    accepted = app.counts["accepted"]
    return [
        Line("a bare ASGI application", _told(echoed)),
        Line("the receiver: signature checked, handed on", f"{_told(taken)}: {taken['rate'] / echoed['rate']:.2f} ×"),
        Line(f"an outage of {OUTAGE_S * scale:.0f} s under load", _told(second)),
        Line(
            "reports: sent, accepted, rows, different",
            f"{count + second['sent']:,}, {accepted:,}, {found['rows']:,}, {found['messages']:,}",
            "all, once",
        ),
    ]


def _track(report: StatusReport) -> None:
    track_delivery_report(
        to=report.to_number,
        status=report.status,
        message_sid=report.sid,
        error_code=report.error_code,
    )


async def _echo(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _told(result: dict[str, float]) -> str:
    return f"{result['rate']:,.0f} requests/s, p99 {result['p99_ms']:.1f} ms"


def _drive(port: int, first: int, count: int, lasting: float = 0.0) -> dict[str, float]:
    """Send reports from another process; once each, or for as many seconds as it takes."""
    command = [sys.executable, "-m", __name__, *map(str, (port, first, count, lasting))]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def _request(number: int) -> tuple[bytes, dict[str, str]]:
    form = {
        "MessageSid": f"SM{number:032x}",
        "MessageStatus": "delivered",
        "From": "+15550001000",
        "To": "+15550100001",
        "AccountSid": "AC" + "0" * 32,
    }
    signature = RequestValidator(TOKEN).compute_signature(URL, form)
    return urlencode(form).encode(), {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": signature,
    }


def main() -> None:
    """Be the clients: ``port first count seconds``; print what they saw as JSON."""
    port, first, count, lasting = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    prepared = [_request(first + n) for n in range(count)]
    pause = lasting * CLIENTS / count
    times: list[float] = []

    def client(mine: list[tuple[bytes, dict[str, str]]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for body, headers in mine:
            begun = time.perf_counter()
            connection.request("POST", "/twilio/status", body, headers)
            answer = connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - begun)
            if answer.status != 204:
                msg = f"answered {answer.status}"
                raise RuntimeError(msg)
            time.sleep(max(pause - times[-1], 0))

    clients = [threading.Thread(target=client, args=(prepared[n::CLIENTS],)) for n in range(CLIENTS)]
    begun = time.perf_counter()
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    rate = len(times) / (time.perf_counter() - begun)
    p99 = statistics.quantiles(times, n=100)[98] * 1e3
    sys.stdout.write(json.dumps({"rate": rate, "p99_ms": p99, "sent": len(times)}))


if __name__ == "__main__":
    main()
