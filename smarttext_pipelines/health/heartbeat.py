"""Heartbeats: rows in ``monitoring``, written by one sensor, read by whoever asks; and the ping of a switch outside."""

import json
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import Connection, text

from smarttext_pipelines.health.verdicts import LATE_AFTER_INTERVALS, SHORTEST_INTERVAL, WATCHER, Heartbeat
from smarttext_pipelines.settings import Settings

CYCLE = ("cycle", "complete")
_PING_TIMEOUT_SECONDS = 5

_RECORD = text(
    """
    INSERT INTO monitoring.heartbeats AS h (kind, name, interval_seconds, last_success_at, last_failure_at)
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS new (kind text, name text, interval_seconds integer,
                last_success_at timestamptz, last_failure_at timestamptz)
    ON CONFLICT (kind, name) DO UPDATE
    SET interval_seconds = EXCLUDED.interval_seconds,
        last_success_at = greatest(h.last_success_at, EXCLUDED.last_success_at),
        last_failure_at = greatest(h.last_failure_at, EXCLUDED.last_failure_at),
        watched_since = CASE WHEN (h.kind, h.name) = (:watcher_kind, :watcher_name)
                                 AND EXCLUDED.last_success_at > h.last_success_at + CAST(:pause AS interval)
                             THEN EXCLUDED.last_success_at ELSE h.watched_since END
    """
)
_FORGET = text("DELETE FROM monitoring.heartbeats WHERE kind <> :kind AND (kind || ':' || name) <> ALL (:known)")
_READ = text("SELECT * FROM monitoring.heartbeats ORDER BY kind, name")


def record(connection: Connection, beats: Iterable[Heartbeat]) -> None:
    """Write all heartbeats in one statement; time never goes back. What is no longer known is forgotten."""
    rows = [
        {
            "kind": beat.kind,
            "name": beat.name,
            "interval_seconds": None if beat.interval is None else int(beat.interval.total_seconds()),
            "last_success_at": beat.last_success_at,
            "last_failure_at": beat.last_failure_at,
        }
        for beat in beats
    ]
    watcher_kind, watcher_name = WATCHER
    watcher = {
        "watcher_kind": watcher_kind,
        "watcher_name": watcher_name,
        "pause": LATE_AFTER_INTERVALS * SHORTEST_INTERVAL,
    }
    connection.execute(_RECORD, {"rows": json.dumps(rows, default=str), **watcher})
    known = [f"{row['kind']}:{row['name']}" for row in rows]
    if any(row["kind"] != CYCLE[0] for row in rows):
        connection.execute(_FORGET, {"kind": CYCLE[0], "known": known})


def read(connection: Connection) -> list[Heartbeat]:
    """Return every heartbeat."""
    return [
        Heartbeat(
            row.kind,
            row.name,
            None if row.interval_seconds is None else timedelta(seconds=row.interval_seconds),
            row.last_success_at,
            row.last_failure_at,
            row.watched_since,
        )
        for row in connection.execute(_READ)
    ]


def ping(settings: Settings) -> str:
    """Ask the dead man's switch; return what came of it. An alarm follows when nobody asks it any more."""
    if settings.heartbeat_url is None:
        return "SMARTTEXT_HEARTBEAT_URL is not set"
    # Everything that loads the graph would import it.
    import requests

    try:
        answer = requests.get(settings.heartbeat_url.get_secret_value(), timeout=_PING_TIMEOUT_SECONDS)
    except requests.RequestException as error:
        # Its text quotes the URL, which is a secret.
        return f"the switch did not answer: {type(error).__name__}"
    return "the switch was told" if answer.ok else f"the switch answered {answer.status_code}"
