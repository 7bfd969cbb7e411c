"""What a writer reports of itself to ``monitoring.tracking_writers``, for the health checks of another process."""

import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg

INTERVAL_S = 10.0

_UPSERT = """
INSERT INTO monitoring.tracking_writers AS w
    (writer_id, host, process_id, started_at, accepted, written, spilled, dropped, rejected, dropped_at, rejected_at)
VALUES (%(writer_id)s, %(host)s, %(process_id)s, %(started_at)s, %(accepted)s, %(written)s, %(spilled)s, %(dropped)s,
        %(rejected)s, CASE WHEN %(dropped)s > 0 THEN now() END, CASE WHEN %(rejected)s > 0 THEN now() END)
ON CONFLICT (writer_id) DO UPDATE SET
    reported_at = now(), accepted = excluded.accepted, written = excluded.written, spilled = excluded.spilled,
    dropped = excluded.dropped, rejected = excluded.rejected,
    dropped_at = CASE WHEN excluded.dropped > w.dropped THEN now() ELSE w.dropped_at END,
    rejected_at = CASE WHEN excluded.rejected > w.rejected THEN now() ELSE w.rejected_at END
"""
COUNTED = ("accepted", "written", "spilled", "dropped", "rejected")


class WriterReport:
    """The row of one writer; sent every ten seconds."""

    def __init__(self) -> None:
        self._self = {
            "writer_id": uuid4(),
            "host": socket.gethostname(),
            "process_id": os.getpid(),
            "started_at": datetime.now(UTC),
        }
        self._sent_at = -INTERVAL_S

    def is_due(self) -> bool:
        """Tell whether it is time for the next report."""
        return time.monotonic() - self._sent_at >= INTERVAL_S

    def send(self, connection: psycopg.Connection[Any], counts: Mapping[str, int]) -> None:
        """Write the counters."""
        self._sent_at = time.monotonic()
        connection.execute(_UPSERT, {**self._self, **{name: counts.get(name, 0) for name in COUNTED}})
