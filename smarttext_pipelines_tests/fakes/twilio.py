"""Twilio's Messages resource: create, fetch, and a list by time of sending that lags behind; and its usage records."""

import itertools
import json
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlencode

from smarttext_pipelines_tests.fakes.server import Reply, Server


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


class FakeTwilio(Server):
    """Attributes:
    messages: What is stored: sid, to, body, and when.
    lag_seconds: How long a stored message is not listed.
    now: Time of the server; None for the real one.
    usage: Usage records: category, day (GMT), count, price.
    price_unit: Currency of the usage records.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.lag_seconds = 0.0
        self.now: float | None = None
        self.usage: list[tuple[str, str, int, str]] = []
        self.price_unit = "usd"
        self._by_sid: dict[str, dict[str, Any]] | None = None
        self._numbers = itertools.count(1)

    def is_send(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/Messages.json")

    def answer(self, method: str, path: str, query: dict[str, str], body: str, headers: Mapping[str, str]) -> Reply:
        if "Authorization" not in headers:
            return Reply(401, json.dumps({"code": 20003, "message": "Authenticate", "status": 401}))
        if method == "POST":
            return self._create(body)
        if path.endswith("/Usage/Records/Daily.json"):
            return self._usage(query)
        return self._list(path, query) if path.endswith("/Messages.json") else self._fetch(path)

    def hold(self, sid: str, at: float, **said: Any) -> dict[str, Any]:
        """Store an outbound message that was sent at a time, and return it."""
        stored = {
            "sid": sid,
            "to": "+15550100001",
            "from": "+15550001000",
            "body": "Sorry we missed you, Jane!",
            "status": "queued",
            "direction": "outbound-api",
            "at": at,
            **said,
        }
        self.messages.append(stored)
        return stored

    def _fetch(self, path: str) -> Reply:
        sid = path.rsplit("/", 1)[1].removesuffix(".json")
        if self._by_sid is None or len(self._by_sid) != len(self.messages):
            self._by_sid = {m["sid"]: m for m in self.messages}
        found = self._by_sid.get(sid)
        if found is None:
            return Reply(404, json.dumps({"code": 20404, "message": "not found", "status": 404}))
        return Reply(200, json.dumps(self._shown(found)))

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
        size, page = min(int(query.get("PageSize", 50)), 1000), int(query.get("Page", 0))
        after, before = (_seconds(query.get(name)) for name in ("DateSent>", "DateSent<"))
        now = time.time() if self.now is None else self.now
        with self.lock:
            seen = [
                m
                for m in reversed(self.messages)
                if m["at"] + self.lag_seconds <= now
                and query.get("To") in (None, m["to"])
                and (after is None or m["at"] >= after)
                and (before is None or m["at"] <= before)
            ]
        following = urlencode({**query, "Page": page + 1})
        more = len(seen) > (page + 1) * size
        shown = [self._shown(m) for m in seen[page * size : (page + 1) * size]]
        return Reply(
            200,
            json.dumps({"messages": shown, "page": page, "next_page_uri": f"{path}?{following}" if more else None}),
        )

    def _usage(self, query: dict[str, str]) -> Reply:
        records = [
            {
                "category": category,
                "start_date": day,
                "end_date": day,
                "count": str(count),
                "count_unit": "messages",
                "price": price,
                "price_unit": self.price_unit,
            }
            for category, day, count, price in self.usage
            if category == query["Category"] and query["StartDate"] <= day <= query["EndDate"]
        ]
        return Reply(200, json.dumps({"usage_records": records, "page": 0, "next_page_uri": None}))

    @staticmethod
    def _shown(stored: dict[str, Any]) -> dict[str, Any]:
        created = formatdate(stored["at"], localtime=False)
        return {
            **{k: v for k, v in stored.items() if k != "at"},
            "date_created": created,
            "error_code": stored.get("error_code"),
        }
