-- For the few incidents that are told: what failed and why, who was hit, how much is known, and what is usual.
WITH told AS (
    SELECT * FROM jsonb_to_recordset(CAST(:told AS jsonb))
        AS t (rule text, scope text, kind text, business_id uuid, minutes integer)
), rows AS (
    SELECT t.rule, t.scope, m.status_class, m.is_final, m.error_code, 1 AS messages,
           CASE WHEN m.audience = 'customer' THEN m.recipient END AS recipient
    FROM told AS t JOIN alert_messages AS m
        ON t.minutes <= :longest_short AND m.first_at >= :now - make_interval(mins => t.minutes)
        AND (t.kind = 'platform' OR t.kind = 'business' AND m.business_id = t.business_id
             OR t.kind = 'sender' AND 'sender:' || left(md5(m.sender), 12) = t.scope)
    UNION ALL
    SELECT t.rule, t.scope, f.status_class, f.status = ANY (:final), f.error_code, f.message_count, NULL
    FROM told AS t JOIN monitoring.sms_outcomes AS f
        ON t.minutes > :longest_short AND f.day > :today - t.minutes / 1440 AND f.day <= :today AND f.message_count > 0
        AND (t.kind = 'platform' OR t.kind = 'business' AND f.business_id = t.business_id
             OR t.kind = 'sender' AND 'sender:' || left(md5(f.sender), 12) = t.scope)
), people AS (
    SELECT rule, scope, recipient, bool_or(status_class = 'failed') AS was_hit,
           bool_or(status_class = 'successful') AS was_reached
    FROM rows WHERE recipient IS NOT NULL GROUP BY rule, scope, recipient
), hit AS (
    SELECT rule, scope, count(*) FILTER (WHERE was_hit) AS customers,
           count(*) FILTER (WHERE was_hit AND NOT was_reached) AS unreached
    FROM people GROUP BY rule, scope
), codes AS (
    SELECT rule, scope, jsonb_agg(jsonb_build_array(error_code, messages) ORDER BY messages DESC, error_code) AS codes
    FROM (SELECT rule, scope, error_code, sum(messages) AS messages FROM rows WHERE status_class = 'failed'
          GROUP BY rule, scope, error_code) AS c GROUP BY rule, scope
), sums AS (
    SELECT rule, scope, sum(messages) FILTER (WHERE is_final) AS final,
           sum(messages) FILTER (WHERE status_class <> 'suppressed') AS attempted,
           sum(messages) FILTER (WHERE status_class = 'failed') AS failed,
           sum(messages) FILTER (WHERE status_class IN ('failed', 'successful')) AS decided
    FROM rows GROUP BY rule, scope
), everybody AS (
    SELECT w.minutes, count(*) FILTER (WHERE m.status_class = 'failed') AS failed,
           count(*) FILTER (WHERE m.status_class IN ('failed', 'successful')) AS decided
    FROM (SELECT DISTINCT minutes FROM told WHERE minutes <= :longest_short) AS w
    JOIN alert_messages AS m ON m.first_at >= :now - make_interval(mins => w.minutes)
    GROUP BY w.minutes
), usual AS (
    SELECT t.rule, t.scope, min(r.failure_rate_percent) AS least, max(r.failure_rate_percent) AS most, count(*) AS days
    FROM told AS t JOIN monitoring.sms_failure_rates AS r
        ON r.business_id = t.business_id AND r.date < :today AND r.date >= :today - 56
        AND extract(isodow FROM r.date) = extract(isodow FROM CAST(:today AS date))
        AND r.failed + r.successful >= 10
    WHERE t.kind = 'business'
    GROUP BY t.rule, t.scope
)
SELECT t.rule, t.scope, s.final, s.attempted, s.failed, s.decided, c.codes, h.customers, h.unreached,
       e.failed - s.failed AS failed_elsewhere, e.decided - s.decided AS decided_elsewhere,
       u.least, u.most, u.days
FROM told AS t
LEFT JOIN sums AS s ON s.rule = t.rule AND s.scope = t.scope
LEFT JOIN codes AS c ON c.rule = t.rule AND c.scope = t.scope
LEFT JOIN hit AS h ON h.rule = t.rule AND h.scope = t.scope
LEFT JOIN usual AS u ON u.rule = t.rule AND u.scope = t.scope
LEFT JOIN everybody AS e ON e.minutes = t.minutes AND t.kind = 'business'
