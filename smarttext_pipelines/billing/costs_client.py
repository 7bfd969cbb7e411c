"""OpenAI's costs API: what it charges the organisation by UTC day, project and line item, in exact amounts.

``GET /organization/costs`` costs nothing. Neither the key nor the text of an answer is ever part of an error: OpenAI
quotes the key in its refusals.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from http import HTTPStatus
from typing import Any

import requests
from requests.auth import AuthBase

from smarttext_pipelines.billing.ask_days import UTC_ZONE
from smarttext_pipelines.billing.costs_answer import Chain, DayCosts, Page, read_page
from smarttext_pipelines.core.days import DayRange, day_end, day_start
from smarttext_pipelines.core.errors import SmartTextError

TIMEOUT_SECONDS = 7.0
"""For connecting and for each read, so that both together stay below 15 s."""

MAX_DAYS = 180
"""The most that a page has."""

MAX_CALLS, MAX_TRIES, LONGEST_WAIT_SECONDS = 20, 5, 60.0
_GROUPS = ("project_id", "line_item")
_PATH = "/organization/costs"
_AGAIN = "the next run asks again"
_TODO: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "set OPENAI_ADMIN_KEY to an admin key of the organisation; a project's key is none",
    HTTPStatus.FORBIDDEN: "give the admin key the right to read usage",
}


def todo_of(status: int) -> str:
    """Return what to do about a status that refuses."""
    return _TODO.get(status, "see SMARTTEXT_OPENAI_BASE_URL and https://status.openai.com")


class CostsClient:
    """Asks for costs within the calls of a run; each is tried again after 429, 5xx and lost connections.

    Attributes:
        calls: Requests that were made, repetitions included.
    """

    def __init__(
        self,
        key: str,
        *,
        base_url: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Ask nothing yet.

        Args:
            key: Admin key of the organisation.
            base_url: What the paths of the API follow, such as ``https://api.openai.com/v1``.
            timeout_seconds: For connecting and for each read.
            sleep: Waits that many seconds.
        """
        # urllib3 logs every address as a debug record.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        self._url, self._bearer = base_url.rstrip("/") + _PATH, _Bearer(key)
        self._timeout, self._sleep = timeout_seconds, sleep
        self.calls = 0

    def costs(self, days: DayRange) -> dict[date, DayCosts]:
        """Return the days that OpenAI told of, in one chain of pages; a day it has no bucket of is left out.

        Args:
            days: Whole days in UTC.

        Raises:
            SmartTextError: OpenAI refuses, does not answer, or contradicts itself; nothing is known then.
        """
        chain = Chain(days)
        for page in self._pages(days):
            chain.add(page)
        return chain.days

    def probe(self, day: date) -> int:
        """Return the status of one question for a day, without another try.

        Raises:
            requests.RequestException: Nobody answered.
        """
        return self._once({**_range_of(DayRange(day, day)), "limit": 1}).status_code

    def _pages(self, days: DayRange) -> Iterator[Page]:
        asked: dict[str, Any] = {**_range_of(days), "group_by": _GROUPS, "limit": min(len(days), MAX_DAYS)}
        cursors: set[str] = set()
        while True:
            page = self._page(asked)
            yield page
            if page.following is None:
                return
            if page.following in cursors:
                msg = f"OpenAI's costs lead from a page back to itself; {_AGAIN}"
                raise SmartTextError(msg)
            cursors.add(page.following)
            asked["page"] = page.following

    def _page(self, asked: dict[str, Any]) -> Page:
        pause = 1.0
        for _ in range(MAX_TRIES):
            if self.calls >= MAX_CALLS:
                msg = f"the calls of this run for OpenAI's costs are used up; {_AGAIN}"
                raise SmartTextError(msg)
            wait = pause
            try:
                answer = self._once(asked)
                if answer.status_code == HTTPStatus.OK:
                    return read_page(answer.text)
                wait = _wait_of(answer, pause)
            # Resets, timeouts, and answers that end in the middle; their texts can quote an address.
            except (requests.RequestException, ValueError):
                pass
            pause *= 2
            self._sleep(wait)
        msg = f"OpenAI did not tell its costs {MAX_TRIES} times in a row; {_AGAIN}"
        raise SmartTextError(msg)

    def _once(self, asked: dict[str, Any]) -> requests.Response:
        self.calls += 1
        # A redirect would carry the key elsewhere.
        return requests.get(self._url, params=asked, auth=self._bearer, timeout=self._timeout, allow_redirects=False)


def _range_of(days: DayRange) -> dict[str, Any]:
    begins, ends = day_start(days.first, UTC_ZONE), day_end(days.last, UTC_ZONE)
    return {"start_time": int(begins.timestamp()), "end_time": int(ends.timestamp()), "bucket_width": "1d"}


def _wait_of(answer: requests.Response, pause: float) -> float:
    """Return how long to wait before the next try; raise SmartTextError where there is to be none."""
    status = answer.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return pause
    if status != HTTPStatus.TOO_MANY_REQUESTS:
        msg = f"OpenAI refused to tell its costs: {status}; {todo_of(status)}"
        raise SmartTextError(msg)
    wait = _retry_after(answer.headers.get("Retry-After"), pause)
    if wait > LONGEST_WAIT_SECONDS:
        msg = f"OpenAI asks to wait {wait:,.0f} s before its costs are asked for; {_AGAIN}"
        raise SmartTextError(msg)
    return wait


def _retry_after(said: str | None, pause: float) -> float:
    """Return the seconds of a Retry-After header; the pause where it has none, or a date."""
    try:
        return min(max(pause, float(said or 0)), timedelta(days=1).total_seconds())
    except ValueError:
        return pause


class _Bearer(AuthBase):
    """The key as a header; without it requests would prefer what a .netrc says of the host."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request
