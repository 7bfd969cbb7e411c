"""Channel ``twilio_sms``: text messages to operators."""

from smarttext_pipelines.alerting.channels.channel import Channel, ChannelKind, Way, require, revealed
from smarttext_pipelines.alerting.channels.recipients import reference
from smarttext_pipelines.alerting.incidents.lifecycle import Severity
from smarttext_pipelines.settings import Settings


def _build(settings: Settings) -> list[Channel]:
    if not settings.alert_phones:
        return []
    require(settings, "alert_phones", "twilio_account_sid", "twilio_auth_token", "twilio_phone_number")
    from smarttext_pipelines.alerting.channels.twilio_texts import TwilioSmsChannel
    from smarttext_pipelines.twilio.client import build_twilio_client

    client = build_twilio_client(
        revealed(settings.twilio_account_sid), revealed(settings.twilio_auth_token), base_url=settings.twilio_base_url
    )
    numbers = [phone.get_secret_value() for phone in settings.alert_phones]
    return [TwilioSmsChannel(client, revealed(settings.twilio_phone_number), {reference(n): n for n in numbers})]


KIND = ChannelKind(
    name="twilio_sms",
    ways=(Way("`SMARTTEXT_ALERT_PHONES` and the `TWILIO_…` settings", "no: searched before it is resent"),),
    build=_build,
    severities=frozenset({Severity.critical}),
    is_tested_weekly=True,
)
"""The doctor asks Twilio once, for texts and delivery reports alike."""
