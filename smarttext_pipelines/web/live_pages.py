"""What is new, on every open page: one listener a process, each page rendered once for all who have it open."""

import asyncio
import contextlib
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
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


@dataclass(eq=False)
class Seat:
    """A socket, and what it is sent next: what is newer takes the place of what it did not take yet."""

    socket: WebSocket
    has_page: bool = False
    _next: str = ""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, message: str) -> None:
        """Have a message sent; waits for nothing."""
        self._next = message
        self._wake.set()

    def beat(self) -> None:
        """Have a heartbeat sent, unless there is news on its way."""
        self.put(self._next or "{}")

    async def write(self) -> None:
        """Send what is put until the socket is gone, or takes too long."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            message, self._next = self._next, ""
            try:
                await asyncio.wait_for(self.socket.send_text(message), SEND_SECONDS)
            except (TimeoutError, RuntimeError, WebSocketDisconnect):
                return

    async def read(self) -> None:
        """Wait until the socket closes; pages say nothing."""
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await self.socket.receive_text()


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
    _seats: dict[Open, set[Seat]] = field(default_factory=lambda: defaultdict(set))
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
        seat = Seat(socket)
        self._seats[opened].add(seat)
        tasks = [asyncio.create_task(seat.read()), asyncio.create_task(seat.write())]
        try:
            # What changed while it was away.
            rendered = await self._render(opened)
            if not seat.has_page:
                # Else a change was rendered meanwhile, which is newer.
                self._put({seat}, rendered)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._forget(opened, seat)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(socket.close(), SEND_SECONDS)

    def announce(self, topic: str) -> None:
        """Mark a topic as changed, or with ``*`` all of them; on the event loop."""
        self._changed |= {each for opened in self._seats for each in opened.page.topics} if topic == "*" else {topic}
        self._wake.set()

    def _forget(self, opened: Open, seat: Seat) -> None:
        self._seats[opened].discard(seat)
        if not self._seats[opened]:
            del self._seats[opened]

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
            for opened in [each for each in self._seats if changed & {*each.page.topics}]:
                rendered = await self._render(opened)
                self._put(self._seats.get(opened, ()), rendered)

    def _put(self, seats: Iterable[Seat], rendered: Rendered | None) -> None:
        if rendered is not None:
            message = rendered.message()
            for seat in seats:
                seat.has_page = True
                seat.put(message)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for seats in self._seats.values():
                for seat in seats:
                    seat.beat()

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
