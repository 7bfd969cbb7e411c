"""Who is notified: channels and recipients that some process can serve, and which of them a notice goes to.

A process that has a channel configured says so in the database. So a laptop without credentials enqueues for the
channels of the others, and does not mistake its own log for somebody who was told.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.channels import CHANNELS, Channel
from smarttext_pipelines.alerting.incidents.lifecycle import Severity
from smarttext_pipelines.alerting.rules.rule import Rule

Target = tuple[str, str]

_REMOVE = text(
    """
    DELETE FROM monitoring.alert_targets
    WHERE channel = ANY (:channels) AND channel <> 'log' AND NOT (channel, recipient) IN (
        SELECT * FROM unnest(CAST(:all_channels AS text[]), CAST(:recipients AS text[])))
    """
)
_ADD = text(
    """
    INSERT INTO monitoring.alert_targets (channel, recipient, seen_at)
    SELECT c, r, clock_timestamp() FROM unnest(CAST(:all_channels AS text[]), CAST(:recipients AS text[])) AS t (c, r)
    ON CONFLICT (channel, recipient) DO UPDATE SET seen_at = EXCLUDED.seen_at
    """
)
_READ = text(
    """
    SELECT channel, recipient FROM monitoring.alert_targets
    WHERE seen_at > clock_timestamp() - interval '1 day' ORDER BY channel, recipient
    """
)


def register(connection: Connection, channels: Sequence[Channel]) -> list[Target]:
    """Say which channels this process serves; return all that anybody serves, the log only where it is the only one."""
    served = [(channel.name, recipient) for channel in channels for recipient in channel.recipients]
    values = {"all_channels": [c for c, _ in served], "recipients": [r for _, r in served]}
    connection.execute(_REMOVE, {"channels": sorted({c for c, _ in served}), **values})
    connection.execute(_ADD, values)
    found = [(row.channel, row.recipient) for row in connection.execute(_READ)]
    real = [target for target in found if target[0] != "log"]
    return real or found


def targets_of(rule: Rule | None, severity: Severity, targets: Iterable[Target]) -> list[Target]:
    """Return whom a notice of a rule goes to; whoever there is, if none of the wanted channels is served."""
    everybody = list(targets)
    by_severity = [name for name, kind in CHANNELS.items() if severity in kind.severities]
    wanted = rule.channels if rule and rule.channels else by_severity
    return [target for target in everybody if target[0] in wanted] or everybody
