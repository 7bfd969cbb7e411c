"""OpenAI's costs API: buckets of days in UTC, in pages, to an admin key alone."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from smarttext_pipelines_tests.fakes.server import Reply, Server

KEY = "an-admin-key-of-nobody"
_DAY, _NUMBER = timedelta(days=1), re.compile(r'"number ([^"]*)"')


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time.min, UTC).timestamp())


def cost(
    value: Any, line_item: str | None = "gpt-4o-mini, input", *, project: str | None = "proj_a", currency: Any = "usd"
) -> dict[str, Any]:
    """Return a result as OpenAI writes it; a Decimal is written as a number with all its digits."""
    return {
        "object": "organization.costs.result",
        "amount": {"value": value, "currency": currency},
        "line_item": line_item,
        "project_id": project,
    }


class FakeOpenAI(Server):
    """Attributes:
    costs: Results by day (UTC); a day of the range without an entry has an empty bucket.
    late: Days that no answer has a bucket of.
    page_days: Buckets of a page at most.
    replies: Answers to give first, whatever is asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.costs: dict[date, list[dict[str, Any]]] = {}
        self.late: set[date] = set()
        self.page_days = 180
        self.replies: list[Reply] = []

    @property
    def asked(self) -> list[dict[str, str]]:
        """What was asked for, in order."""
        return [query for _, _, query, _ in self.requests]

    def is_send(self, method: str, path: str) -> bool:
        return False

    def answer(self, method: str, path: str, query: dict[str, str], body: str, headers: Mapping[str, str]) -> Reply:
        if self.replies:
            return self.replies.pop(0)
        given = headers.get("Authorization", "")
        if given != f"Bearer {KEY}":
            said = f"Incorrect API key provided: {given.removeprefix('Bearer ')}."
            return Reply(401, json.dumps({"error": {"message": said, "code": "invalid_api_key"}}))
        if (method, path) != ("GET", "/v1/organization/costs") or query.get("bucket_width") != "1d":
            return Reply(404, "{}")
        return Reply(200, self._page(query))

    def _page(self, query: dict[str, str]) -> str:
        begins, ends = (datetime.fromtimestamp(int(query[name]), UTC) for name in ("start_time", "end_time"))
        days = [begins.date() + n * _DAY for n in range((ends - begins) // _DAY)]
        told = [day for day in days if day not in self.late]
        size, first = min(self.page_days, int(query["limit"])), int(query.get("page", "page_0").removeprefix("page_"))
        buckets = [
            {
                "object": "bucket",
                "start_time": _seconds(day),
                "end_time": _seconds(day + _DAY),
                "results": self.costs.get(day, []),
            }
            for day in told[first : first + size]
        ]
        more = first + size < len(told)
        following = f"page_{first + size}" if more else None
        page = {"object": "page", "data": buckets, "has_more": more, "next_page": following}
        return _NUMBER.sub(r"\1", json.dumps(page, default=lambda number: f"number {number}"))
