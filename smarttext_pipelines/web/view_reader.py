"""A view read from the database: in a transaction that is always rolled back, with the last good one kept."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine

from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.view import Ask, Page, View

_KEPT = 200
_CONNECTIONS = 2
"""Views that are read at once; all of the system has to run on a server that has 15 connections."""


@dataclass(frozen=True)
class Found:
    """A view, and since when the database has been away if it is an old one."""

    view: View
    away_since: datetime | None = None


class Reader:
    """Reads views; one for all requests and sockets of a process."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """Begin with nothing kept."""
        self._engine, self._settings = engine, settings
        self._kept: OrderedDict[tuple[str, str], View] = OrderedDict()
        self._away_since: datetime | None = None
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(_CONNECTIONS)

    def read(self, page: Page, path: Mapping[str, str], query: Mapping[str, str], key: str) -> Found:
        """Return the view of a page, or while the database is away the last one.

        Raises:
            InputError: The address asks for what is not there.
            DatabaseError: The database is away and there is no earlier view.
        """
        now = datetime.now(UTC)
        ask = Ask(self._settings, now, path, query)
        try:
            with self._turns, connected(self._engine) as connection, connection.begin() as transaction:
                view = page.view(connection, ask)
                # Nothing that a page reads leaves a trace; temporary tables go with it.
                transaction.rollback()
        except DatabaseError:
            if self.answers():
                # It refused this statement; what it knows is no older for that.
                raise
            with self._lock:
                self._away_since = self._away_since or now
                kept = self._kept.get((page.name, key))
                since = self._away_since
            if kept is None:
                raise
            return Found(kept, since)
        with self._lock:
            self._away_since = None
            self._kept[page.name, key] = view
            self._kept.move_to_end((page.name, key))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return Found(view)

    def answers(self) -> bool:
        """Tell whether the database can be reached now."""
        try:
            with connected(self._engine) as connection:
                connection.exec_driver_sql("SELECT 1")
        except DatabaseError:
            return False
        return True
