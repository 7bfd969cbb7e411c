-- Rows that came in within a window, against the same weekday and hours of four weeks; the least of those is usual.
INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value, label)
WITH ranges AS (
    SELECT * FROM unnest(CAST(:weeks AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        AS r (week, start_at, end_at)
), counted AS (
    SELECT r.week, e.business_id, count(*) AS events
    FROM ranges AS r JOIN monitoring.sms_events AS e ON e.created_at >= r.start_at AND e.created_at < r.end_at
    GROUP BY 1, 2
    UNION ALL
    SELECT r.week, e.business_id, count(*)
    FROM ranges AS r JOIN monitoring.call_events AS e ON e.ts >= r.start_at AND e.ts < r.end_at
    GROUP BY 1, 2
), weekly AS (
    SELECT CASE WHEN grouping(business_id) = 0 THEN 'business' ELSE 'platform' END AS kind, business_id, week,
           sum(events) AS events
    FROM counted GROUP BY GROUPING SETS ((business_id, week), (week))
), seen AS (
    SELECT count(DISTINCT week) AS weeks FROM counted WHERE week > 0
), compared AS (
    SELECT kind, business_id, coalesce(max(events) FILTER (WHERE week = 0), 0) AS now_events, seen.weeks,
           -- A week in which nobody has a row lies before the first event; two weeks at least say what is usual.
           CASE WHEN seen.weeks >= 2 AND count(*) FILTER (WHERE week > 0) = seen.weeks
                THEN min(events) FILTER (WHERE week > 0) ELSE 0 END AS usual
    FROM weekly CROSS JOIN seen GROUP BY kind, business_id, seen.weeks
)
SELECT 'event_silence', kind, CASE kind WHEN 'platform' THEN kind ELSE business_scope(business_id) END, business_id,
       :minutes, now_events, usual, greatest(0, coalesce(100 - 100 * now_events / nullif(usual, 0), 0)),
       'in the same hours of each of ' || weeks || ' weeks before'
FROM compared WHERE kind = 'platform' OR business_id IS NOT NULL
