"""The bot of channel ``slack``: one message per incident, edited in place, with replies in its thread."""

import logging
import re
from http.client import HTTPException
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.slack_response import SlackResponse

from smarttext_pipelines.alerting.channels.channel import (
    Delivery,
    Later,
    LookUpError,
    Outcome,
    Rejected,
    Sent,
    Unclear,
)
from smarttext_pipelines.alerting.channels.http import TIMEOUT_SECONDS, retry_after
from smarttext_pipelines.alerting.channels.slack import AS_TEXT, POSTED
from smarttext_pipelines.alerting.notify.markup import SLACK
from smarttext_pipelines.alerting.notify.message import full_text

_EVENT = "smarttext_notification"
_PAGE = 200
_SERVER_ERROR = 500
_RATE_LIMITED_SECONDS = 5
_UNCLEAR = {"internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org"}


def open_client(token: str, base_url: str) -> WebClient:
    """Return a client that asks once and logs nothing."""
    # The SDK logs whole requests as debug records, and answers that it cannot read as errors.
    quiet = logging.Logger("slack_sdk", logging.CRITICAL)
    base = base_url.rstrip("/") + "/"
    return WebClient(token, base_url=base, timeout=int(TIMEOUT_SECONDS), retry_handlers=[], logger=quiet)


class SlackBotChannel:
    """One message per incident in one channel of Slack; ``thread`` is ``channel:ts`` of that message."""

    name = "slack"
    markup = SLACK

    def __init__(self, client: WebClient, channel: str) -> None:
        self._client, self._channel = client, channel
        self.recipients: tuple[str, ...] = (channel,)

    def send(self, delivery: Delivery) -> Outcome:
        """Post the incident, or edit its message and reply to it.

        The end is also shown in the channel, because an edit tells nobody.
        """
        text = full_text(delivery.message, self.markup)
        metadata = {"event_type": _EVENT, "event_payload": {"tag": delivery.tag}}
        reply: dict[str, Any] = {}
        try:
            if delivery.thread:
                channel, ts = delivery.thread.split(":", 1)
                # Editing twice does no harm, so it goes first.
                self._client.chat_update(channel=channel, ts=ts, text=text, **AS_TEXT)
                reply = {"thread_ts": ts, "reply_broadcast": delivery.message.is_over}
            answer = self._client.chat_postMessage(
                channel=self._channel, text=text, metadata=metadata, **POSTED, **reply
            )
            return Sent(f"{answer['channel']}:{answer['ts']}")
        except SlackApiError as error:
            return _refusal(error)
        except (SlackClientError, HTTPException, OSError, ValueError, KeyError, TypeError) as error:
            return Unclear(type(error).__name__)

    def find(self, delivery: Delivery) -> Sent | None:
        """Search the channel, or the thread, since the first attempt for the mark."""
        oldest = str(delivery.first_attempt_at.timestamp() - 300)
        options: dict[str, Any] = {"include_all_metadata": True, "limit": _PAGE}
        try:
            if delivery.thread:
                channel, ts = delivery.thread.split(":", 1)
                pages = self._client.conversations_replies(channel=channel, ts=ts, **options)
            else:
                pages = self._client.conversations_history(channel=self._channel, oldest=oldest, **options)
            for page in pages:
                for found in page["messages"]:
                    if found.get("metadata", {}).get("event_payload", {}).get("tag") == delivery.tag:
                        return Sent(f"{self._channel}:{found['ts']}")
        except (SlackClientError, HTTPException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LookUpError(type(error).__name__) from error
        return None


def _refusal(error: SlackApiError) -> Outcome:
    answer: SlackResponse | dict[str, Any] = error.response
    status = getattr(answer, "status_code", 200)
    if status == 429:
        return Later(retry_after(getattr(answer, "headers", {})), "429")
    code = str(answer.get("error", ""))
    # For an answer that is no JSON the SDK makes up an error of its own, in whole words.
    if status >= _SERVER_ERROR or code in _UNCLEAR or not re.fullmatch(r"[a-z_]+", code):
        return Unclear(str(status))
    if code in ("ratelimited", "rate_limited"):
        return Later(_RATE_LIMITED_SECONDS, code)
    return Rejected(code)
