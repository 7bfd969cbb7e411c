"""What a channel is: it sends one notification, and where the provider allows it, finds one that it may have sent.

A module of this folder describes its channel by a ``ChannelKind``; whatever else lists channels follows from that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import SecretStr

from smarttext_pipelines.alerting.incidents.lifecycle import Severity
from smarttext_pipelines.alerting.notify.markup import Markup
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.settings import Settings, variable_of

EVERY_SEVERITY = frozenset(Severity)


@dataclass(frozen=True)
class Delivery:
    """A notification that is to be sent.

    Attributes:
        tag: Mark by which it is found at the provider.
        recipient: Reference to the recipient.
        message: The notice.
        attempt: 1 for the first.
        first_attempt_at: When sending first began.
        thread: The provider's id of the first message of the incident to this recipient, if that was sent.
    """

    tag: str
    recipient: str
    message: Message
    attempt: int
    first_attempt_at: datetime
    thread: str | None = None


@dataclass(frozen=True)
class Sent:
    """The provider has it."""

    provider_id: str | None = None


@dataclass(frozen=True)
class Rejected:
    """The provider has refused it and would refuse it again."""

    reason: str


@dataclass(frozen=True)
class Later:
    """The provider has not taken it now."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Unclear:
    """Whether the provider has it is not known."""

    reason: str


Outcome = Sent | Rejected | Later | Unclear


class LookUpError(Exception):
    """The provider could not be asked whether it has a message."""


class Channel(Protocol):
    """A way to tell somebody. ``send`` and ``find`` raise nothing but LookUpError (``find``)."""

    name: str
    markup: Markup
    """How it shows text that comes from data; whatever it sends is rendered with it."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """References to those it can tell."""

    def send(self, delivery: Delivery) -> Outcome:
        """Send it; say what became of it."""

    def find(self, delivery: Delivery) -> Sent | None:
        """Return it if the provider has it, None if it has not or cannot be asked because a repetition does no harm.

        Raises:
            LookUpError: The provider did not answer.
        """


@dataclass(frozen=True)
class Probe:
    """What a provider said when it was asked without sending anything.

    Attributes:
        is_well: None where the channel is not configured.
        said: In one line.
        todo: What to do when it is not well.
    """

    is_well: bool | None
    said: str
    todo: str = ""


NOT_CONFIGURED = Probe(None, "not configured")


@dataclass(frozen=True)
class Way:
    """One way to configure a channel, a row of the table in ``docs/alerting.md``.

    Attributes:
        needs: The settings, as Markdown.
        repeats: Whether a notification can arrive twice.
    """

    needs: str
    repeats: str


@dataclass(frozen=True)
class ChannelKind:
    """A channel as the registry knows it.

    Attributes:
        name: What rules, the outbox and ``smarttext alerts test`` call it.
        ways: How it is configured; in the order of preference.
        build: Returns the channel of these settings, or none where they do not configure it. Imports an SDK itself, so
            that a process without credentials never loads it.
        severities: Notifications of rules that name no channel; empty for a channel that carries the digest alone.
        carries_digest: Whether the morning digest goes there.
        is_tested_weekly: Whether it is silent while all is well, so that a weekly test proves it.
        probe: Asks the provider for the doctor, without sending anything; None where there is nobody to ask.
    """

    name: str
    ways: tuple[Way, ...]
    build: Callable[[Settings], "list[Channel]"]
    severities: frozenset[Severity] = frozenset()
    carries_digest: bool = False
    is_tested_weekly: bool = False
    probe: Callable[[Settings], Probe] | None = None


def require(settings: Settings, because: str, *needed: str) -> None:
    """Raise SettingsError where ``because`` is set and something that it needs is not."""
    missing = [variable_of(name) for name in needed if not getattr(settings, name)]
    if missing:
        msg = f"{variable_of(because)} is set, but not {' and '.join(missing)}; set both, or neither"
        raise SettingsError(msg)


def revealed(value: SecretStr | None) -> str:
    """Return the text of a secret."""
    return value.get_secret_value() if value else ""
