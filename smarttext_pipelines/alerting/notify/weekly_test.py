"""The weekly proof of the channels that are silent while all is well: a test over text message and pager.

The digest proves the others each morning.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from sqlalchemy import Connection

from smarttext_pipelines.alerting.channels import CHANNELS, Channel
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.outbox import Enqueued, enqueue
from smarttext_pipelines.alerting.notify.targets import register

_FIRST_NUMBER = 10_000_000
"""Below those of digests, which are a day's ordinal."""

_TEST = Message(
    "test",
    0,
    "weekly_test",
    "info",
    "Weekly test",
    "alerts arrive here",
    next_step="Nothing to do; when it does not come one Monday, look at `smarttext doctor`",
    lasted="0 min",
    reason="test",
    runbook="docs/health.md",
)


def enqueue_weekly_test(connection: Connection, channels: Sequence[Channel], day: date) -> list[str]:
    """Put a test for each recipient into the outbox; a second time for a day changes nothing.

    Args:
        connection: In a transaction.
        channels: Channels of this process.
        day: Day that names the test.

    Returns:
        The channels that are tested. What a pager opens is resolved by a second notice.
    """
    number = -_FIRST_NUMBER - day.toordinal()
    test = replace(_TEST, incident=number)
    tested = {name for name, kind in CHANNELS.items() if kind.is_tested_weekly}
    targets = [target for target in register(connection, channels) if target[0] in tested]
    items = [Enqueued(number, 1, channel, recipient, test) for channel, recipient in targets]
    over = replace(test, kind="resolved")
    items += [Enqueued(number, 2, channel, recipient, over) for channel, recipient in targets if channel == "pagerduty"]
    enqueue(connection, items)
    return sorted({channel for channel, _ in targets})
