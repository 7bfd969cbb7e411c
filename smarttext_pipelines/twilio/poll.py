"""Polls Twilio for messages, by pages of a list or one by one: bounded calls, each retried with backoff."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import requests
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.twilio.client import TooManyRequestsError

PAGE_SIZE = 1000
"""The most that Twilio gives."""

MAX_TRIES = 6
LONGEST_WAIT_SECONDS = 60.0
_SERVER_ERROR = 500
_NOT_FOUND = 404

T = TypeVar("T")


class BudgetSpentError(Exception):
    """The calls of a run are used up, or Twilio does not answer; the next run continues."""


@dataclass(frozen=True)
class Report:
    """What Twilio says of one message; neither its text nor a number.

    Attributes:
        sid: Twilio's sid.
        status: Status in lower case.
        error_code: Error code; empty is none.
        price: What it cost, above zero or zero; None while Twilio does not say.
        price_unit: Currency of the price.
        segments: Segments that it was sent in.
        is_outbound: Whether it left the account.
    """

    sid: str
    status: str
    error_code: str
    price: Decimal | None
    price_unit: str
    segments: str
    is_outbound: bool


@dataclass(frozen=True)
class UsageRecord:
    """What Twilio counts of a category on a day.

    Attributes:
        count: Messages.
        price: What they cost.
        currency: Currency of the price.
    """

    count: int = 0
    price: Decimal = Decimal(0)
    currency: str = "USD"


class Asker:
    """Calls Twilio within a budget.

    Attributes:
        calls: Requests that were made, repetitions included.
        repeated: Requests that were a repetition.
    """

    def __init__(self, client: Client, *, max_calls: int, sleep: Callable[[float], None]) -> None:
        self._client, self._left, self._sleep = client, max_calls, sleep
        self.calls = self.repeated = 0

    def fetch(self, sid: str) -> Report | None:
        """Return one message; None if Twilio does not know it."""
        try:
            return _report(self._call(self._client.messages(sid).fetch))
        except TwilioRestException as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def pages(self, after: datetime, before: datetime) -> Iterator[list[Report]]:
        """Yield the pages of messages sent between two instants, the newest first."""
        page = self._call(
            lambda: self._client.messages.page(date_sent_after=after, date_sent_before=before, page_size=PAGE_SIZE)
        )
        while True:
            yield [_report(message) for message in page]
            following = page.next_page_url
            if not following:
                return
            page = self._call(lambda url=following: self._client.messages.get_page(url))  # type: ignore[misc]

    def usage(self, category: str, first: date, last: date) -> dict[date, UsageRecord]:
        """Return what Twilio counts of a category on its days (GMT); a day without any may be missing."""
        daily = self._client.usage.records.daily
        page = self._call(lambda: daily.page(category=category, start_date=first, end_date=last, page_size=PAGE_SIZE))
        return {
            date.fromisoformat(str(r.start_date)): UsageRecord(
                int(Decimal(r.count or 0)), _price(r.price) or Decimal(0), str(r.price_unit or "USD").upper()
            )
            for r in page
        }

    def _call(self, request: Callable[[], T]) -> T:
        wait = 1.0
        for attempt in range(MAX_TRIES):
            if self._left <= 0:
                msg = "the calls of this run are used up"
                raise BudgetSpentError(msg)
            self._left -= 1
            self.calls += 1
            self.repeated += attempt > 0
            try:
                return request()
            except TooManyRequestsError as error:
                pause = error.retry_after_seconds
            except TwilioException as error:
                if (refused := _refusal(error)) is not None:
                    raise refused from None
                pause = wait
            # Resets, timeouts, and answers that end in the middle.
            except (requests.RequestException, ValueError):
                pause = wait
            wait *= 2
            self._sleep(min(pause, LONGEST_WAIT_SECONDS))
        msg = f"Twilio did not answer {MAX_TRIES} times in a row"
        raise BudgetSpentError(msg)


def as_refused(error: TwilioRestException) -> SmartTextError:
    """Return a refusal in one line of words."""
    msg = f"Twilio refused: {error.status}, code {error.code}, {scrub(str(error.msg))}; check TWILIO_ACCOUNT_SID"
    return SmartTextError(" ".join(msg.split()))


def _refusal(error: TwilioException) -> TwilioRestException | None:
    """Return what Twilio will answer again, however often it is asked; of a page, the SDK raises only the response."""
    if isinstance(error, TwilioRestException):
        return error if error.status < _SERVER_ERROR else None
    response = error.args[-1]
    status = getattr(response, "status_code", _SERVER_ERROR)
    if status >= _SERVER_ERROR:
        return None
    try:
        said = json.loads(response.text)
        return TwilioRestException(status, "", msg=str(said["message"]), code=said["code"])
    except (ValueError, TypeError, KeyError):
        return TwilioRestException(status, "", msg="no reason given")


def _report(message: Any) -> Report:
    return Report(
        sid=str(message.sid),
        status=str(message.status or "").lower(),
        error_code=str(message.error_code or ""),
        price=_price(message.price),
        price_unit=str(message.price_unit or "USD").upper(),
        segments=str(message.num_segments or ""),
        is_outbound=str(message.direction or "").startswith("outbound"),
    )


def _price(value: object) -> Decimal | None:
    """Return a price, which Twilio gives as a negative text."""
    try:
        price = abs(Decimal(str(value)))
    except InvalidOperation:
        return None
    return price if price.is_finite() else None
