"""What the first migration learns from statistics it did not compute.

The application's clean-up cuts at an instant, so the first day that still has events may have lost some. The
application counted rows that name a business. Where fewer of them are left than the day's statistics say, the missing
ones are recorded as rows that once existed: a rollup that finds fewer keeps the day.
"""

ADOPT_BOUNDARY_DAYS = """
WITH stored AS (
    SELECT date AS day, date::timestamp AT TIME ZONE i.reporting_timezone AS starts_at,
           (date + 1)::timestamp AT TIME ZONE i.reporting_timezone AS ends_at, sum(messages_sent) AS messages,
           sum(calls_total) AS calls, sum(messages_received) AS received, sum(owner_alerts_sent) AS alerts,
           sum(openai_tokens_used) AS tokens
    FROM public.daily_stats, monitoring.installation AS i
    GROUP BY date, i.reporting_timezone
), boundaries (table_name, day, rows, missing) AS (
    (SELECT 'sms_events', s.day, e.rows, s.messages - e.named
     FROM stored AS s CROSS JOIN LATERAL (
         SELECT count(*) AS rows, count(business_id) AS named FROM monitoring.sms_events
         WHERE created_at >= s.starts_at AND created_at < s.ends_at
     ) AS e
     WHERE e.rows > 0 ORDER BY s.day LIMIT 1)
    UNION ALL
    (SELECT 'call_events', s.day, e.rows, greatest(s.calls - e.named, s.received - e.received)
     FROM stored AS s CROSS JOIN LATERAL (
         SELECT count(*) AS rows, count(business_id) AS named,
                count(business_id) FILTER (WHERE event_type = 'sms.inbound') AS received
         FROM monitoring.call_events WHERE ts >= s.starts_at AND ts < s.ends_at
     ) AS e
     WHERE e.rows > 0 ORDER BY s.day LIMIT 1)
    UNION ALL
    (SELECT 'owner_alerts', s.day, e.rows, s.alerts - e.rows
     FROM stored AS s CROSS JOIN LATERAL (
         SELECT count(*) AS rows FROM monitoring.owner_alerts WHERE created_at >= s.starts_at AND created_at < s.ends_at
     ) AS e
     WHERE e.rows > 0 ORDER BY s.day LIMIT 1)
    UNION ALL
    -- Tokens tell that requests are missing, not how many.
    (SELECT 'api_usage', s.day, e.rows, sign(s.tokens - e.tokens)
     FROM stored AS s CROSS JOIN LATERAL (
         SELECT count(*) AS rows,
                coalesce(sum(tokens_used) FILTER (WHERE service = 'openai' AND business_id IS NOT NULL), 0) AS tokens
         FROM monitoring.api_usage
         WHERE reset_date = s.day OR (reset_date IS NULL AND created_at >= s.starts_at AND created_at < s.ends_at)
     ) AS e
     WHERE e.rows > 0 ORDER BY s.day LIMIT 1)
)
INSERT INTO monitoring.rollup_days (table_name, row_day, rows)
SELECT table_name, day, rows + missing FROM boundaries WHERE missing > 0
ON CONFLICT DO NOTHING
"""
