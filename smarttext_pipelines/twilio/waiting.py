"""Which messages wait for an outcome or a price, and which of them are due to be polled again.

A message waits while no row of it has a final status, or no row of ``api_usage`` has its price, from 2 minutes to
72 hours after its first row. The pause between two questions grows with its age, so that a message that Twilio will
never finish costs about twenty questions and not three hundred.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from smarttext_pipelines.core.statuses import FINAL_STATUSES, INBOUND_STATUSES, PLACEHOLDER_SIDS

YOUNGEST, OLDEST = timedelta(minutes=2), timedelta(hours=72)
SHORTEST_PAUSE = timedelta(minutes=14)
"""A little less than the schedule's interval, so that a tick that comes early does not skip one."""

_AGE_PER_PAUSE = 4

_DUE = """
    WITH young AS MATERIALIZED (
        SELECT message_sid, min(created_at) AS first_at, bool_or(lower(status) = ANY (:final)) AS is_final,
               bool_and(lower(status) = ANY (:inbound)) AS is_inbound
        FROM monitoring.sms_events
        WHERE created_at >= CAST(:now AS timestamptz) - :oldest AND created_at <= CAST(:now AS timestamptz)
            AND message_sid <> '' AND message_sid <> ALL (:placeholders)
        GROUP BY message_sid
    ), due AS (
        SELECT y.message_sid, y.first_at
        FROM young AS y
        LEFT JOIN monitoring.api_usage AS u ON u.id = md5('twilio-price:' || y.message_sid)::uuid
        LEFT JOIN monitoring.sms_report_asks AS a USING (message_sid)
        WHERE y.first_at <= CAST(:now AS timestamptz) - :youngest
            AND NOT y.is_inbound AND (NOT y.is_final OR u.id IS NULL)
            AND (a.asked_at IS NULL
                 OR a.asked_at + greatest(:pause, (a.asked_at - y.first_at) / :age_per_pause) <= :now)
            AND NOT EXISTS (SELECT FROM monitoring.sms_events AS e WHERE e.message_sid = y.message_sid
                            AND e.created_at < CAST(:now AS timestamptz) - :oldest)
    )
"""
_READ = text(_DUE + "SELECT message_sid, first_at FROM due ORDER BY first_at, message_sid LIMIT :max_rows")  # noqa: S608 - constant text
_COUNT = text(_DUE + "SELECT count(*) FROM due")  # noqa: S608
_ASKED = text(
    """
    INSERT INTO monitoring.sms_report_asks AS a (message_sid, asked_at, asked_count)
    SELECT sid, :now, 1 FROM unnest(CAST(:sids AS text[])) AS sid
    ON CONFLICT (message_sid) DO UPDATE SET asked_at = EXCLUDED.asked_at, asked_count = a.asked_count + 1
    """
)
_FORGET = text("DELETE FROM monitoring.sms_report_asks WHERE asked_at < CAST(:now AS timestamptz) - 2 * :oldest")


@dataclass(frozen=True)
class Waiting:
    """A message whose outcome or price is not known."""

    sid: str
    first_at: datetime


def _values(now: datetime) -> dict[str, object]:
    return {
        "now": now,
        "youngest": YOUNGEST,
        "oldest": OLDEST,
        "pause": SHORTEST_PAUSE,
        "age_per_pause": _AGE_PER_PAUSE,
        "final": list(FINAL_STATUSES),
        "inbound": list(INBOUND_STATUSES),
        "placeholders": list(PLACEHOLDER_SIDS),
    }


def read_due(connection: Connection, now: datetime, *, max_rows: int) -> list[Waiting]:
    """Return the messages that are due, the oldest first."""
    return [Waiting(sid, at) for sid, at in connection.execute(_READ, {**_values(now), "max_rows": max_rows})]


def count_due(connection: Connection, now: datetime) -> int:
    """Return how many messages are due."""
    return int(connection.scalar(_COUNT, _values(now)) or 0)


def record_asked(connection: Connection, sids: Sequence[str], now: datetime) -> None:
    """Record that Twilio has answered for the messages."""
    connection.execute(_ASKED, {"sids": sorted(sids), "now": now})


def forget_old(connection: Connection, now: datetime) -> None:
    """Forget what is not asked for any more."""
    connection.execute(_FORGET, {"now": now, "oldest": OLDEST})
