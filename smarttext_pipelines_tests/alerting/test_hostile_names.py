"""Whatever a business is called, it is text: in every channel as the provider receives it, in the digest, in tables."""

import html
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from smarttext_pipelines.alerting.channels import CHANNELS, Channel, build_channels
from smarttext_pipelines.alerting.channels.channel import Delivery, Sent
from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now, log_to
from smarttext_pipelines.alerting.notify.markup import MARKDOWN
from smarttext_pipelines.alerting.notify.message import Message, html_text
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.cli.printing import print_rows
from smarttext_pipelines.core.display import LINE_LENGTH, NAME_LENGTH
from smarttext_pipelines.defs.metadata import table_metadata
from smarttext_pipelines.digest.facts import Facts, Incident, Silent, Unanswered
from smarttext_pipelines.digest.text import MAX_LINES, digest_lines
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests.alerts import World
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.fakes.discord import FakeDiscord
from smarttext_pipelines_tests.fakes.pagerduty import FakePagerDuty
from smarttext_pipelines_tests.fakes.server import serving
from smarttext_pipelines_tests.fakes.slack import FakeSlack
from smarttext_pipelines_tests.fakes.smtp import mailbox
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio
from smarttext_pipelines_tests.hostile import ACTIVE, CONTROLS, NAMES

LONGEST = 40 * LINE_LENGTH
KINDS = ("firing", "worse", "repeat", "resolved", "digest")


@dataclass
class Received:
    """A channel, and how every text is read that its provider was given."""

    channel: Channel
    texts: Callable[[], list[str]]


def _leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [leaf for each in inner for leaf in _leaves(each)]


def _only(**settings: Any) -> Channel:
    (channel,) = build_channels(Settings(_env_file=None, **settings), print)
    return channel


def _log(stack: ExitStack, folder: Path) -> list[Received]:
    settings = Settings(_env_file=None, data_dir=folder)
    (channel,) = build_channels(settings, log_to(settings))
    return [Received(channel, lambda: [(folder / "alerts.log").read_text(encoding="utf-8")])]


def _slack(stack: ExitStack, folder: Path) -> list[Received]:
    bot, hook = stack.enter_context(serving(FakeSlack())), stack.enter_context(serving(FakeSlack()))
    token = SecretStr("xoxb" + "-1" * 8)
    posts = _only(slack_bot_token=token, slack_channel="C1", slack_base_url=bot.url + "/api")
    return [
        Received(posts, lambda: [m["text"] for m in bot.messages.values()]),
        Received(_only(slack_webhook_url=SecretStr(hook.url + "/services/x")), lambda: hook.posted),
    ]


def _twilio_sms(stack: ExitStack, folder: Path) -> list[Received]:
    fake = stack.enter_context(serving(FakeTwilio()))
    account = {"twilio_account_sid": SecretStr("AC0"), "twilio_auth_token": SecretStr("t" * 8)}
    sms = _only(
        alert_phones="+15558880001", twilio_phone_number=SecretStr("+15550000000"), twilio_base_url=fake.url, **account
    )
    return [Received(sms, lambda: [m["body"] for m in fake.messages])]


def _webhook(stack: ExitStack, folder: Path) -> list[Received]:
    fake = stack.enter_context(serving(FakePagerDuty()))
    return [Received(_only(alert_webhook_url=SecretStr(fake.url + "/hook")), lambda: _leaves(fake.bodies))]


def _alertmanager(stack: ExitStack, folder: Path) -> list[Received]:
    fake = stack.enter_context(serving(FakePagerDuty()))
    return [Received(_only(alertmanager_url=fake.url), lambda: _leaves(fake.bodies))]


def _pagerduty(stack: ExitStack, folder: Path) -> list[Received]:
    fake = stack.enter_context(serving(FakePagerDuty()))
    pager = _only(pagerduty_routing_key=SecretStr("key"), pagerduty_base_url=fake.url)
    return [Received(pager, lambda: _leaves(fake.bodies))]


def _email(stack: ExitStack, folder: Path) -> list[Received]:
    url, box = stack.enter_context(mailbox())
    mail = _only(smtp_url=SecretStr(url), smtp_from="a@example.com", digest_emails="b@example.com")
    return [Received(mail, lambda: [text for sent in box.mails for text in (box.subject(sent), box.body(sent))])]


def _discord(stack: ExitStack, folder: Path) -> list[Received]:
    fake = stack.enter_context(serving(FakeDiscord()))
    hook = _only(discord_webhook_url=SecretStr(fake.url + "/api/webhooks/1/x"))
    return [Received(hook, lambda: [posted["content"] for posted in fake.posted])]


RECEIVED: dict[str, Callable[[ExitStack, Path], list[Received]]] = {
    "log": _log,
    "slack": _slack,
    "twilio_sms": _twilio_sms,
    "webhook": _webhook,
    "alertmanager": _alertmanager,
    "pagerduty": _pagerduty,
    "email": _email,
    "discord": _discord,
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _message(name: str, kind: str) -> Message:
    line = f"Worst: {name} 3 of 4."
    return Message(
        kind, 214, "some_rule", "critical", name, f"failed: {name}", [line, line], next_step=f"(you): {name}",
        certainty=name, lasted="4 min", peak=name, reason=name, runbook="smarttext_pipelines/alerting/runbooks/x.md",
        link="https://ui.example/assets/a", command="smarttext alerts show 214", labels={"scope": name},
    )  # fmt: skip


@pytest.mark.parametrize("name", CHANNELS)
def test_a_hostile_name_is_text_as_the_provider_receives_it(name: str, stack: ExitStack, tmp_path: Path) -> None:
    for received in RECEIVED[name](stack, tmp_path):
        channel = received.channel
        for hostile in NAMES.values():
            for kind in KINDS:
                told = Delivery("0123456789", channel.recipients[0], _message(hostile, kind), 2, datetime.now(UTC))
                assert isinstance(channel.send(told), Sent)
        texts = received.texts()
        assert name == "log" or len(texts) > len(KINDS)
        for text in texts:
            assert not CONTROLS.search(text), CONTROLS.search(text)
            without_links = re.sub(r"<https://ui\.example/assets/a\|UI>", "", text)
            active = ACTIVE[name]
            found = active.search(without_links) if active else None
            assert not found, (found, without_links)
            # The log is one text of all.
            assert len(text) <= (LONGEST * len(NAMES) * len(KINDS) if name == "log" else LONGEST)


def test_what_is_escaped_for_slack_reads_as_it_was_written(stack: ExitStack, tmp_path: Path) -> None:
    bot, _ = _slack(stack, tmp_path)
    told = Message("firing", 1, "some_rule", "critical", NAMES["html"], "5 < 6", next_step="see `smarttext doctor`")
    bot.channel.send(Delivery("0123456789", "C1", told, 1, datetime.now(UTC)))
    (text,) = bot.texts()
    assert html.unescape(text).startswith(f"🔴 {NAMES['html']}: 5 < 6")
    assert "see `smarttext doctor`" in text


@pytest.mark.parametrize("what", NAMES)
def test_the_digest_stays_a_page_whatever_businesses_are_called(what: str) -> None:
    name = NAMES[what]
    day = datetime(2026, 3, 16, tzinfo=UTC).date()
    lines = digest_lines(
        Facts(
            day,
            Totals(calls=4, missed=4, in_time=0, late=0, never=4, unknown=0),
            unanswered=[Unanswered(name, 1, 1)] * 9,
            incidents=[Incident(1, "some_rule", "critical", name, datetime(2026, 3, 16, tzinfo=UTC))] * 9,
            silent=[Silent(name, UUID(int=1))] * 9,
        )
    )
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= LINE_LENGTH
    assert not CONTROLS.search("".join(lines))
    assert not re.search(r"(?<!\\)[<>\[\]|!*]", MARKDOWN.escape("\n".join(lines)))


@pytest.mark.parametrize("what", NAMES)
def test_a_table_of_the_terminal_shows_a_hostile_name_as_text(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"business": NAMES[what], "n": 1}])
    shown = capsys.readouterr().out
    assert not CONTROLS.search(shown)
    assert len(shown) < 10_000
    if what == "rich":
        assert NAMES[what] in shown


@pytest.mark.parametrize("what", NAMES)
def test_a_page_of_the_ui_shows_a_hostile_name_as_text(what: str) -> None:
    """A table has cells of text, in which no markup means anything."""
    table = table_metadata([{"business": NAMES[what], "n": 1}])
    (record,) = table.value.records if isinstance(table, dg.TableMetadataValue) else ()
    assert not CONTROLS.search(str(record.data["business"]))
    assert len(str(record.data["business"])) <= 80


@pytest.mark.parametrize("what", ["terminal", "channel", "long", "rich"])
def test_the_commands_show_a_hostile_name_short_and_as_text(
    what: str, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
    monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(tmp_path))
    channels = configured_channels(database.settings(data_dir=tmp_path))
    world = World(database, now=datetime.now(UTC) - timedelta(hours=1), channels=channels)
    world.businesses(2, name=NAMES[what])
    world.begin()
    world.failing()
    for _ in range(3):
        world.tick()
    deliver_now(database.engine, channels, budget_seconds=10)
    database.run(
        "INSERT INTO public.daily_stats (business_id, date, messages_sent) SELECT id, '2026-01-05', 1 FROM businesses"
    )
    outputs = [
        CliRunner().invoke(app, command.split()).output
        for command in ("alerts list", "alerts show 1", "alerts why 1", "stats --date 2026-01-05", "budgets show")
    ]
    outputs.append((tmp_path / "alerts.log").read_text(encoding="utf-8"))
    assert "INC-1 " in outputs[0]
    for output in outputs:
        assert not CONTROLS.search(output)
        assert len(output) < 20_000
        assert max(map(len, output.splitlines()), default=0) <= 1_000
    if what == "rich":
        assert NAMES[what][:20] in outputs[0]
    if what == "long":
        assert NAMES[what][: NAME_LENGTH - 10] in outputs[0]


def test_a_row_of_the_outbox_that_an_older_version_wrote_is_cleaned_when_it_is_read() -> None:
    kept = json.loads(json.dumps({**_message("x", "firing").as_json(), "subject": NAMES["terminal"]}))
    assert not CONTROLS.search(Message.from_json(kept).subject)


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_text_in_the_html_of_a_mail(stack: ExitStack, tmp_path: Path, name: str) -> None:
    page = html_text(_message(NAMES[name], "firing"))
    inside = re.sub(r"</?(?:html|head|body|title|h1|p|meta|a)\b[^<>]*>|<!DOCTYPE html>", "", page)
    assert "<" not in inside
    assert "evil" not in " ".join(re.findall(r"href=\"[^\"]*\"", page))
