-- Alerts to owners: the short windows from events (staged), whole days from the daily fact.
INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value)
WITH counted AS (
    SELECT minutes, business_id, sum(failed_count) AS failed, sum(sent_count + failed_count) AS alerts
    FROM alert_owner_alerts GROUP BY 1, 2
    UNION ALL
    SELECT w.minutes, f.business_id, sum(f.failed_count), sum(f.sent_count + f.failed_count)
    FROM monitoring.owner_alert_delivery AS f
    JOIN unnest(CAST(:long AS integer[])) AS w (minutes) ON f.day > :today - w.minutes / 1440
    WHERE f.day <= :today
    GROUP BY 1, 2
), scoped AS (
    SELECT minutes, CASE WHEN grouping(business_id) = 0 THEN 'business' ELSE 'platform' END AS kind, business_id,
           sum(failed) AS failed, sum(alerts) AS alerts
    FROM counted GROUP BY GROUPING SETS ((minutes, business_id), (minutes))
)
SELECT 'owner_alerts_failed_rate', kind, CASE kind WHEN 'platform' THEN kind ELSE 'business:' || business_id END,
       business_id, minutes, failed, alerts, 100 * failed / nullif(alerts, 0)
FROM scoped WHERE alerts > 0 AND (kind = 'platform' OR business_id IS NOT NULL)
