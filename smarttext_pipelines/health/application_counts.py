"""What the application wrote in the last seven days, counted: a statement for each question, by the index on its time.

A text, a call, a price mean what they mean in ``metrics``; a test compares. Personal data stay in the database.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, TextClause, text

from smarttext_pipelines.core.openai_prices import LARGEST_COST
from smarttext_pipelines.core.statuses import (
    FINAL_STATUSES,
    INBOUND_STATUSES,
    MAX_NUMBERS_OF_A_KEY,
    MAX_ROWS_OF_A_KEY,
    OWNER_REQUEST_SUFFIX,
    PIPELINE_ALERT_PREFIX,
    PLACEHOLDER_REQUESTS,
    PLACEHOLDER_SIDS,
    RANK,
    REPORT_REQUEST_ID,
    RESET_ENDPOINT,
    STATUS_CLASS,
    WHATSAPP_PREFIX,
    WORDS_FOR_NONE,
)
from smarttext_pipelines.schema.near_rows import compared

WINDOW = timedelta(days=7)
REPORTED_WITHIN = timedelta(hours=1)
"""A younger text may still wait for its outcome."""

_SUPPRESSED = sorted(status for status, kind in STATUS_CLASS.items() if kind == "suppressed")
_VALUES: dict[str, Any] = {
    "placeholders": list(PLACEHOLDER_SIDS),
    "no_requests": list(PLACEHOLDER_REQUESTS),
    "nones": list(WORDS_FOR_NONE),
    "inbound": list(INBOUND_STATUSES),
    "final": [RANK[status] for status in FINAL_STATUSES],
    "suppressed": [RANK[status] for status in _SUPPRESSED],
    "failed": RANK["failed"],
    "never_sent": ["failed", *_SUPPRESSED, *INBOUND_STATUSES],
    "report": REPORT_REQUEST_ID,
    "suffix": OWNER_REQUEST_SUFFIX,
    "pipeline": PIPELINE_ALERT_PREFIX,
    "reset": RESET_ENDPOINT,
    "most_rows": MAX_ROWS_OF_A_KEY,
    "most_numbers": MAX_NUMBERS_OF_A_KEY,
    "largest": LARGEST_COST,
}

_IS_SID = "coalesce(e.message_sid <> '' AND e.message_sid <> ALL (:placeholders), false)"
_IS_REQUEST = "coalesce(e.request_id <> '' AND e.request_id <> ALL (:no_requests), false)"
_IS_CALL_SID = "coalesce(e.call_sid <> '' AND e.call_sid <> ALL (:nones), false)"
_IS_USE = "e.created_at >= :since AND e.created_at <= :until AND e.endpoint <> :reset"
_RECIPIENT = compared(f"regexp_replace(t.to_number, '^{WHATSAPP_PREFIX}', '')")
_RANKED = " ".join(f"WHEN '{status}' THEN {rank}" for status, rank in RANK.items())
_TEXTS = f"""
    SELECT bool_or({_IS_SID}) AS has_sid, bool_or(e.business_id IS NOT NULL) AS is_named,
           max(CASE lower(e.status) {_RANKED} ELSE 0 END) AS rank, min(e.created_at) AS first_at
    FROM monitoring.sms_events AS e WHERE e.created_at >= :since AND e.created_at <= :until
    GROUP BY CASE WHEN {_IS_SID} THEN 's' || e.message_sid
                  WHEN {_IS_REQUEST}
                      THEN 'r' || length(e.request_id) || ':' || e.request_id || coalesce(e.to_number, '')
                  ELSE 'i' || e.id END
    HAVING NOT bool_and(lower(e.status) = ANY (:inbound)) AND NOT bool_and(coalesce(e.request_id, '') = :report)
"""  # noqa: S608 - constants
_CALLS = f"""
    SELECT bool_or(e.business_id IS NOT NULL) AS is_named, bool_or({_IS_CALL_SID}) AS has_sid,
           bool_or(e.event_type IN ('sms.inbound', 'voice.inbound', 'voice.missed')) AS has_begun
    FROM monitoring.call_events AS e
    WHERE e.ts >= :since AND e.ts <= :until
        AND (e.event_type = 'sms.inbound' OR starts_with(e.event_type, 'voice.') AND e.event_type <> 'voice.test')
    GROUP BY e.event_type = 'sms.inbound', CASE WHEN {_IS_CALL_SID} THEN 's' || e.call_sid ELSE 'i' || e.id END
"""  # noqa: S608 - constants

OUTCOMES = text(
    f"""
    SELECT count(*) AS whole, count(*) FILTER (WHERE t.rank <> ALL (:final)) AS missing FROM ({_TEXTS}) AS t
    WHERE t.first_at < :reported AND t.rank <> ALL (:suppressed) AND (t.has_sid OR t.rank <> :failed)
    """  # noqa: S608 - constants
)
"""Texts that were sent, and those of them without a final outcome."""

SIDS = text(
    f"""
    WITH texts AS MATERIALIZED (
        SELECT e.message_sid, e.to_number, (e.created_at AT TIME ZONE :zone)::date AS day, {_IS_SID} AS is_sid,
               lower(e.status) <> ALL (:never_sent) AND coalesce(e.request_id, '') <> :report AS is_sent
        FROM monitoring.sms_events AS e WHERE e.created_at >= :since AND e.created_at <= :until
    ), likely AS (
        SELECT message_sid, day FROM texts WHERE is_sid GROUP BY message_sid, day
        HAVING count(*) > :most_rows OR count(*) > :most_numbers AND min(to_number) <> max(to_number)
    ), repeated AS (
        SELECT t.message_sid, t.day, count(*) FILTER (WHERE t.is_sent) AS n
        FROM texts AS t JOIN likely AS l ON l.message_sid = t.message_sid AND l.day = t.day
        GROUP BY t.message_sid, t.day
        HAVING count(*) > :most_rows OR count(DISTINCT {_RECIPIENT}) > :most_numbers
    )
    SELECT count(*) FILTER (WHERE is_sent) AS whole, count(*) FILTER (WHERE is_sent AND NOT is_sid) AS missing,
           (SELECT coalesce(sum(n), 0)::bigint FROM repeated) AS shared,
           (SELECT count(DISTINCT message_sid) FROM repeated) AS values,
           (SELECT min(message_sid) FROM repeated) AS value
    FROM texts
    """  # noqa: S608 - constants
)
"""Rows of sent texts, those without a sid, and those under a value that many texts share."""

BUSINESSES = text(
    f"""
    SELECT 'sms_events' AS source, count(*) AS whole, count(*) FILTER (WHERE NOT is_named) AS missing
    FROM ({_TEXTS}) AS t
    UNION ALL SELECT 'call_events', count(*), count(*) FILTER (WHERE NOT is_named) FROM ({_CALLS}) AS c
    UNION ALL SELECT 'api_usage', count(*), count(*) FILTER (WHERE e.business_id IS NULL)
    FROM monitoring.api_usage AS e WHERE {_IS_USE}
    """  # noqa: S608 - constants
)
"""Of each source, what was written and what names no business in any of its rows."""

REQUESTS = text(
    f"""
    SELECT 'owner' AS kind, count(*) AS whole, count(*) FILTER (
               WHERE NOT coalesce({_IS_SID} AND e.message_sid IN (
                   SELECT s.message_sid FROM monitoring.sms_events AS s
                   WHERE s.created_at >= :since - interval '1 day' AND s.message_sid <> ''
                       AND right(s.request_id, length(:suffix)) = :suffix), false)) AS missing
    FROM monitoring.owner_alerts AS e
    WHERE e.created_at >= :since AND e.created_at <= :until AND NOT starts_with(e.alert_type, :pipeline)
        AND (e.delivered OR {_IS_SID})
    UNION ALL SELECT 'usage', count(*), count(*) FILTER (WHERE NOT {_IS_REQUEST})
    FROM monitoring.api_usage AS e WHERE {_IS_USE}
    """  # noqa: S608 - constants
)
"""Owner alerts that were handed over without a text of theirs, and requests of ``api_usage`` without a request id."""

CALLS = text(
    f"""
    SELECT count(*) AS whole, count(*) FILTER (WHERE NOT has_sid) AS without_sid,
           count(*) FILTER (WHERE NOT has_begun) AS without_head,
           count(*) FILTER (WHERE NOT has_sid OR NOT has_begun) AS missing,
           CASE WHEN count(*) = 0
                THEN (SELECT count(*) FROM ({_TEXTS}) AS t WHERE t.rank <> ALL (:suppressed)) END AS texts
    FROM ({_CALLS}) AS c
    """  # noqa: S608 - constants
)
"""Calls and inbound texts, those without a sid or the row that says what they are, and texts where there are none."""

PRICES = text(
    f"""
    SELECT count(*) AS whole, count(*) FILTER (WHERE coalesce(
               CASE WHEN e.cost_estimate > -:largest AND e.cost_estimate < :largest THEN e.cost_estimate END, 0
           ) = 0) AS missing
    FROM monitoring.api_usage AS e WHERE {_IS_USE} AND e.service = 'openai' AND e.tokens_used > 0
    """  # noqa: S608 - constants
)
"""OpenAI requests with tokens, and those of them without a cost."""

UNREADABLE = text(
    """
    SELECT current_user AS role, string_agg(name, ', ') AS tables
    FROM unnest(ARRAY['sms_events', 'call_events', 'api_usage', 'owner_alerts']) AS name
    WHERE NOT has_table_privilege('monitoring.' || name, 'SELECT')
    """
)
"""The role, and the tables of events that it may not read."""


@dataclass(frozen=True)
class Written:
    """What was written in the seven days before a time."""

    connection: Connection
    now: datetime
    zone: ZoneInfo

    def read(self, statement: TextClause) -> list[Row[Any]]:
        """Return the rows of one of the statements above."""
        times = {"since": self.now - WINDOW, "until": self.now, "reported": self.now - REPORTED_WITHIN}
        return list(self.connection.execute(statement, {**_VALUES, **times, "zone": str(self.zone)}))
