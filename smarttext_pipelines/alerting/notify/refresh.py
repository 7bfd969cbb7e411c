"""What is open, said again to channels that forget what they do not hear of."""

from typing import Protocol, runtime_checkable

from sqlalchemy import Engine, text

from smarttext_pipelines.alerting.channels.channel import Channel, Outcome
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.database.connect import connected

MOST = 2000
"""Incidents that are said again at most, the newest first."""

_OPEN = text(
    f"""
    WITH opened AS (
        SELECT id FROM monitoring.incidents WHERE state IN ('firing', 'recovering') ORDER BY id DESC LIMIT {MOST}
    )
    SELECT DISTINCT ON (n.incident_id) n.message
    FROM monitoring.notifications AS n JOIN opened AS i ON i.id = n.incident_id
    WHERE n.channel = :channel AND n.status = 'sent' ORDER BY n.incident_id, n.id DESC
    """  # noqa: S608 - a constant
)


@runtime_checkable
class Refreshed(Protocol):
    """A channel whose provider forgets an alert that it does not hear of."""

    name: str

    def refresh(self, messages: list[Message]) -> Outcome:
        """Say again what is open."""


def refresh_open(engine: Engine, channels: list[Channel]) -> None:
    """Tell these channels of every open incident that was delivered to them.

    It is no notification: what fails is said again with the next delivery.
    """
    for channel in channels:
        if isinstance(channel, Refreshed):
            with connected(engine) as connection:
                found = connection.scalars(_OPEN, {"channel": channel.name}).all()
            if found:
                channel.refresh([Message.from_json(each) for each in found])
