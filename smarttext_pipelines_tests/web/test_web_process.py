"""``smarttext web`` as a process of its own: what an open page does when it is killed, and what a slow one costs."""

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

import smarttext_pipelines
from smarttext_pipelines.web.live_pages import SEND_SECONDS
from smarttext_pipelines.web.sampler import CHANNEL
from smarttext_pipelines_tests.conftest import Database

CHROMIUM = shutil.which("chromium")
ROOT = str(Path(smarttext_pipelines.__file__).parents[1])
START_SECONDS, PAGE_MS = 120, 60_000


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def _serving(database: Database, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": ROOT, "SMARTTEXT_DATABASE_URL": database.url}
    command = [sys.executable, "-m", "smarttext_pipelines.cli", "web", "--port", str(port)]
    with subprocess.Popen(command, env=environment) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(port):
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.1)
            yield process
        finally:
            process.kill()


def _answers(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _silence(database: Database, reason: str, *, announce: bool = True) -> None:
    database.run(
        "INSERT INTO monitoring.silences (rule, author, reason, ends_at) VALUES ('x', 'a', %s, now() + interval '1 h')",
        reason,
    )
    if announce:
        database.run(f"NOTIFY {CHANNEL}, 'incidents'")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (2026-11-28)")
def test_an_open_page_reconnects_to_a_server_that_was_killed_and_catches_up(database: Database, port: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        stack.callback(browser.close)
        page = browser.new_page()
        with _serving(database, port) as process:
            page.goto(f"http://127.0.0.1:{port}/incidents")
            _silence(database, "while it runs")
            page.get_by_text("while it runs").wait_for(timeout=PAGE_MS)
            process.kill()
            process.wait()
            page.get_by_text("Not connected since").wait_for(timeout=PAGE_MS)
            # Nobody hears of it.
            _silence(database, "while it was away", announce=False)
            page.wait_for_timeout(1000)
            assert "while it was away" not in page.locator("main").inner_text()
        with _serving(database, port):
            page.get_by_text("while it was away").wait_for(timeout=PAGE_MS)
            assert page.locator("#connection").inner_text() == ""
            _silence(database, "after it came back")
            page.get_by_text("after it came back").wait_for(timeout=PAGE_MS)


def test_a_client_that_reads_nothing_keeps_no_change_from_the_others(database: Database, port: int) -> None:
    # A message that is large fills what the system keeps for a client.
    _silence(database, "f" * 400_000, announce=False)
    with _serving(database, port), _deaf(port), _deaf(port):
        own: Any = f"http://127.0.0.1:{port}"
        with connect(f"ws://127.0.0.1:{port}/live?page=/incidents", origin=own, max_size=None) as quick:
            took = []
            for n in range(20):
                began = time.monotonic()
                _silence(database, f"change {n}.")
                while f"change {n}." not in quick.recv(timeout=60):
                    pass
                took.append(time.monotonic() - began)
    assert max(took) < SEND_SECONDS, f"somebody waited until the deaf ones were given up: {took}"


@contextmanager
def _deaf(port: int) -> Iterator[None]:
    """Open a page's socket and read nothing of it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        client.sendall(
            f"GET /live?page=/incidents HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        yield
