"""Twilio's Messages resource: create, and a list that lags behind."""

import itertools
import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlencode

from smarttext_pipelines_tests.fakes.server import Reply, Server


class FakeTwilio(Server):
    """Attributes:
    messages: What is stored: sid, to, body, and when.
    lag_seconds: How long a stored message is not listed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.lag_seconds = 0.0
        self._numbers = itertools.count(1)

    def is_send(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/Messages.json")

    def answer(self, method: str, path: str, query: dict[str, str], body: str, headers: Mapping[str, str]) -> Reply:
        if "Authorization" not in headers:
            return Reply(401, json.dumps({"code": 20003, "message": "Authenticate", "status": 401}))
        return self._create(body) if method == "POST" else self._list(path, query)

    def _create(self, body: str) -> Reply:
        form = {name: values[0] for name, values in parse_qs(body).items()}
        with self.lock:
            stored = {
                "sid": f"SM{next(self._numbers):032x}",
                "to": form["To"],
                "from": form["From"],
                "body": form["Body"],
                "status": "queued",
                "at": time.time(),
            }
            self.messages.append(stored)
        return Reply(201, json.dumps(self._shown(stored)))

    def _list(self, path: str, query: dict[str, str]) -> Reply:
        size, page = int(query.get("PageSize", 50)), int(query.get("Page", 0))
        with self.lock:
            seen = [
                m
                for m in reversed(self.messages)
                if m["at"] + self.lag_seconds <= time.time() and query.get("To") in (None, m["to"])
            ]
        following = urlencode({**query, "Page": page + 1})
        more = len(seen) > (page + 1) * size
        shown = [self._shown(m) for m in seen[page * size : (page + 1) * size]]
        return Reply(
            200,
            json.dumps({"messages": shown, "page": page, "next_page_uri": f"{path}?{following}" if more else None}),
        )

    @staticmethod
    def _shown(stored: dict[str, Any]) -> dict[str, Any]:
        created = formatdate(stored["at"], localtime=False)
        return {**{k: v for k, v in stored.items() if k != "at"}, "date_created": created, "error_code": None}
