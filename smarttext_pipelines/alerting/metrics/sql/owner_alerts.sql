-- Alerts to owners: the short windows from events (staged), whole days from the daily fact.
INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value, first_at, last_at)
WITH counted AS (
    SELECT minutes, business_id, failed, alerts, first_at, last_at FROM alert_owner_alerts
    UNION ALL
    SELECT w.minutes, f.business_id, sum(f.failed_count), sum(f.sent_count + f.failed_count), NULL, NULL
    FROM monitoring.owner_alert_delivery AS f
    JOIN unnest(CAST(:long AS integer[])) AS w (minutes) ON f.day > :today - w.minutes / 1440
    WHERE f.day <= :today
    GROUP BY 1, 2
), scoped AS (
    SELECT minutes, CASE WHEN grouping(business_id) = 0 THEN 'business' ELSE 'platform' END AS kind, business_id,
           sum(failed) AS failed, sum(alerts) AS alerts, min(first_at) AS first_at, max(last_at) AS last_at
    FROM counted GROUP BY GROUPING SETS ((minutes, business_id), (minutes))
)
SELECT 'owner_alerts_failed_rate', kind, CASE kind WHEN 'platform' THEN kind ELSE business_scope(business_id) END,
       business_id, minutes, failed, alerts, 100.0 * failed / nullif(alerts, 0), first_at, last_at
FROM scoped WHERE alerts > 0 AND (kind = 'platform' OR business_id IS NOT NULL)
