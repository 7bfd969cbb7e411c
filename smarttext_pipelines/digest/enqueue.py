"""The digest of a day: read, written, and put into the outbox once for each recipient."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection

from smarttext_pipelines.alerting.channels import CHANNELS, Channel
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.outbox import Enqueued, enqueue
from smarttext_pipelines.alerting.notify.targets import register
from smarttext_pipelines.core.display import shown
from smarttext_pipelines.digest.facts import Facts, read_facts
from smarttext_pipelines.digest.robocall_figures import limits_of
from smarttext_pipelines.digest.text import MAX_LINES, Digest, write_digest
from smarttext_pipelines.digest.weekly import week_lines
from smarttext_pipelines.settings import Settings

_DEADLINE = timedelta(hours=20)
_SUNDAY = 6


def build_digest(
    connection: Connection,
    settings: Settings,
    day: date,
    *,
    now: datetime | None = None,
    week: bool | None = None,
    most: int | None = None,
) -> Digest:
    """Return the digest of a day; a name that holds a number or a secret is scrubbed.

    Args:
        connection: A connection to the event database.
        settings: Of this process.
        day: Day it is about.
        now: Time of reading; the clock's by default.
        week: Whether the week that ends with the day is told, too; by default on Mondays, of Sundays.
        most: Lines of the day at most; the least urgent are counted only. None for all.
    """
    at = now or datetime.now(UTC)

    def facts_of(which: date) -> Facts:
        return read_facts(
            connection,
            which,
            zone=settings.zone,
            settle_days=settings.settle_days,
            reply_minutes=settings.reply_minutes,
            now=at,
            robocallers=limits_of(settings),
        )

    found = write_digest(facts_of(day), facts_of(day - timedelta(days=1)), most)
    is_told = day.weekday() == _SUNDAY if week is None else week
    more = tuple(week_lines(connection, day, settings.reply_minutes)) if is_told else ()
    lines = tuple(replace(line, text=shown(line.text)) for line in (*found.lines, *more))
    return replace(found, headline=shown(found.headline), lines=lines)


def read_digest(connection: Connection, settings: Settings, day: date, *, now: datetime | None = None) -> list[str]:
    """Return the digest of a day as lines of text, as it is sent, the headline first."""
    found = build_digest(connection, settings, day, now=now, most=MAX_LINES)
    return [found.headline, *map(str, found.lines)]


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
    link = f"{settings.web_url.rstrip('/')}/digest?date={day}" if settings.web_url else ""
    message = Message("digest", 0, "daily_digest", "info", "", head, lines, link=link)
    carrying = {name for name, kind in CHANNELS.items() if kind.carries_digest}
    targets = [target for target in register(connection, channels) if target[0] in carrying]
    # A number of its own for each day, below those of incidents: the outbox holds one row per number and recipient.
    items = [Enqueued(-day.toordinal(), 1, channel, recipient, message) for channel, recipient in targets]
    enqueue(connection, items, deadline=_DEADLINE)
    return [head, *lines]
