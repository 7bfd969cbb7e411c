"""What is new, on every open page: one listener a process, each page rendered once for all who have it open."""

import asyncio
import contextlib
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from starlette.websockets import WebSocket, WebSocketDisconnect

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.web.sampler import CHANNEL
from smarttext_pipelines.web.sign_in import Person
from smarttext_pipelines.web.view import Page

HEARTBEAT_SECONDS = 10.0
SEND_SECONDS = 5.0
"""A socket that takes longer to take a message is closed; nobody waits for it."""

_GATHER_SECONDS = 0.1
_RETRY_SECONDS = 2.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Open:
    """An open page: the same for all sockets that have it."""

    page: Page
    address: str
    path: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]
    person: Person


@dataclass(frozen=True)
class Rendered:
    """A page's main part, and since when the database has been away if it is an old one."""

    main: str
    away_since: datetime | None = None

    def message(self) -> str:
        """Return what is sent."""
        away = f"{self.away_since:%H:%M:%S} UTC" if self.away_since else None
        return json.dumps({"main": self.main, "away": away})


@dataclass
class Live:
    """The sockets of a process.

    Attributes:
        url: Of the database, for LISTEN.
        render: From an open page to what is sent; called in a thread, once for all its sockets.
        renders: How many pages were rendered since the start.
    """

    url: str
    render: Callable[[Open], Rendered]
    renders: int = 0
    _sockets: dict[Open, set[WebSocket]] = field(default_factory=lambda: defaultdict(set))
    _changed: set[str] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.asynccontextmanager
    async def running(self):  # type: ignore[no-untyped-def]
        """Listen and send as long as the context lasts."""
        loop = asyncio.get_running_loop()
        listener = threading.Thread(target=self._listen, args=(loop,), daemon=True, name="listen")
        listener.start()
        sender, beats = asyncio.create_task(self._send_changes()), asyncio.create_task(self._beat())
        try:
            yield
        finally:
            self._stop.set()
            sender.cancel()
            beats.cancel()
            await asyncio.to_thread(listener.join, _RETRY_SECONDS)

    async def serve(self, socket: WebSocket, opened: Open) -> None:
        """Send a page to a socket now and whenever it changes, until the socket closes."""
        await socket.accept()
        self._sockets[opened].add(socket)
        try:
            # What changed while it was away.
            await self._send(opened, {socket}, await self._render(opened))
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            pass
        finally:
            self._forget(opened, socket)

    def announce(self, topic: str) -> None:
        """Mark a topic as changed, or with ``*`` all of them; on the event loop."""
        self._changed |= {each for opened in self._sockets for each in opened.page.topics} if topic == "*" else {topic}
        self._wake.set()

    def _forget(self, opened: Open, socket: WebSocket) -> None:
        self._sockets[opened].discard(socket)
        if not self._sockets[opened]:
            del self._sockets[opened]

    async def _render(self, opened: Open) -> Rendered | None:
        self.renders += 1
        try:
            return await asyncio.to_thread(self.render, opened)
        except SmartTextError as error:
            _logger.warning("%s: %s", opened.page.name, error)
        except Exception:
            # A fault of one page keeps nothing from the others.
            _logger.exception("%s cannot be rendered", opened.page.name)
        return None

    async def _send_changes(self) -> None:
        while True:
            await self._wake.wait()
            # Several changes within a moment are one.
            await asyncio.sleep(_GATHER_SECONDS)
            self._wake.clear()
            changed, self._changed = self._changed, set()
            for opened in [each for each in self._sockets if changed & {*each.page.topics}]:
                await self._send(opened, self._sockets[opened], await self._render(opened))

    async def _send(self, opened: Open, sockets: set[WebSocket], rendered: Rendered | None) -> None:
        if rendered is not None:
            message = rendered.message()
            await asyncio.gather(*(self._send_one(opened, each, message) for each in tuple(sockets)))

    async def _send_one(self, opened: Open, socket: WebSocket, message: str) -> None:
        try:
            await asyncio.wait_for(socket.send_text(message), SEND_SECONDS)
        except (TimeoutError, RuntimeError, WebSocketDisconnect):
            self._forget(opened, socket)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(socket.close(), SEND_SECONDS)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for opened, sockets in tuple(self._sockets.items()):
                await asyncio.gather(*(self._send_one(opened, each, "{}") for each in tuple(sockets)))

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass on what PostgreSQL announces; after a lost connection everything may have changed."""
        while not self._stop.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._tell(loop, "*")
                    while not self._stop.is_set():
                        for notice in connection.notifies(timeout=1):
                            self._tell(loop, notice.payload)
            except psycopg.Error as error:
                _logger.warning("listening ended (%s); trying again", type(error).__name__)
                self._tell(loop, "*")
                self._stop.wait(_RETRY_SECONDS)

    def _tell(self, loop: asyncio.AbstractEventLoop, topic: str) -> None:
        # The loop may have ended.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self.announce, topic)
