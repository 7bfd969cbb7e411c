"""Discord's webhook: taken, refused, later or unknown; never too long, and nobody is mentioned."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from smarttext_pipelines.alerting.channels import CHANNELS, build_channels
from smarttext_pipelines.alerting.channels.channel import Delivery, Later, Outcome, Rejected, Sent, Unclear
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests.fakes.discord import MAX_CHARACTERS, FakeDiscord
from smarttext_pipelines_tests.fakes.server import serving


@pytest.fixture
def fake() -> Iterator[FakeDiscord]:
    with serving(FakeDiscord()) as fake:
        yield fake


def settings(fake: FakeDiscord, path: str = "/api/webhooks/1/x") -> Settings:
    return Settings(_env_file=None, discord_webhook_url=SecretStr(fake.url + path))


def send(fake: FakeDiscord, *lines: str, path: str = "/api/webhooks/1/x", attempt: int = 1) -> Outcome:
    (channel,) = build_channels(settings(fake, path), print)
    message = Message("firing", 7, "some_rule", "critical", "Elm Dental", "failed", lines)
    return channel.send(Delivery("0123456789", "webhook", message, attempt, datetime.now(UTC)))


def test_it_posts_and_waits_until_discord_has_it(fake: FakeDiscord) -> None:
    assert isinstance(send(fake), Sent)
    assert "Elm Dental" in fake.posted[0]["content"]
    assert fake.requests[-1][2] == {"wait": "true"}


def test_a_url_that_names_a_thread_keeps_it(fake: FakeDiscord) -> None:
    assert isinstance(send(fake, path="/api/webhooks/1/x?thread_id=7"), Sent)
    assert fake.requests[-1][2] == {"thread_id": "7", "wait": "true"}


def test_nobody_is_mentioned_whatever_a_name_says(fake: FakeDiscord) -> None:
    send(fake, "@everyone look", "<@123>")
    assert fake.posted[0]["allowed_mentions"] == {"parse": []}
    assert "\\@everyone" in fake.posted[0]["content"]


def test_a_long_text_is_cut_between_its_headline_and_its_footer(fake: FakeDiscord) -> None:
    assert isinstance(send(fake, *(f"line {n} " + "x" * 90 for n in range(40))), Sent)
    content = fake.posted[0]["content"]
    assert len(content) <= MAX_CHARACTERS
    assert "Elm Dental" in content.splitlines()[0]
    assert "INC" in content.splitlines()[-1]


def test_what_may_repeat_says_so(fake: FakeDiscord) -> None:
    send(fake, attempt=2)
    assert "may repeat" in fake.posted[0]["content"]


def test_an_unknown_webhook_is_refused_for_good(fake: FakeDiscord) -> None:
    assert isinstance(send(fake, path="/gone"), Rejected)


def test_too_many_requests_are_sent_later(fake: FakeDiscord) -> None:
    fake.faults = ["429"]
    assert isinstance(send(fake), Later)


@pytest.mark.parametrize("fault", ["500", "500_stored", "reset"])
def test_without_an_answer_nobody_knows(fake: FakeDiscord, fault: str) -> None:
    fake.faults = [fault]
    assert isinstance(send(fake), Unclear)


def test_the_doctor_reads_the_webhook_and_posts_nothing(fake: FakeDiscord) -> None:
    probe = CHANNELS["discord"].probe
    assert probe
    assert probe(settings(fake)).is_well
    gone = probe(settings(fake, "/gone"))
    assert gone.is_well is False
    assert "DISCORD_WEBHOOK_URL" in gone.todo
    assert not fake.posted
