"""Channel ``pagerduty``: Events API v2. ``dedup_key`` is the incident, so sending twice is sending once."""

from smarttext_pipelines.alerting.channels.channel import (
    NOT_CONFIGURED,
    Channel,
    ChannelKind,
    Delivery,
    Outcome,
    Probe,
    Sent,
    Way,
)
from smarttext_pipelines.alerting.channels.http import post
from smarttext_pipelines.alerting.incidents.lifecycle import Severity
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import Message, full_text, headline
from smarttext_pipelines.settings import Settings

_LONGEST_SUMMARY = 1024
_KEY_LENGTH = 32


class PagerDutyChannel:
    """Triggers and resolves PagerDuty's incidents."""

    name = "pagerduty"
    markup = PLAIN
    recipients: tuple[str, ...] = ("routing_key",)

    def __init__(self, routing_key: str, base_url: str, client_url: str) -> None:
        self._key, self._client_url = routing_key, client_url
        self._url = f"{base_url.rstrip('/')}/v2/enqueue"

    def send(self, delivery: Delivery) -> Outcome:
        """Trigger or resolve it."""
        outcome = post(self._url, self._body(delivery.message))
        return Sent(delivery.message.number) if isinstance(outcome, Sent) else outcome

    def find(self, delivery: Delivery) -> Sent | None:
        """A repetition changes nothing."""
        return None

    def _body(self, message: Message) -> dict[str, object]:
        body: dict[str, object] = {
            "routing_key": self._key,
            "event_action": "resolve" if message.is_over else "trigger",
            "dedup_key": f"smarttext-{message.number}",
        }
        if message.is_over:
            return body
        return body | {
            "client": "smarttext",
            "client_url": self._client_url,
            "payload": {
                "summary": self.markup.escape(headline(message))[:_LONGEST_SUMMARY],
                "source": self.markup.escape(message.subject),
                "severity": message.severity,
                "class": message.rule,
                "custom_details": {"text": full_text(message, self.markup), "runbook": message.runbook},
            },
        }


def _build(settings: Settings) -> list[Channel]:
    if settings.pagerduty_routing_key is None:
        return []
    key = settings.pagerduty_routing_key.get_secret_value()
    return [PagerDutyChannel(key, settings.pagerduty_base_url, settings.ui_url)]


def _probe(settings: Settings) -> Probe:
    """A routing key cannot be asked without opening an incident; its length can be seen."""
    if settings.pagerduty_routing_key is None:
        return NOT_CONFIGURED
    if len(settings.pagerduty_routing_key.get_secret_value()) != _KEY_LENGTH:
        return Probe(False, f"the routing key has not {_KEY_LENGTH} characters", "set PAGERDUTY_ROUTING_KEY")
    return Probe(True, "a routing key is set; it cannot be asked without sending")


KIND = ChannelKind(
    name="pagerduty",
    ways=(Way("`PAGERDUTY_ROUTING_KEY`", "no: `dedup_key` is the incident"),),
    build=_build,
    severities=frozenset({Severity.critical}),
    is_tested_weekly=True,
    probe=_probe,
)
