"""Channel ``pagerduty``: Events API v2. ``dedup_key`` is the incident, so sending twice is sending once."""

from smarttext_pipelines.alerting.channels.channel import Delivery, Outcome, Sent
from smarttext_pipelines.alerting.channels.http import post
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import Message, full_text, headline

_LONGEST_SUMMARY = 1024


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
