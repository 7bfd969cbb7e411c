"""``/healthz`` and ``/readyz``: a verdict as an HTTP answer, looked up at most once in ten seconds."""

import asyncio
import json
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

KEEP_SECONDS = 10.0
"""Anyone can ask, so requests must not load the database."""


class Verdict(Protocol):
    """What was found: an HTTP status, and what anyone may see."""

    @property
    def http_status(self) -> int:
        """503 when something does not work, else 200."""

    def as_summary(self) -> dict[str, Any]:
        """Return names and states."""


class Health:
    """Answers by path; each look runs in a thread, so that callbacks are served meanwhile."""

    def __init__(self, looks: Mapping[str, Callable[[], Verdict]]) -> None:
        """Take what looks, by path."""
        self._looks = looks
        self._locks = {path: asyncio.Lock() for path in looks}
        self._answers: dict[str, tuple[float, int, bytes]] = {}

    async def answer(self, path: str) -> tuple[int, bytes]:
        """Return the status and the JSON of a verdict."""
        async with self._locks[path]:
            at, status, body = self._answers.get(path, (-KEEP_SECONDS, 0, b""))
            if monotonic() - at >= KEEP_SECONDS:
                verdict = await asyncio.to_thread(self._looks[path])
                status, body = verdict.http_status, json.dumps(verdict.as_summary()).encode()
                self._answers[path] = monotonic(), status, body
            return status, body
