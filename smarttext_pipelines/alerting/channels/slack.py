"""Channel ``slack``: a bot, or an incoming webhook, which can only post, so what it may post twice says so."""

from typing import Any

from smarttext_pipelines.alerting.channels.channel import (
    EVERY_SEVERITY,
    NOT_CONFIGURED,
    Channel,
    ChannelKind,
    Delivery,
    Outcome,
    Probe,
    Sent,
    Way,
    require,
)
from smarttext_pipelines.alerting.channels.http import ask, post
from smarttext_pipelines.alerting.notify.markup import SLACK
from smarttext_pipelines.alerting.notify.message import full_text
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.settings import Settings

AS_TEXT: dict[str, Any] = {"parse": "none", "link_names": False}
"""Slack looks for no names and addresses in it, as it would in an edit by default."""

POSTED: dict[str, Any] = {**AS_TEXT, "unfurl_links": False, "unfurl_media": False}


class SlackWebhookChannel:
    """Posts to an incoming webhook."""

    name = "slack"
    markup = SLACK
    recipients: tuple[str, ...] = ("webhook",)

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, delivery: Delivery) -> Outcome:
        """Post it."""
        return post(self._url, {"text": full_text(delivery.message, self.markup, attempt=delivery.attempt), **POSTED})

    def find(self, delivery: Delivery) -> Sent | None:
        """Nobody can be asked; the text says that it may repeat."""
        return None


def _build(settings: Settings) -> list[Channel]:
    if settings.slack_bot_token:
        require(settings, "slack_bot_token", "slack_channel")
        from smarttext_pipelines.alerting.channels.slack_bot import SlackBotChannel, open_client

        client = open_client(settings.slack_bot_token.get_secret_value(), settings.slack_base_url)
        return [SlackBotChannel(client, str(settings.slack_channel))]
    if settings.slack_webhook_url:
        return [SlackWebhookChannel(settings.slack_webhook_url.get_secret_value())]
    return []


def _probe(settings: Settings) -> Probe:
    """Ask Slack who the bot is; a webhook cannot be asked."""
    if settings.slack_bot_token is None:
        is_set = settings.slack_webhook_url is not None
        return Probe(True, "a webhook is set; it cannot be asked without sending") if is_set else NOT_CONFIGURED
    answer = ask(
        "POST",
        settings.slack_base_url.rstrip("/") + "/auth.test",
        "https://status.slack.com",
        headers={"Authorization": f"Bearer {settings.slack_bot_token.get_secret_value()}"},
    )
    if isinstance(answer, Probe):
        return answer
    if not answer.body.get("ok"):
        said = answer.body.get("error") if answer.status < 400 else answer.status
        return Probe(False, f"refused: {scrub(str(said))}", "set a valid SLACK_BOT_TOKEN")
    if not settings.slack_channel:
        return Probe(False, "no channel", "set SLACK_CHANNEL to the id of a channel the bot is in")
    return Probe(True, "the token is valid")


KIND = ChannelKind(
    name="slack",
    ways=(
        Way(
            "`SLACK_BOT_TOKEN` and `SLACK_CHANNEL` (scopes `chat:write`, `channels:history`; invite the bot)",
            "no: searched before it is resent",
        ),
        Way("`SLACK_WEBHOOK_URL`", "yes, and says so"),
    ),
    build=_build,
    severities=EVERY_SEVERITY,
    carries_digest=True,
    probe=_probe,
)
