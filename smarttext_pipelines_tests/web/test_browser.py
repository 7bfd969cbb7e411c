"""The dashboard in a real browser: no fault, nothing from elsewhere, readable by everybody, live."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.pages import PAGES
from smarttext_pipelines.web.sampler import Sampler, run_sampler
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events

CHROMIUM = shutil.which("chromium")
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
FROM = "from=2026-03-08&to=2026-03-10"
ADDRESSES = {
    "anomalies": f"/anomalies?{FROM}",
    "business": f"/businesses/none?{FROM}",
    "businesses": f"/businesses?{FROM}",
    "delivery": f"/delivery?{FROM}",
    "digest": "/digest?date=2026-03-10",
    "explain": "/explain/messages_sent?date=2026-03-10",
    "request_tokens": f"/spend/tokens?{FROM}",
    "spend": "/spend?date=2026-03-10",
}
WITHOUT_ADDRESS = ("incident", "anomaly", "message", "call")
SHOWN = [page.name for page in PAGES if page.name not in WITHOUT_ADDRESS]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (2026-11-27)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def dashboard(world: Database) -> Iterator[str]:
    """Return the address of a dashboard that a sampler keeps up to date."""
    settings = world.settings()
    port = _free_port()
    app = build_app(world.engine, settings, access_of(settings, "127.0.0.1"))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", proxy_headers=False))
    stopped = threading.Event()
    sampler = Sampler(world.engine, settings)
    threads = [
        threading.Thread(target=server.run, daemon=True),
        threading.Thread(target=run_sampler, args=(sampler, lambda: datetime.now(UTC), stopped.wait), daemon=True),
    ]
    for thread in threads:
        thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    stopped.set()
    for thread in threads:
        thread.join(30)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def open_page(browser: Any, dashboard: str, faults: list[str]) -> Iterator[Any]:
    """Return what opens a page and notes every fault and every request to another host."""
    contexts = []

    def open_(address: str, width: int = 1200, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: faults.append(r.url) if not r.url.startswith((dashboard, "data:")) else None)
        page.goto(dashboard + address, wait_until="load")
        return page

    yield open_
    for context in contexts:
        context.close()


def _address(name: str) -> str:
    return ADDRESSES.get(name) or next(page.route for page in PAGES if page.name == name)


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_loads_without_a_fault_and_is_accessible(open_page: Any, faults: list[str], name: str) -> None:
    for scheme in ("light", "dark"):
        page = open_page(_address(name), color_scheme=scheme, bypass_csp=True)
        assert page.locator("h1").count() == 1
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")["violations"]
        serious = [
            f"{each['id']}: {node['html'][:200]}"
            for each in found if each["impact"] in ("serious", "critical")
            for node in each["nodes"][:3]
        ]  # fmt: skip
        assert serious == [], scheme
    assert faults == []


@pytest.mark.parametrize("name", SHOWN)
def test_on_a_phone_nothing_is_cut_and_without_javascript_the_numbers_are_there(
    open_page: Any, faults: list[str], name: str
) -> None:
    page = open_page(_address(name), width=360, java_script_enabled=False)
    text = page.locator("main").inner_text()
    page = open_page(_address(name), width=360)
    cut = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('svg') && !e.closest('details:not([open])')"
        " && e.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(e).position !== 'absolute')"
        ".map(e => e.outerHTML.slice(0, 120))"
    )
    assert cut == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("h1").inner_text() in text
    assert faults == []


def test_the_keyboard_reaches_everything(open_page: Any) -> None:
    page = open_page("/")
    wanted = page.evaluate("document.querySelectorAll('a[href], button, summary, input, select').length")
    seen = set()
    for _ in range(wanted + 60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    reached = page.evaluate(
        "seen => { const all = [...document.querySelectorAll('*')];"
        " return [...document.querySelectorAll('a[href], button, summary, input, select')]"
        ".filter(e => !seen.includes(all.indexOf(e)) && e.offsetParent).map(e => e.outerHTML.slice(0, 100)) }",
        sorted(seen),
    )
    assert reached == []


def test_a_row_that_the_application_writes_is_on_the_open_page(
    open_page: Any, faults: list[str], world: Database
) -> None:
    page = open_page("/")
    figure = page.locator("[data-figure=calls_missed]")
    figure.wait_for()
    before = int(figure.inner_text().replace(",", ""))
    now = datetime.now(UTC)
    row = strategies.call_event(
        900, max(now - timedelta(seconds=1), now.replace(hour=0, minute=0, second=1)), event_type="voice.missed",
        call_sid="CAbrowser",
    )  # fmt: skip
    with world.engine.begin() as connection:
        insert_events(connection, {"call_events": [row]})
    page.wait_for_function(
        "n => document.querySelector('[data-figure=calls_missed]').innerText.replace(',', '') === String(n)",
        arg=before + 1, timeout=20_000,
    )  # fmt: skip
    assert faults == []
