"""The receiver: refuses what is too large, malformed or not signed by Twilio, counts it, and hands on the rest.

Besides Twilio's route it serves health checks, see ``health_pages``.

The signature is Twilio's over the public URL, because what a proxy in between makes of it is not what was signed.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from enum import IntEnum
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from twilio.request_validator import RequestValidator

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.twilio.callbacks.form import Form, MalformedError, StatusReport, parse_form, parse_report
from smarttext_pipelines.twilio.callbacks.health_pages import Health, Verdict

MAX_BYTES = 16 * 1024
"""Twilio's callbacks are below 2 KB."""

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

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

        health = [Route(path, self._verdict, methods=["GET"]) for path in looks or {}]
        everything_else = Route("/{path:path}", self._endpoint, methods=_METHODS)
        self._app = Starlette(routes=[*health, everything_else])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI 3)."""
        await self._app(scope, receive, send)

    async def _verdict(self, request: Request) -> Response:
        status, body = await self._health.answer(request.url.path)
        return Response(body, status, {"cache-control": "no-store"}, media_type="application/json")

    async def _endpoint(self, request: Request) -> Response:
        try:
            self._track(await self._report(request))
            outcome = Outcome.accepted
        except _RefusedError as error:
            outcome = error.outcome
            # The first of each kind; what was sent stays out of the log.
            if not self.counts[outcome.name]:
                _log.warning("refused a request: %s", outcome.name)
        self.counts[outcome.name] += 1
        return Response(status_code=int(outcome))

    async def _report(self, request: Request) -> StatusReport:
        if request.url.path != self._path:
            raise _RefusedError(Outcome.not_found)
        if request.method != "POST":
            raise _RefusedError(Outcome.method)
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise _RefusedError(Outcome.media_type)
        body = await _body(request)
        try:
            form = parse_form(body)
            self._require_signature(form, request.url.query, request.headers.get("x-twilio-signature", ""))
            return parse_report(form)
        except MalformedError:
            raise _RefusedError(Outcome.malformed) from None

    def _require_signature(self, form: Form, query: str, signature: str) -> None:
        url = self._url + (f"?{query}" if query else "")
        if not signature.isascii() or not self._validator.validate(url, form, signature):
            raise _RefusedError(Outcome.forged)


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BYTES:
                raise _RefusedError(Outcome.oversized)
    except ClientDisconnect:
        raise _RefusedError(Outcome.malformed) from None
    return body
