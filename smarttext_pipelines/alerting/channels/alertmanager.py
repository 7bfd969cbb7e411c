"""Channel ``alertmanager``: incidents as alerts of Prometheus' Alertmanager, whose routing, silences and on-call apply.

An alert ends by itself ``EXPIRY`` after it was last said, as Prometheus' own do; ``refresh`` says what is open again
with each delivery, so an Alertmanager that was restarted has it within a minute. Source of the format: Alertmanager's
API v2, ``POST /api/v2/alerts``.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

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
from smarttext_pipelines.alerting.channels.webhook import alert_of
from smarttext_pipelines.alerting.incidents.lifecycle import Severity
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.settings import Settings

EXPIRY = timedelta(minutes=10)
Alert = Mapping[str, object]


class AlertmanagerChannel:
    """Posts every notice; an alert is known by its labels, so a repetition changes nothing."""

    name = "alertmanager"
    markup = PLAIN
    recipients: tuple[str, ...] = ("alertmanager",)

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/api/v2/alerts"

    def send(self, delivery: Delivery) -> Outcome:
        """Post it; the alert of another severity of the same incident ends."""
        message, now = delivery.message, datetime.now(UTC)
        alerts = [_alert(message, now)]
        if message.kind == "worse":
            others = [each.name for each in Severity if each.name != message.severity]
            alerts += [_alert(message, now, severity=other, ends_at=now) for other in others]
        return post(self._url, alerts)

    def find(self, delivery: Delivery) -> Sent | None:
        """A repetition changes nothing."""
        return None

    def refresh(self, messages: Sequence[Message]) -> Outcome:
        """Say again what is open, before it expires."""
        now = datetime.now(UTC)
        return post(self._url, [_alert(message, now) for message in messages])


def _alert(message: Message, now: datetime, *, severity: str = "", ends_at: datetime | None = None) -> Alert:
    alert = alert_of(message)
    labels: Mapping[str, object] = alert["labels"] | ({"severity": severity} if severity else {})
    end = ends_at or (now if message.is_over else now + EXPIRY)
    posted = {
        "labels": {name: str(value) for name, value in labels.items()},
        "annotations": alert["annotations"],
        "generatorURL": message.link,
        "endsAt": end.isoformat(),
    }
    return posted | ({"startsAt": message.labels["starts_at"]} if "starts_at" in message.labels else {})


def _build(settings: Settings) -> list[Channel]:
    return [AlertmanagerChannel(settings.alertmanager_url)] if settings.alertmanager_url else []


def _probe(settings: Settings) -> Probe:
    """Read its status, which posts nothing."""
    if settings.alertmanager_url is None:
        return NOT_CONFIGURED
    answer = ask("GET", f"{settings.alertmanager_url.rstrip('/')}/api/v2/status", "SMARTTEXT_ALERTMANAGER_URL")
    if isinstance(answer, Probe):
        return answer
    if "versionInfo" not in answer.body:
        return Probe(False, f"refused: {answer.status}", "set SMARTTEXT_ALERTMANAGER_URL to an Alertmanager")
    return Probe(True, "Alertmanager answers")


KIND = ChannelKind(
    name="alertmanager",
    ways=(Way("`SMARTTEXT_ALERTMANAGER_URL`", "an alert is known by its labels"),),
    build=_build,
    severities=EVERY_SEVERITY,
    is_tested_weekly=True,
    probe=_probe,
)
