"""A server that takes envelopes as Sentry does, and keeps what was in them."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import sentry_sdk
from pydantic import SecretStr

from smarttext_pipelines.sentry.capture import init_sentry
from smarttext_pipelines.settings import Settings


class FakeSentry:
    """Attributes:
    dsn: Where to send.
    envelopes: Every envelope, unpacked.
    """

    def __init__(self, port: int) -> None:
        self.dsn = f"http://{'0a' * 16}@127.0.0.1:{port}/1"
        self.envelopes: list[str] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """Events; one whose id was seen before is dropped, as Sentry does."""
        return list({event["event_id"]: event for event in self.sent}.values())

    @property
    def sent(self) -> list[dict[str, Any]]:
        """Events as often as they were sent."""
        found = []
        for envelope in self.envelopes:
            lines = envelope.splitlines()
            for head, body in zip(lines[1::2], lines[2::2], strict=False):
                if json.loads(head).get("type") == "event":
                    found.append(json.loads(body))
        return found


@contextmanager
def sentry() -> Iterator[FakeSentry]:
    """Serve on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            fake.envelopes.append(body.decode())
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = FakeSentry(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def reporting() -> Iterator[FakeSentry]:
    """Report what this process captures to a server of its own."""
    with sentry() as fake:
        assert init_sentry(Settings(_env_file=None, sentry_dsn=SecretStr(fake.dsn)), "code-server")
        try:
            yield fake
        finally:
            sentry_sdk.get_client().close()
            sentry_sdk.get_global_scope().set_client(None)
