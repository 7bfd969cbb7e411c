-- Businesses whose last texts may be a breach, or that have an open incident, and have too few texts in the staged hours:
-- a superset, from the daily facts, so that the texts of fourteen days are read for these alone.
WITH failed AS (
    SELECT f.business_id, f.day, f.status_class, f.message_count
    FROM monitoring.sms_outcomes AS f LEFT JOIN alert_failure_classes AS c ON c.code = f.error_code
    WHERE f.day > :today - :days AND f.day <= :today AND f.status_class = 'failed'
        AND coalesce(c.class, 'unmapped') <> ALL (:outside) AND f.business_id IS NOT NULL
), staged AS (
    SELECT m.business_id, count(*) AS decided, count(*) FILTER (WHERE m.status_class = 'failed') AS failed
    FROM alert_messages AS m
    WHERE m.status_class IN ('failed', 'successful') AND m.business_id IS NOT NULL
    GROUP BY 1
), candidates AS (
    SELECT business_id FROM (
        SELECT business_id, sum(message_count) AS failed FROM failed GROUP BY 1
        UNION ALL SELECT business_id, failed FROM staged
    ) AS both_sums GROUP BY 1 HAVING sum(failed) >= :least
), days AS (
    SELECT f.business_id, f.day, sum(f.message_count) AS decided
    FROM monitoring.sms_outcomes AS f JOIN candidates USING (business_id)
    WHERE f.day > :today - :days AND f.day <= :today AND f.status_class IN ('failed', 'successful')
    GROUP BY 1, 2
), near AS (
    SELECT d.business_id, d.day, coalesce(sum(d.decided) OVER (
        PARTITION BY d.business_id ORDER BY d.day DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS newer
    FROM days AS d
), likely AS (
    SELECT business_id FROM (
        SELECT f.business_id, f.message_count AS failed
        FROM failed AS f JOIN near AS n ON n.business_id = f.business_id AND n.day = f.day AND n.newer < :last_texts
        UNION ALL SELECT business_id, failed FROM staged
    ) AS both_sums GROUP BY 1 HAVING sum(failed) >= :least
    UNION
    SELECT CAST(substr(scope, 10) AS uuid) FROM alert_open WHERE scope LIKE 'business:%-%'
)
SELECT l.business_id FROM likely AS l LEFT JOIN staged AS s USING (business_id)
WHERE coalesce(s.decided, 0) < :last_texts
