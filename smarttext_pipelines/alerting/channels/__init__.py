"""Ways to notify somebody. A channel is a module of this folder and a line in ``CHANNELS``."""

from collections.abc import Callable

from smarttext_pipelines.alerting.channels import (
    alertmanager,
    discord,
    email,
    log,
    pagerduty,
    slack,
    twilio_sms,
    webhook,
)
from smarttext_pipelines.alerting.channels.channel import Channel, ChannelKind
from smarttext_pipelines.alerting.channels.recipients import reference
from smarttext_pipelines.settings import Settings

CHANNELS: dict[str, ChannelKind] = {
    kind.name: kind
    for kind in (
        log.KIND,
        slack.KIND,
        twilio_sms.KIND,
        pagerduty.KIND,
        webhook.KIND,
        alertmanager.KIND,
        email.KIND,
        discord.KIND,
    )
}
"""Every channel by its name, in the order of the documentation."""

__all__ = ["CHANNELS", "Channel", "ChannelKind", "build_channels", "reference"]


def build_channels(settings: Settings, write: Callable[[str], None]) -> list[Channel]:
    """Return the configured channels; where there is none, the log alone.

    Args:
        settings: What is configured.
        write: Where the log channel writes.

    Raises:
        SettingsError: Something is configured by half.
    """
    return [channel for kind in CHANNELS.values() for channel in kind.build(settings)] or [
        log.LogChannel(write, settings.data_dir)
    ]
