"""How many callers write back after a text, by day and business: counted from events once, kept as numbers.

A caller is a number that a business missed a call of on a day. He was texted if a text of the business to him that
counts as successful began at most 24 hours after the call; he wrote back if a text of his came within 24 hours after
that. Only rows that name their business count. A day is counted when all that is over, while its events are live.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange, day_end, day_start
from smarttext_pipelines.core.statuses import OWNER_REQUEST_SUFFIX, STATUS_CLASS, WHATSAPP_PREFIX, WITHHELD_CALLERS
from smarttext_pipelines.schema.near_rows import compared

_OVER_AFTER = timedelta(hours=48)
_CALLER = compared("e.from_number")
_COUNT = text(
    f"""
    WITH wanted AS MATERIALIZED (
        SELECT d.day, d.begins, d.ends
        FROM unnest(CAST(:days AS date[]), CAST(:begins AS timestamptz[]), CAST(:ends AS timestamptz[]))
            AS d (day, begins, ends)
        WHERE NOT EXISTS (SELECT FROM monitoring.write_backs AS w WHERE w.day = d.day AND w.business_id IS NULL)
            AND NOT EXISTS (
                SELECT FROM monitoring.archive_segments AS s
                WHERE s.table_name IN ('call_events', 'sms_events') AND s.state = 'deleted'
                    AND s.day BETWEEN d.day - 1 AND d.day + 3)
    ), missed AS MATERIALIZED (
        SELECT w.day, e.business_id, {_CALLER} AS caller, min(e.ts) AS at
        FROM wanted AS w JOIN monitoring.call_events AS e ON e.ts >= w.begins AND e.ts < w.ends
        WHERE e.event_type = 'voice.missed' AND e.business_id IS NOT NULL AND e.from_number <> ''
            AND lower({_CALLER}) <> ALL (:withheld)
        GROUP BY 1, 2, 3
    ), texted AS MATERIALIZED (
        SELECT m.day, m.business_id, m.caller, min(e.created_at) AS at
        FROM missed AS m
        JOIN monitoring.sms_events AS e ON e.business_id = m.business_id
            AND {compared("e.to_number")} IN (m.caller, '{WHATSAPP_PREFIX}' || m.caller)
            AND e.created_at BETWEEN m.at - interval '5 seconds' AND m.at + interval '24 hours'
        WHERE lower(e.status) = ANY (:successful) AND coalesce(e.request_id, '') NOT LIKE :of_owners
        GROUP BY m.day, m.business_id, m.caller
    ), told AS (
        SELECT t.day, t.business_id, EXISTS (
            SELECT FROM monitoring.call_events AS e
            WHERE {_CALLER} IN (t.caller, '{WHATSAPP_PREFIX}' || t.caller) AND e.event_type = 'sms.inbound'
                AND e.business_id = t.business_id AND e.ts > t.at AND e.ts <= t.at + interval '24 hours') AS wrote_back
        FROM texted AS t
    )
    INSERT INTO monitoring.write_backs (day, business_id, texted_callers, wrote_back)
    SELECT day, business_id, count(*), count(*) FILTER (WHERE wrote_back) FROM told GROUP BY day, business_id
    UNION ALL SELECT day, NULL, 0, 0 FROM wanted
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING
    """  # noqa: S608 - constants
)


def count_write_backs(connection: Connection, days: Iterable[date], zone: ZoneInfo, now: datetime) -> None:
    """Count the days that are over and not counted yet, in one statement; a second time changes nothing.

    Args:
        connection: In a transaction.
        days: Reporting days.
        zone: Reporting zone.
        now: Time of reading.
    """
    over = [day for day in days if now >= day_end(day, zone) + _OVER_AFTER]
    connection.execute(
        _COUNT,
        {
            "days": over,
            "begins": [day_start(day, zone) for day in over],
            "ends": [day_end(day, zone) for day in over],
            "withheld": list(WITHHELD_CALLERS),
            "successful": [name for name, kind in STATUS_CLASS.items() if kind == "successful"],
            "of_owners": f"%{OWNER_REQUEST_SUFFIX}",
        },
    )


def days_counted(last: date, weeks: int) -> DayRange:
    """Return the days from which a rate is learnt: so many weeks up to a day."""
    return DayRange(last - timedelta(days=7 * weeks - 1), last)
