"""What the first migration learns from statistics it did not compute.

The application's clean-up cuts at an instant, so the first day that still has events may have lost some. For that day
of each source the adopted counts are recorded as rows that once existed: a rollup that finds fewer keeps the day.
"""

ADOPT_BOUNDARY_DAYS = """
INSERT INTO monitoring.rollup_days (table_name, row_day, rows)
SELECT source.table_name, source.first_day, sum(source.stored)
FROM monitoring.installation AS i
CROSS JOIN LATERAL (
    SELECT 'sms_events', d.date, d.messages_sent,
           (SELECT (min(created_at) AT TIME ZONE i.reporting_timezone)::date FROM public.sms_events)
    FROM public.daily_stats AS d
    UNION ALL
    SELECT 'call_events', d.date, d.calls_total,
           (SELECT (min(ts) AT TIME ZONE i.reporting_timezone)::date FROM public.call_events)
    FROM public.daily_stats AS d
    UNION ALL
    SELECT 'owner_alerts', d.date, d.owner_alerts_sent,
           (SELECT (min(created_at) AT TIME ZONE i.reporting_timezone)::date FROM public.owner_alerts)
    FROM public.daily_stats AS d
) AS source (table_name, day, stored, first_day)
WHERE source.day = source.first_day AND source.stored > 0
GROUP BY source.table_name, source.first_day
ON CONFLICT DO NOTHING
"""
