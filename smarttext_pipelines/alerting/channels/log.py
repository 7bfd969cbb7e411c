"""Channel ``log``: the whole text, into the file of the instance. Needs no credentials."""

import hashlib
import socket
from collections.abc import Callable
from pathlib import Path

from smarttext_pipelines.alerting.channels.channel import EVERY_SEVERITY, ChannelKind, Delivery, Outcome, Sent, Way
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import full_text


class LogChannel:
    """Writes each notification."""

    name = "log"
    markup = PLAIN

    def __init__(self, write: Callable[[str], None], folder: Path = Path()) -> None:
        """Take what writes, and the data directory: each has a log of its own, which gets every notification."""
        place = f"{socket.gethostname()}:{folder.resolve()}"
        self.recipients: tuple[str, ...] = (f"log-{hashlib.sha256(place.encode()).hexdigest()[:8]}",)
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
