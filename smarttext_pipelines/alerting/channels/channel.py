"""What a channel is: it sends one notification, and where the provider allows it, finds one that it may have sent."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from smarttext_pipelines.alerting.notify.markup import Markup
from smarttext_pipelines.alerting.notify.message import Message


@dataclass(frozen=True)
class Delivery:
    """A notification that is to be sent.

    Attributes:
        tag: Mark by which it is found at the provider.
        recipient: Reference to the recipient.
        message: What is told.
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
