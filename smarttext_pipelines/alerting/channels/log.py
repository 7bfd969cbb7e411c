"""Channel ``log``: the whole text, into a file and wherever else it is told. Needs no credentials."""

from collections.abc import Callable

from smarttext_pipelines.alerting.channels.channel import EVERY_SEVERITY, ChannelKind, Delivery, Outcome, Sent, Way
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


KIND = ChannelKind(
    name="log",
    ways=(
        Way(
            "nothing; used while nothing else is configured: `alerts.log` in `SMARTTEXT_DATA_DIR`, "
            "shown by `smarttext up`",
            "after a crash, one line",
        ),
    ),
    build=lambda _: [],
    severities=EVERY_SEVERITY,
    carries_digest=True,
)
"""No settings ask for it: ``build_channels`` takes it where they ask for no other."""
