"""Channel ``log``: the text that Slack would show, into a file and wherever else it is told. Needs no credentials."""

from collections.abc import Callable

from smarttext_pipelines.alerting.channels.base import Delivery, Outcome, Sent
from smarttext_pipelines.alerting.messages import slack_text


class LogChannel:
    """Writes each notification."""

    name = "log"
    recipients: tuple[str, ...] = ("log",)

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def send(self, delivery: Delivery) -> Outcome:
        """Write it."""
        self._write(slack_text(delivery.message, attempt=delivery.attempt))
        return Sent()

    def find(self, delivery: Delivery) -> Sent | None:
        """Nobody can be asked; a line that is written twice says that it may repeat."""
        return None
