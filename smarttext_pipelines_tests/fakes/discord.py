"""Discord's incoming webhook: it keeps what it was told, and refuses what the real one refuses."""

import json
from collections.abc import Mapping
from typing import Any

from smarttext_pipelines_tests.fakes.server import Reply, Server

MAX_CHARACTERS = 2000


class FakeDiscord(Server):
    """Attributes:
    posted: Every body it took.
    """

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[dict[str, Any]] = []

    def is_send(self, method: str, path: str) -> bool:
        return method == "POST"

    def answer(self, method: str, path: str, query: dict[str, str], body: str, headers: Mapping[str, str]) -> Reply:
        if not path.startswith("/api/webhooks/"):
            return Reply(404, json.dumps({"message": "Unknown Webhook", "code": 10015}))
        if method == "GET":
            return Reply(200, json.dumps({"id": "1", "name": "alerts"}))
        told = json.loads(body)
        if not 0 < len(told["content"]) <= MAX_CHARACTERS:
            return Reply(400, json.dumps({"content": ["Must be 2000 or fewer in length."]}))
        with self.lock:
            self.posted.append(told)
        return Reply(200, json.dumps({"id": str(len(self.posted))}))
