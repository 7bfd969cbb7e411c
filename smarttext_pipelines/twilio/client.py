"""Twilio's own client with our own base URL, timeout and retries.

The SDK repeats no request: only the caller knows whether a message was stored and may be sent again.
"""

import logging
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

TIMEOUT_SECONDS = 7.0
"""For connecting and for each read, so that both together stay below 15 s."""

_TOO_MANY_REQUESTS = 429
_DEFAULT_RETRY_AFTER_SECONDS = 5.0


class TooManyRequestsError(Exception):
    """Twilio answered 429; nothing was stored.

    Attributes:
        retry_after_seconds: When to ask again.
    """

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"429, asked to wait {retry_after_seconds:g} s")
        self.retry_after_seconds = retry_after_seconds


class _HttpClient(TwilioHttpClient):  # type: ignore[misc]
    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        # The SDK logs whole requests, with telephone numbers, as debug records.
        quiet = logging.Logger("twilio", logging.CRITICAL)
        super().__init__(timeout=timeout_seconds, max_retries=0, logger=quiet)
        self._base = urlsplit(base_url)

    def request(self, method: str, url: str, *args: Any, **options: Any) -> Response:
        asked = urlsplit(url)
        path = self._base.path.rstrip("/") + asked.path
        there = urlunsplit((self._base.scheme, self._base.netloc, path, asked.query, ""))
        response: Response = super().request(method, there, *args, **options)
        if response.status_code == _TOO_MANY_REQUESTS:
            raise TooManyRequestsError(_retry_after(response.headers))
        return response


def _retry_after(headers: Any) -> float:
    try:
        return max(1.0, float((headers or {}).get("Retry-After", _DEFAULT_RETRY_AFTER_SECONDS)))
    except ValueError:  # a date
        return _DEFAULT_RETRY_AFTER_SECONDS


def build_twilio_client(
    account_sid: str, auth_token: str, *, base_url: str, timeout_seconds: float = TIMEOUT_SECONDS
) -> Client:
    """Return a client; its calls raise TooManyRequestsError for 429, TwilioRestException for every other refusal.

    Args:
        account_sid: Account.
        auth_token: Its token.
        base_url: Server that is asked for every path, such as ``https://api.twilio.com``.
        timeout_seconds: For connecting and for each read.
    """
    # urllib3 logs every path as a debug record, and a search for messages has the number in it.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
    return Client(account_sid, auth_token, http_client=_HttpClient(base_url, timeout_seconds))
