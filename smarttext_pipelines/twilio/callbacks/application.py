"""The ASGI application: refuses what is too large, malformed or not signed by Twilio, counts it, and hands on the rest.

Besides Twilio's route it serves health checks, see ``health_pages``.

The signature is Twilio's over the public URL, because what a proxy in between makes of it is not what was signed.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from enum import IntEnum
from typing import Any
from urllib.parse import urlsplit

from twilio.request_validator import RequestValidator

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.twilio.callbacks.form import Form, MalformedError, StatusReport, parse_form, parse_report
from smarttext_pipelines.twilio.callbacks.health_pages import Health, Verdict

MAX_BYTES = 16 * 1024
"""Twilio's callbacks are below 2 KB."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("smarttext_pipelines.receiver")


class Outcome(IntEnum):
    """The outcome of a request, with its HTTP status."""

    accepted = 204
    malformed = 400
    forged = 403
    not_found = 404
    method = 405
    oversized = 413
    media_type = 415


class _RefusedError(Exception):
    """The request is refused; the argument is the outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.name)
        self.outcome = outcome


class Receiver:
    """The application.

    Attributes:
        counts: Requests by outcome.
    """

    def __init__(
        self,
        *,
        auth_token: str,
        public_url: str,
        track: Callable[[StatusReport], object],
        looks: Mapping[str, Callable[[], Verdict]] | None = None,
    ) -> None:
        """Prepare to check signatures and to hand on reports.

        Args:
            auth_token: Twilio's auth token.
            public_url: URL that Twilio calls, as it was given as ``statusCallback``, without a query.
            track: Takes each report and returns at once.
            looks: Functions that find the verdict of each GET path.

        Raises:
            SettingsError: The URL cannot be one that Twilio calls.
        """
        parts = urlsplit(public_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or len(parts.path) < 2 or parts.query:
            msg = "SMARTTEXT_RECEIVER_URL must be the whole public URL, such as https://hooks.example.com/twilio/status"
            raise SettingsError(msg)
        self.counts: Counter[str] = Counter()
        self._url, self._path, self._track = public_url, parts.path, track
        self._validator = RequestValidator(auth_token)
        self._health = Health(looks or {})

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI 3)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] == "http" and self._health.serves(scope["method"], scope["path"]):
            await _respond(send, *await self._health.answer(scope["path"]), media=b"application/json")
            return
        try:
            self._track(await self._report(scope, receive))
            outcome = Outcome.accepted
        except _RefusedError as error:
            outcome = error.outcome
            # The first of each kind; what was sent stays out of the log.
            if not self.counts[outcome.name]:
                _log.warning("refused a request: %s", outcome.name)
        self.counts[outcome.name] += 1
        await _respond(send, int(outcome), b"")

    async def _report(self, scope: MutableMapping[str, Any], receive: Receive) -> StatusReport:
        if scope["type"] != "http" or scope["path"] != self._path:
            raise _RefusedError(Outcome.not_found)
        if scope["method"] != "POST":
            raise _RefusedError(Outcome.method)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise _RefusedError(Outcome.media_type)
        body = await _body(receive)
        try:
            form = parse_form(body)
            self._require_signature(form, scope.get("query_string", b""), headers.get("x-twilio-signature", ""))
            return parse_report(form)
        except MalformedError:
            raise _RefusedError(Outcome.malformed) from None

    def _require_signature(self, form: Form, query: bytes, signature: str) -> None:
        url = self._url + ("?" + query.decode("latin-1") if query else "")
        if not signature.isascii() or not self._validator.validate(url, form, signature):
            raise _RefusedError(Outcome.forged)


async def _respond(send: Send, status: int, body: bytes, media: bytes = b"text/plain") -> None:
    headers = [(b"content-type", media), (b"cache-control", b"no-store")] if body else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _RefusedError(Outcome.malformed)
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BYTES:
            raise _RefusedError(Outcome.oversized)
        if not message.get("more_body"):
            return body


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
