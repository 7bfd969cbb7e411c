"""Texts of channel ``twilio_sms``: without an idempotency key, each carries a mark that a retry searches for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

from smarttext_pipelines.alerting.channels.channel import (
    Delivery,
    Later,
    LookUpError,
    Outcome,
    Rejected,
    Sent,
    Unclear,
)
from smarttext_pipelines.alerting.notify.markup import SMS
from smarttext_pipelines.alerting.notify.message import sms_text
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.twilio.client import TooManyRequestsError

_CLOCKS_DIFFER = timedelta(minutes=5)
_PAGE = 100
_SERVER_ERROR = 500


class TwilioSmsChannel:
    """Texts operators."""

    name = "twilio_sms"
    markup = SMS

    def __init__(self, client: Client, sender: str, numbers: dict[str, str]) -> None:
        """Take the numbers by their references."""
        self._client, self._sender, self._numbers = client, sender, numbers
        self.recipients = tuple(numbers)

    def send(self, delivery: Delivery) -> Outcome:
        """Create the message."""
        number = self._numbers.get(delivery.recipient)
        if number is None:
            return Rejected("the recipient is no longer in SMARTTEXT_ALERT_PHONES")
        try:
            sent = self._client.messages.create(
                to=number, from_=self._sender, body=sms_text(delivery.message, delivery.tag)
            )
        except TooManyRequestsError as error:
            return Later(error.retry_after_seconds, "429")
        except TwilioRestException as error:
            said = scrub(f"{error.status}, code {error.code}: {error.msg}")
            return Unclear(said) if error.status >= _SERVER_ERROR else Rejected(said)
        except (requests.RequestException, TwilioException, ValueError, KeyError, TypeError) as error:
            return Unclear(type(error).__name__)
        return Sent(sent.sid)

    def find(self, delivery: Delivery) -> Sent | None:
        """Search the messages to that number since the first attempt for the mark."""
        number = self._numbers.get(delivery.recipient)
        oldest = delivery.first_attempt_at - _CLOCKS_DIFFER
        try:
            for found in self._client.messages.stream(to=number, page_size=_PAGE) if number else ():
                if f"#{delivery.tag}" in (found.body or ""):
                    return Sent(found.sid)
                if _created_at(found) < oldest:
                    break
        except TooManyRequestsError as error:
            msg = "429"
            raise LookUpError(msg) from error
        except (requests.RequestException, TwilioException, ValueError, KeyError, TypeError) as error:
            raise LookUpError(type(error).__name__) from error
        return None


def _created_at(message: Any) -> datetime:
    at: datetime | None = message.date_created
    return at or datetime.now(UTC)
