"""What a writer reports of itself to ``monitoring.tracking_writers``, for the health checks of another process."""

import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg

from smarttext_pipelines.tracking.counts import LOST

INTERVAL_S, LOSS_INTERVAL_S = 10.0, 1.0
COUNTED = (
    "accepted", "written", "spilled", "buffered", "dropped", "damaged", "rejected", "trimmed", "odd_numbers",
)  # fmt: skip

_UPSERT = f"""
INSERT INTO monitoring.tracking_writers AS w
    (writer_id, host, process_id, started_at, {", ".join(COUNTED)}, dropped_at, rejected_at)
VALUES (%(writer_id)s, %(host)s, %(process_id)s, %(started_at)s, {", ".join(f"%({name})s" for name in COUNTED)},
        CASE WHEN %(dropped)s + %(damaged)s > 0 THEN now() END, CASE WHEN %(rejected)s > 0 THEN now() END)
ON CONFLICT (writer_id) DO UPDATE SET
    reported_at = now(), {", ".join(f"{name} = excluded.{name}" for name in COUNTED)},
    dropped_at = CASE WHEN excluded.dropped + excluded.damaged > w.dropped + w.damaged THEN now()
        ELSE w.dropped_at END,
    rejected_at = CASE WHEN excluded.rejected > w.rejected THEN now() ELSE w.rejected_at END
"""  # noqa: S608 - constant names


class WriterReport:
    """The row of one writer; sent every ten seconds, sooner when something was lost."""

    def __init__(self) -> None:
        self._self = {
            "writer_id": uuid4(),
            "host": socket.gethostname(),
            "process_id": os.getpid(),
            "started_at": datetime.now(UTC),
        }
        self._sent_at = -INTERVAL_S
        self._sent: dict[str, int] = {}

    def is_due(self, counts: Mapping[str, int], *, is_asked: bool) -> bool:
        """Return whether it is time for the next report; ``is_asked`` when somebody waits for it."""
        current = _counters(counts)
        if not any(current.values()):
            return False
        waited = time.monotonic() - self._sent_at
        is_lost = any(current[name] != self._sent.get(name, 0) for name in LOST)
        return waited >= INTERVAL_S or (is_asked and current != self._sent) or (is_lost and waited >= LOSS_INTERVAL_S)

    def send(self, connection: psycopg.Connection[Any], counts: Mapping[str, int]) -> None:
        """Write the counters."""
        self._sent_at = time.monotonic()
        current = _counters(counts)
        connection.execute(_UPSERT, {**self._self, **current})
        self._sent = current


def _counters(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in COUNTED}
