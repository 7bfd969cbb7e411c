"""Channel ``discord``: an incoming webhook. It cannot be searched, so what it may post twice says so.

Source of the format: Discord's developer documentation, "Webhook Resource", Execute Webhook.
"""

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
)
from smarttext_pipelines.alerting.channels.http import ask, post
from smarttext_pipelines.alerting.notify.markup import MARKDOWN, Markup
from smarttext_pipelines.alerting.notify.message import full_text
from smarttext_pipelines.settings import Settings

DISCORD = Markup(escape=lambda text: MARKDOWN.escape(text).replace("@", "\\@"), link=MARKDOWN.link)
"""Markdown, in which ``@everyone`` and its like are escaped too."""

_MAX_CHARACTERS = 2000
"""Discord refuses a longer ``content``."""


class DiscordChannel:
    """Posts to an incoming webhook."""

    name = "discord"
    markup = DISCORD
    recipients: tuple[str, ...] = ("webhook",)

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, delivery: Delivery) -> Outcome:
        """Post it; nobody is mentioned, whatever the text says."""
        content = _cut(full_text(delivery.message, self.markup, attempt=delivery.attempt))
        # Without ``wait`` Discord answers before it knows whether it keeps the message. A URL can name a thread.
        query = "&wait=true" if "?" in self._url else "?wait=true"
        return post(self._url + query, {"content": content, "allowed_mentions": {"parse": []}})

    def find(self, delivery: Delivery) -> Sent | None:
        """Nobody can be asked; the text says that it may repeat."""
        return None


def _cut(text: str) -> str:
    """Return a text that fits: lines from its middle go, the headline and the footer stay."""
    lines = text.splitlines()
    while len("\n".join(lines)) > _MAX_CHARACTERS and len(lines) > 2:
        del lines[-2]
    return "\n".join(lines)[:_MAX_CHARACTERS]


def _build(settings: Settings) -> list[Channel]:
    url = settings.discord_webhook_url
    return [DiscordChannel(url.get_secret_value())] if url else []


def _probe(settings: Settings) -> Probe:
    """Read the webhook, which posts nothing."""
    if settings.discord_webhook_url is None:
        return NOT_CONFIGURED
    answer = ask("GET", settings.discord_webhook_url.get_secret_value(), "https://discordstatus.com")
    if isinstance(answer, Probe):
        return answer
    if "id" not in answer.body:
        return Probe(False, f"refused: {answer.status}", "set DISCORD_WEBHOOK_URL to a webhook that exists")
    return Probe(True, "the webhook exists")


KIND = ChannelKind(
    name="discord",
    ways=(Way("`DISCORD_WEBHOOK_URL`", "yes, and says so"),),
    build=_build,
    severities=EVERY_SEVERITY,
    carries_digest=True,
    probe=_probe,
)
