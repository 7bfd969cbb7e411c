"""Channel ``webhook``: Alertmanager's webhook format, version 4, so that whatever reads Alertmanager reads this.

Source of the format: Prometheus documentation, "Alerting: configuration", section webhook_config.
"""

import hashlib
from typing import Any

from smarttext_pipelines.alerting.channels.channel import (
    EVERY_SEVERITY,
    Channel,
    ChannelKind,
    Delivery,
    Outcome,
    Sent,
    Way,
)
from smarttext_pipelines.alerting.channels.http import post
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import Message, full_text, headline
from smarttext_pipelines.settings import Settings

_NO_TIME = "0001-01-01T00:00:00Z"


class WebhookChannel:
    """Posts every notice; receivers tell incidents apart by ``fingerprint``, so a repetition changes nothing."""

    name = "webhook"
    markup = PLAIN
    recipients: tuple[str, ...] = ("webhook",)

    def __init__(self, url: str, external_url: str) -> None:
        self._url, self._external_url = url, external_url

    def send(self, delivery: Delivery) -> Outcome:
        """Post it."""
        body = alertmanager_body(delivery.message, self._external_url)
        return post(self._url, body, headers={"Idempotency-Key": delivery.tag})

    def find(self, delivery: Delivery) -> Sent | None:
        """A repetition changes nothing."""
        return None


def alert_of(message: Message) -> dict[str, Any]:
    """Return the alert of a notice: its labels, by which it is known, its annotations and its times."""
    labels = {"alertname": message.rule, "severity": message.severity, "incident": message.number}
    labels |= {name: value for name, value in message.labels.items() if name not in ("starts_at", "ends_at")}
    annotations = {
        "summary": PLAIN.escape(headline(message)),
        "description": full_text(message, PLAIN),
        "runbook_url": message.runbook,
    }
    return {
        "status": "resolved" if message.is_over else "firing",
        "labels": labels,
        "annotations": annotations,
        "startsAt": message.labels.get("starts_at", _NO_TIME),
        "endsAt": message.labels.get("ends_at", _NO_TIME),
        "generatorURL": message.link,
        "fingerprint": hashlib.sha256(message.number.encode()).hexdigest()[:16],
    }


def alertmanager_body(message: Message, external_url: str) -> dict[str, object]:
    """Return the group with this one alert."""
    alert = alert_of(message)
    return {
        "version": "4",
        "groupKey": f'{{}}:{{incident="{message.number}"}}',
        "truncatedAlerts": 0,
        "status": alert["status"],
        "receiver": "smarttext",
        "groupLabels": {"incident": message.number},
        "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"],
        "externalURL": external_url,
        "alerts": [alert],
    }


def _build(settings: Settings) -> list[Channel]:
    url = settings.alert_webhook_url
    return [WebhookChannel(url.get_secret_value(), settings.ui_url)] if url else []


KIND = ChannelKind(
    name="webhook",
    ways=(Way("`SMARTTEXT_ALERT_WEBHOOK_URL`", "the receiver sees one `fingerprint`"),),
    build=_build,
    severities=EVERY_SEVERITY,
)
