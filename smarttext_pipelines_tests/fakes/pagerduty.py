"""PagerDuty's Events API v2, and any webhook: it keeps what it was told."""

import json
from collections.abc import Mapping
from typing import Any

from smarttext_pipelines_tests.fakes.server import Reply, Server


class FakePagerDuty(Server):
    """Attributes:
    open: Incidents by ``dedup_key`` that were triggered and not resolved.
    bodies: Everything it was told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[str, dict[str, Any]] = {}
        self.bodies: list[dict[str, Any]] = []

    def is_send(self, method: str, path: str) -> bool:
        return method == "POST"

    def answer(self, method: str, path: str, query: dict[str, str], body: str, headers: Mapping[str, str]) -> Reply:
        told = json.loads(body)
        with self.lock:
            self.bodies.append(told)
            if isinstance(told, list):
                return Reply(200, "")
            if told.get("event_action") == "trigger":
                self.open[told["dedup_key"]] = told
            elif told.get("event_action") == "resolve":
                self.open.pop(told["dedup_key"], None)
        return Reply(202, json.dumps({"status": "success", "message": "Event processed"}))
