"""The digest of a day: read, written, and put into the outbox once for each recipient."""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import Connection

from smarttext_pipelines.alerting.channels import CHANNELS, Channel
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.outbox import Enqueued, enqueue
from smarttext_pipelines.alerting.notify.targets import register
from smarttext_pipelines.core.display import shown
from smarttext_pipelines.digest.facts import read_facts
from smarttext_pipelines.digest.text import digest_lines
from smarttext_pipelines.settings import Settings

_DEADLINE = timedelta(hours=20)


def read_digest(connection: Connection, settings: Settings, day: date) -> list[str]:
    """Return the lines of the digest of a day; a name that holds a number or a secret is scrubbed."""
    facts = read_facts(
        connection,
        day,
        zone=settings.zone,
        settle_days=settings.settle_days,
        reply_minutes=settings.reply_minutes,
    )
    return [shown(line) for line in digest_lines(facts)]


def enqueue_digest(connection: Connection, settings: Settings, channels: Sequence[Channel], day: date) -> list[str]:
    """Put the digest of a day into the outbox; a second time changes nothing.

    Args:
        connection: In a transaction.
        settings: Of this process.
        channels: Channels of this process.
        day: Day it is about.

    Returns:
        Its lines.
    """
    head, *lines = read_digest(connection, settings, day)
    message = Message("digest", 0, "daily_digest", "info", "", head, lines)
    carrying = {name for name, kind in CHANNELS.items() if kind.carries_digest}
    targets = [target for target in register(connection, channels) if target[0] in carrying]
    # A number of its own for each day, below those of incidents: the outbox holds one row per number and recipient.
    items = [Enqueued(-day.toordinal(), 1, channel, recipient, message) for channel, recipient in targets]
    enqueue(connection, items, deadline=_DEADLINE)
    return [head, *lines]
