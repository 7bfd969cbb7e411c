"""A small HTTP server in a thread, and the faults that every provider has."""

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

S = TypeVar("S", bound="Server")

FAULTS = ("400", "429", "500_stored", "500", "timeout_stored", "malformed_stored", "reset")
SENDING_FAULTS = tuple(fault for fault in FAULTS if fault != "400")
"""Without the one that a provider means for good."""


@dataclass
class Reply:
    """An answer; ``fault`` wins over it."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Server:
    """Base of the fakes.

    Attributes:
        faults: Faults in the order in which sending meets them; used up before chance is.
        share: Share of the sends that meet a fault by chance.
        look_up_share: Share of the look-ups that end with 500.
        look_up_faults: Faults of look-ups (429, 500, half_answer, empty for none), used up first.
        hang_seconds: How long a request hangs that times out.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.share = 0.0
        self.look_up_share = 0.0
        self.hang_seconds = 1.5
        self.look_up_faults: list[str] = []
        self.chance = random.Random(7)
        self.met: Counter[str] = Counter()
        self.requests: list[tuple[str, str, dict[str, Any], dict[str, str]]] = []
        self.lock = threading.Lock()
        self.url = ""
        self.closing = threading.Event()

    def is_send(self, method: str, path: str) -> bool:
        """Whether faults of sending apply."""
        raise NotImplementedError

    def answer(self, method: str, path: str, query: dict[str, str], body: str, headers: Mapping[str, str]) -> Reply:
        """Do what is asked and answer."""
        raise NotImplementedError

    def next_fault(self) -> str | None:
        with self.lock:
            if self.faults:
                return self.faults.pop(0)
            return self.chance.choice(SENDING_FAULTS) if self.chance.random() < self.share else None

    def next_look_up_fault(self) -> str | None:
        with self.lock:
            return self.look_up_faults.pop(0) if self.look_up_faults else None

    def fails_to_look_up(self) -> bool:
        with self.lock:
            return self.chance.random() < self.look_up_share


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:  # noqa: C901
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _serve(self, method: str) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            query = {name: ",".join(values) for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            with server.lock:
                server.requests.append((method, parts.path, query, dict(self.headers)))
            if server.is_send(method, parts.path):
                self._send(method, parts.path, query, body)
            elif fault := server.next_look_up_fault():
                server.met[f"look_up_{fault}"] += 1
                self._fail_to_answer(fault, server.answer(method, parts.path, query, body, self.headers))
            elif server.fails_to_look_up():
                server.met["look_up_500"] += 1
                self._reply(Reply(500, "{}"))
            else:
                self._reply(server.answer(method, parts.path, query, body, self.headers))

        def _send(self, method: str, path: str, query: dict[str, str], body: str) -> None:
            fault = server.next_fault()
            if fault:
                server.met[fault] += 1
            stores = fault is None or fault.endswith("_stored")
            reply = server.answer(method, path, query, body, self.headers) if stores else Reply(200, "{}")
            if fault is None:
                self._reply(reply)
            elif fault == "400":
                self._reply(Reply(400, '{"code": 21211, "message": "Invalid To +15005550001", "status": 400}'))
            elif fault == "429":
                self._reply(Reply(429, '{"code": 20429, "message": "Too Many Requests"}', {"Retry-After": "1"}))
            elif fault.startswith("500"):
                self._reply(Reply(500, '{"message": "Internal Server Error"}'))
            elif fault == "malformed_stored":
                self._reply(Reply(reply.status, '{"sid": "SM'))
            elif fault == "timeout_stored":
                server.closing.wait(server.hang_seconds)
                self.close_connection = True
            else:
                self.close_connection = True

        def _fail_to_answer(self, fault: str, reply: Reply) -> None:
            if fault == "429":
                self._reply(Reply(429, '{"code": 20429, "message": "Too Many Requests"}', {"Retry-After": "7"}))
            elif fault == "500":
                self._reply(Reply(503, '{"message": "Service Unavailable"}'))
            else:  # the connection ends in the middle of the answer
                self.send_response(reply.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply.body.encode())))
                self.end_headers()
                self.wfile.write(reply.body.encode()[: len(reply.body) // 2])
                self.close_connection = True

        def _reply(self, reply: Reply) -> None:
            data = reply.body.encode()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # the client was killed
                self.close_connection = True

    return Handler


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Clients are killed here; that is no news."""


@contextmanager
def serving(server: S) -> Iterator[S]:
    """Serve on a free port of 127.0.0.1."""
    http = _Quiet(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        http.shutdown()
        thread.join()
        http.server_close()
