"""Channels through the real SDKs, against servers that fault as providers do."""

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from smarttext_pipelines.alerting.channels import Channel, build_channels, reference
from smarttext_pipelines.alerting.channels.channel import Delivery, Later, LookUpError, Rejected, Sent, Unclear
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.twilio import client
from smarttext_pipelines_tests.fakes.pagerduty import FakePagerDuty
from smarttext_pipelines_tests.fakes.server import FAULTS, serving
from smarttext_pipelines_tests.fakes.slack import FakeSlack
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio

PHONE = "+15558880001"
TOKEN = "xoxb" + "-1" * 8
EXPECTED = {
    "400": Rejected,
    "429": Later,
    "500_stored": Unclear,
    "500": Unclear,
    "timeout_stored": Unclear,
    "malformed_stored": Unclear,
    "reset": Unclear,
}


def _message(kind: str = "firing", incident: int = 214) -> Message:
    return Message(
        kind, incident, "sms_failure_rate", "critical", "Hartley Plumbing", "23 of 61 texts failed", lasted="4 min",
        reason="recovered" if kind == "resolved" else "",
    )  # fmt: skip


def _delivery(recipient: str, kind: str = "firing", **options: Any) -> Delivery:
    values = {"tag": "0123456789", "attempt": 1, "first_attempt_at": datetime.now(UTC), **options}
    return Delivery(recipient=recipient, message=_message(kind), **values)


def _channel(**settings: Any) -> Channel:
    (channel,) = build_channels(Settings(_env_file=None, **settings), print)
    return channel


def _sms(fake: FakeTwilio) -> Channel:
    return _channel(
        alert_phones=PHONE,
        twilio_account_sid=SecretStr("AC0"),
        twilio_auth_token=SecretStr(TOKEN),
        twilio_phone_number=SecretStr("+15550000000"),
        twilio_base_url=fake.url,
    )


def _bot(fake: FakeSlack) -> Channel:
    return _channel(slack_bot_token=SecretStr(TOKEN), slack_channel="C1", slack_base_url=fake.url + "/api")


@pytest.fixture(autouse=True)
def _short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.build_twilio_client, "__kwdefaults__", {"timeout_seconds": 1.0})
    monkeypatch.setattr("smarttext_pipelines.alerting.channels.http.TIMEOUT_SECONDS", 1.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_answer_of_twilio_is_read_for_what_it_means(fault: str) -> None:
    with serving(FakeTwilio()) as fake:
        fake.faults = [fault]
        sms = _sms(fake)
        outcome = sms.send(_delivery(reference(PHONE)))
        assert isinstance(outcome, EXPECTED[fault]), outcome
        assert PHONE not in str(outcome)
        assert "5005550001" not in str(outcome)
        found = sms.find(_delivery(reference(PHONE)))
        assert (found is not None) == fault.endswith("_stored")
        assert len(fake.requests) == 2, "the SDK repeats nothing by itself"


@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "400"])
def test_every_answer_of_slack_is_read_for_what_it_means(fault: str) -> None:
    with serving(FakeSlack()) as fake:
        fake.faults = [fault]
        bot = _bot(fake)
        outcome = bot.send(_delivery("C1"))
        assert isinstance(outcome, EXPECTED[fault]), outcome
        assert (bot.find(_delivery("C1")) is not None) == fault.endswith("_stored")
        assert len(fake.requests) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_every_answer_of_a_webhook_is_read_for_what_it_means(fault: str) -> None:
    with serving(FakePagerDuty()) as fake:
        for channel in (
            _channel(pagerduty_routing_key=SecretStr("key"), pagerduty_base_url=fake.url),
            _channel(alert_webhook_url=SecretStr(fake.url + "/hook")),
        ):
            # That something came back after it was stored says enough, whatever it is.
            fake.faults = [fault]
            expected = Sent if fault == "malformed_stored" else EXPECTED[fault]
            assert isinstance(channel.send(_delivery("webhook")), expected)


def test_a_look_up_that_is_not_answered_is_no_answer() -> None:
    with serving(FakeTwilio()) as fake, serving(FakeSlack()) as slack:
        fake.look_up_share = slack.look_up_share = 1.0
        for channel, recipient in ((_sms(fake), reference(PHONE)), (_bot(slack), "C1")):
            with pytest.raises(LookUpError):
                channel.find(_delivery(recipient))


def test_the_look_up_reads_all_pages_since_the_first_attempt() -> None:
    with serving(FakeTwilio()) as fake:
        sms = _sms(fake)
        sms.send(_delivery(reference(PHONE)))
        for number in range(250):
            fake._create(f"To=%2B15558880001&From=%2B1&Body=other+{number}")
        assert sms.find(_delivery(reference(PHONE))) == Sent(fake.messages[0]["sid"])


def test_a_wrong_token_is_dead_and_does_not_leak() -> None:
    with serving(FakeSlack()) as fake:
        fake.refuses_with = "invalid_auth"
        assert _bot(fake).send(_delivery("C1")) == Rejected("invalid_auth")


def test_slack_edits_the_one_message_and_shows_the_end_in_the_channel() -> None:
    with serving(FakeSlack()) as fake:
        bot = _bot(fake)
        first = bot.send(_delivery("C1"))
        assert isinstance(first, Sent)
        bot.send(_delivery("C1", "worse", tag="worse", thread=first.provider_id))
        bot.send(_delivery("C1", "resolved", tag="over", thread=first.provider_id))
        root, worse, over = fake.messages.values()
        assert root["text"].startswith("✅ Hartley Plumbing: resolved after 4 min (recovered)")
        assert (worse["thread_ts"], worse["broadcast"]) == (root["ts"], False)
        assert (over["thread_ts"], over["broadcast"]) == (root["ts"], True)
        assert bot.find(_delivery("C1", "resolved", tag="over", thread=first.provider_id)) is not None


def test_pagerduty_knows_the_incident_by_its_key() -> None:
    with serving(FakePagerDuty()) as fake:
        channel = _channel(pagerduty_routing_key=SecretStr("key"), pagerduty_base_url=fake.url)
        for _ in range(2):
            channel.send(_delivery("routing_key"))
        assert list(fake.open) == ["smarttext-INC-214"]
        channel.send(_delivery("routing_key", "resolved"))
        assert fake.open == {}


def test_the_webhook_speaks_alertmanager() -> None:
    with serving(FakePagerDuty()) as fake:
        _channel(alert_webhook_url=SecretStr(fake.url + "/hook")).send(_delivery("webhook"))
        (body,) = fake.bodies
        assert body["version"] == "4"
        assert body["status"] == body["alerts"][0]["status"] == "firing"
        assert set(body) >= {"groupKey", "receiver", "groupLabels", "commonLabels", "commonAnnotations", "externalURL"}
        assert set(body["alerts"][0]) == {
            "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
        }  # fmt: skip


def test_a_text_message_is_one_segment_with_its_mark() -> None:
    with serving(FakeTwilio()) as fake:
        _sms(fake).send(_delivery(reference(PHONE)))
        (stored,) = fake.messages
        assert stored["to"] == PHONE
        assert stored["body"] == "!!! Hartley Plumbing: 23 of 61 texts failed INC-214 #0123456789"


def test_a_name_of_two_lines_is_a_subject_of_one() -> None:
    email = _channel(smtp_url=SecretStr("smtp://127.0.0.1:1"), smtp_from="a@example.com", digest_emails="b@example.com")
    delivery = _delivery(email.recipients[0])
    told = replace(delivery, message=replace(delivery.message, subject="Hartley\nPlumbing"))
    assert email.send(told) == Later(60, "ConnectionRefusedError")


def test_half_a_configuration_is_refused_and_none_is_the_log() -> None:
    with pytest.raises(SettingsError, match="SMARTTEXT_ALERT_PHONES is set, but not TWILIO_ACCOUNT_SID"):
        build_channels(Settings(_env_file=None, alert_phones=PHONE), print)
    with pytest.raises(SettingsError, match="SLACK_CHANNEL"):
        build_channels(Settings(_env_file=None, slack_bot_token=SecretStr(TOKEN)), print)
    assert [channel.name for channel in build_channels(Settings(_env_file=None), print)] == ["log"]


def test_numbers_and_tokens_stand_in_no_log_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), serving(FakeTwilio()) as fake, serving(FakeSlack()) as slack:
        for fault in ("malformed_stored", "500", "400"):
            fake.faults, slack.faults = [fault], [fault]
            _sms(fake).send(_delivery(reference(PHONE)))
            _sms(fake).find(_delivery(reference(PHONE)))
            _bot(slack).send(_delivery("C1"))
    assert TOKEN not in caplog.text
    assert PHONE not in caplog.text
    assert "15558880001" not in caplog.text
