"""Slack's chat and conversations methods, as far as a bot uses them here, and an incoming webhook."""

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from smarttext_pipelines_tests.fakes.server import Reply, Server


class FakeSlack(Server):
    """Attributes:
    messages: Posted messages by ts, with their threads.
    posted: Texts that the incoming webhook was given.
    edits: Edits, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, dict[str, Any]] = {}
        self.posted: list[str] = []
        self.edits: list[tuple[str, str]] = []
        self.lag_seconds = 0.0
        self.refuses_with: str | None = None
        self._numbers = itertools.count(1)

    def is_send(self, method: str, path: str) -> bool:
        return path.endswith("/chat.postMessage") or path.startswith("/services/")

    def answer(self, method: str, path: str, query: dict[str, str], body: str, headers: Mapping[str, str]) -> Reply:
        is_json = "json" in headers.get("Content-Type", "")
        values: dict[str, Any] = (
            json.loads(body) if is_json and body else {k: v[0] for k, v in parse_qs(body).items()} | query
        )
        if path.startswith("/services/"):
            self.posted.append(values["text"])
            return Reply(200, "ok")
        if self.refuses_with:
            return Reply(200, json.dumps({"ok": False, "error": self.refuses_with}))
        return Reply(200, json.dumps({"ok": True} | getattr(self, "_" + path.rsplit(".", 1)[-1])(values)))

    def _postMessage(self, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        metadata = values.get("metadata")
        metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
        with self.lock:
            ts = f"{time.time():.3f}{next(self._numbers):03d}"
            self.messages[ts] = {
                "ts": ts,
                "text": values["text"],
                "metadata": metadata,
                "thread_ts": values.get("thread_ts"),
                "broadcast": str(values.get("reply_broadcast", "")).lower() in ("true", "1"),
                "at": time.time(),
            }
        return {"channel": values["channel"], "ts": ts}

    def _update(self, values: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.messages[values["ts"]]["text"] = values["text"]
            self.edits.append((values["ts"], values["text"]))
        return {"channel": values["channel"], "ts": values["ts"]}

    def _history(self, values: dict[str, Any]) -> dict[str, Any]:
        return self._listed(values, lambda m: m["thread_ts"] is None or m["broadcast"])

    def _replies(self, values: dict[str, Any]) -> dict[str, Any]:
        return self._listed(values, lambda m: values["ts"] in (m["thread_ts"], m["ts"]))

    def _listed(self, values: dict[str, Any], wanted: Any) -> dict[str, Any]:
        size, start = int(values.get("limit", 100)), int(values.get("cursor") or 0)
        with self.lock:
            seen = [
                m
                for m in self.messages.values()
                if wanted(m)
                and m["at"] + self.lag_seconds <= time.time()
                and float(m["ts"]) >= float(values.get("oldest", 0))
            ]
        page = [{k: m[k] for k in ("ts", "text", "metadata") if m[k] is not None} for m in seen[start : start + size]]
        cursor = str(start + size) if len(seen) > start + size else ""
        return {"messages": page, "response_metadata": {"next_cursor": cursor}}
