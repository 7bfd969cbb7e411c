"""Ways to tell somebody; ``build_channels`` returns those that the settings configure."""

import hashlib
import logging
from collections.abc import Callable

from pydantic import SecretStr

from smarttext_pipelines.alerting.channels.channel import Channel
from smarttext_pipelines.alerting.channels.log import LogChannel
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.settings import Settings, variable_of

CHANNELS = ("log", "slack", "twilio_sms", "webhook", "pagerduty", "email")

__all__ = ["CHANNELS", "Channel", "build_channels", "reference"]


def reference(number: str) -> str:
    """Return how the outbox refers to a telephone number; the same for the same number, and not the number."""
    return f"phone-{hashlib.sha256(number.encode()).hexdigest()[:12]}"


def build_channels(settings: Settings, write: Callable[[str], None]) -> list[Channel]:
    """Return the configured channels; where there is none, the log alone.

    Args:
        settings: What is configured.
        write: Where the log channel writes.

    Raises:
        SettingsError: Something is configured by half.
    """
    # The SDKs are imported by whoever has their credentials.
    found = [*_slack(settings), *_twilio(settings), *_others(settings)]
    return found or [LogChannel(write)]


def _slack(settings: Settings) -> list[Channel]:
    if settings.slack_bot_token:
        _require(settings, "slack_bot_token", "slack_channel")
        from slack_sdk import WebClient

        from smarttext_pipelines.alerting.channels.http import TIMEOUT_SECONDS
        from smarttext_pipelines.alerting.channels.slack import SlackBotChannel

        base = settings.slack_base_url.rstrip("/") + "/"
        token = settings.slack_bot_token.get_secret_value()
        # The SDK logs whole requests as debug records, and answers that it cannot read as errors.
        quiet = logging.Logger("slack_sdk", logging.CRITICAL)
        client = WebClient(token, base_url=base, timeout=int(TIMEOUT_SECONDS), retry_handlers=[], logger=quiet)
        return [SlackBotChannel(client, str(settings.slack_channel))]
    if settings.slack_webhook_url:
        from smarttext_pipelines.alerting.channels.slack import SlackWebhookChannel

        return [SlackWebhookChannel(settings.slack_webhook_url.get_secret_value())]
    return []


def _twilio(settings: Settings) -> list[Channel]:
    if not settings.alert_phones:
        return []
    _require(settings, "alert_phones", "twilio_account_sid", "twilio_auth_token", "twilio_phone_number")
    from smarttext_pipelines.alerting.channels.twilio_sms import TwilioSmsChannel
    from smarttext_pipelines.twilio.client import build_twilio_client

    client = build_twilio_client(
        _secret(settings.twilio_account_sid), _secret(settings.twilio_auth_token), base_url=settings.twilio_base_url
    )
    numbers = [phone.get_secret_value() for phone in settings.alert_phones]
    return [TwilioSmsChannel(client, _secret(settings.twilio_phone_number), {reference(n): n for n in numbers})]


def _others(settings: Settings) -> list[Channel]:
    found: list[Channel] = []
    if settings.pagerduty_routing_key:
        from smarttext_pipelines.alerting.channels.pagerduty import PagerDutyChannel

        key = settings.pagerduty_routing_key.get_secret_value()
        found.append(PagerDutyChannel(key, settings.pagerduty_base_url, settings.ui_url))
    if settings.alert_webhook_url:
        from smarttext_pipelines.alerting.channels.webhook import WebhookChannel

        found.append(WebhookChannel(settings.alert_webhook_url.get_secret_value(), settings.ui_url))
    if settings.smtp_url:
        _require(settings, "smtp_url", "digest_emails", "smtp_from")
        from smarttext_pipelines.alerting.channels.email import EmailChannel

        addresses = [address.get_secret_value() for address in settings.digest_emails]
        by_reference = {reference(address).replace("phone", "mail"): address for address in addresses}
        found.append(EmailChannel(_secret(settings.smtp_url), str(settings.smtp_from), by_reference))
    return found


def _require(settings: Settings, because: str, *needed: str) -> None:
    missing = [variable_of(name) for name in needed if not getattr(settings, name)]
    if missing:
        msg = f"{variable_of(because)} is set, but not {' and '.join(missing)}; set both, or neither"
        raise SettingsError(msg)


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value else ""
