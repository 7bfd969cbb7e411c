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
    (SELECT 'api_usage', s.day, e.rows, CASE WHEN m.is_short THEN 1 ELSE 0 END
     FROM stored AS s CROSS JOIN monitoring.installation AS i CROSS JOIN LATERAL (
         SELECT count(*) AS rows, array_agg(DISTINCT u.reset_date) AS dates
         FROM monitoring.api_usage AS u
         WHERE (u.reset_date = s.day OR u.created_at >= s.starts_at AND u.created_at < s.ends_at)
             AND CASE WHEN u.reset_date IS NULL OR i.reset_date_zone <> i.reporting_timezone
                           AND u.created_at >= '2000-01-01 00:00+00' AND u.created_at < '2101-01-01 00:00+00'
                      THEN u.created_at >= s.starts_at AND u.created_at < s.ends_at ELSE u.reset_date = s.day END
     ) AS e CROSS JOIN LATERAL (
         -- The application summed its own days, of which ours may touch two.
         SELECT bool_or(d.tokens > t.tokens) AS is_short
         FROM stored AS d CROSS JOIN LATERAL (
             SELECT coalesce(sum(u.tokens_used) FILTER (WHERE u.service = 'openai' AND u.business_id IS NOT NULL), 0)
                    AS tokens
             FROM monitoring.api_usage AS u
             WHERE u.reset_date = d.day
                 OR (u.reset_date IS NULL AND u.created_at >= d.starts_at AND u.created_at < d.ends_at)
         ) AS t
         WHERE d.day = s.day OR d.day = ANY (e.dates)
     ) AS m
     WHERE e.rows > 0 ORDER BY s.day LIMIT 1)
)
INSERT INTO monitoring.rollup_days (table_name, row_day, rows)
SELECT table_name, day, rows + missing FROM boundaries WHERE missing > 0
ON CONFLICT DO NOTHING
"""
