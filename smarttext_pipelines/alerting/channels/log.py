"""Channel ``log``: the whole text, into a file and wherever else it is told. Needs no credentials."""

from collections.abc import Callable

from smarttext_pipelines.alerting.channels.channel import Delivery, Outcome, Sent
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import full_text


class LogChannel:
    """Writes each notification."""

    name = "log"
    markup = PLAIN
    recipients: tuple[str, ...] = ("log",)

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def send(self, delivery: Delivery) -> Outcome:
        """Write it."""
        self._write(full_text(delivery.message, self.markup, attempt=delivery.attempt))
        return Sent()

    def find(self, delivery: Delivery) -> Sent | None:
        """Nobody can be asked; a line that is written twice says that it may repeat."""
        return None
