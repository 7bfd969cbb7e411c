-- For the few incidents that are notified: what was counted and why, who was hit, how much is known, what is usual.
-- {counted} and {among} are written from the metrics: whether a row is counted by the incident's metric.
WITH told AS (
    SELECT * FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS t (rule text, scope text, kind text, business_id uuid,
        minutes integer, signal text, start_at timestamptz, apart uuid)
), rows AS (
    SELECT t.rule, t.scope, {counted} AS is_counted, {among} AS is_among, m.status_class, m.is_final, m.error_code,
           m.business_id, 1 AS messages, CASE WHEN m.audience = 'customer' THEN m.recipient END AS recipient
    FROM told AS t JOIN alert_texts AS m ON t.minutes <= :longest_short AND m.first_at >= t.start_at
        AND (t.kind = 'platform' OR t.kind = 'business' AND m.business_id = t.business_id
             OR t.kind = 'sender' AND sender_scope(m.sender) = t.scope)
        AND (t.apart IS NULL OR m.business_id IS DISTINCT FROM t.apart)
    UNION ALL
    SELECT t.rule, t.scope, {counted}, {among}, m.status_class, m.status = ANY (:final), m.error_code, m.business_id,
           m.message_count, NULL
    FROM told AS t JOIN (
        SELECT f.*, coalesce(c.class, 'unmapped') AS class, false AS is_old, true AS is_known
        FROM monitoring.sms_outcomes AS f LEFT JOIN alert_failure_classes AS c ON c.code = f.error_code
    ) AS m ON t.minutes > :longest_short AND m.day > :today - t.minutes / 1440 AND m.day <= :today
        AND m.message_count > 0
        AND (t.kind = 'platform' OR t.kind = 'business' AND m.business_id = t.business_id
             OR t.kind = 'sender' AND sender_scope(m.sender) = t.scope)
        AND (t.apart IS NULL OR m.business_id IS DISTINCT FROM t.apart)
), people AS (
    SELECT rule, scope, recipient, bool_or(is_counted) AS was_hit, bool_or(status_class = 'successful') AS was_reached
    FROM rows WHERE recipient IS NOT NULL GROUP BY rule, scope, recipient
), hit AS (
    SELECT rule, scope, count(*) FILTER (WHERE was_hit) AS customers,
           count(*) FILTER (WHERE was_hit AND NOT was_reached) AS unreached
    FROM people GROUP BY rule, scope
), codes AS (
    SELECT rule, scope, jsonb_agg(jsonb_build_array(error_code, messages) ORDER BY messages DESC, error_code) AS codes
    FROM (SELECT rule, scope, error_code, sum(messages) AS messages FROM rows WHERE is_counted AND status_class = 'failed'
          GROUP BY rule, scope, error_code) AS c GROUP BY rule, scope
), owners AS (
    SELECT rule, scope, jsonb_agg(jsonb_build_array(business_id, messages) ORDER BY messages DESC, business_id) AS owners
    FROM (SELECT rule, scope, business_id, sum(messages) FILTER (WHERE is_counted) AS messages FROM rows
          WHERE business_id IS NOT NULL GROUP BY rule, scope, business_id) AS c
    WHERE messages > 0 GROUP BY rule, scope
), failures AS (
    SELECT rule, scope, jsonb_agg(jsonb_build_array(business_id, error_code, messages)) AS failures
    FROM (SELECT rule, scope, business_id, error_code, sum(messages) AS messages FROM rows
          WHERE scope LIKE 'sender:%' AND status_class = 'failed' AND business_id IS NOT NULL
          GROUP BY rule, scope, business_id, error_code) AS c GROUP BY rule, scope
), sums AS (
    SELECT rule, scope, sum(messages) FILTER (WHERE is_final) AS final,
           sum(messages) FILTER (WHERE status_class <> 'suppressed') AS attempted,
           sum(messages) FILTER (WHERE is_counted) AS counted, sum(messages) FILTER (WHERE is_among) AS among,
           sum(messages) FILTER (WHERE status_class = 'failed' AND NOT is_counted) AS failed_otherwise
    FROM rows GROUP BY rule, scope
), everybody AS (
    SELECT t.rule, t.scope, count(*) FILTER (WHERE {counted}) AS counted, count(*) FILTER (WHERE {among}) AS among
    FROM told AS t JOIN alert_texts AS m ON t.minutes <= :longest_short AND m.first_at >= t.start_at
    WHERE t.kind = 'business' AND t.start_at >= :complete_since
    GROUP BY t.rule, t.scope
), usual AS (
    SELECT t.rule, t.scope, min(r.failure_rate_percent) AS least, max(r.failure_rate_percent) AS most, count(*) AS days
    FROM told AS t JOIN monitoring.sms_failure_rates AS r
        ON r.business_id = t.business_id AND r.date < :today AND r.date >= :today - 56
        AND extract(isodow FROM r.date) = extract(isodow FROM CAST(:today AS date))
        AND r.failed + r.successful >= 10
    WHERE t.kind = 'business' AND t.signal = 'sms_failure_rate'
    GROUP BY t.rule, t.scope
)
SELECT t.rule, t.scope, s.final, s.attempted, s.counted, s.among, s.failed_otherwise, c.codes, o.owners, f.failures, h.customers,
       h.unreached, e.counted - s.counted AS counted_elsewhere, e.among - s.among AS among_elsewhere,
       u.least, u.most, u.days
FROM told AS t
LEFT JOIN sums AS s ON s.rule = t.rule AND s.scope = t.scope
LEFT JOIN codes AS c ON c.rule = t.rule AND c.scope = t.scope
LEFT JOIN owners AS o ON o.rule = t.rule AND o.scope = t.scope
LEFT JOIN failures AS f ON f.rule = t.rule AND f.scope = t.scope
LEFT JOIN hit AS h ON h.rule = t.rule AND h.scope = t.scope
LEFT JOIN usual AS u ON u.rule = t.rule AND u.scope = t.scope
LEFT JOIN everybody AS e ON e.rule = t.rule AND e.scope = t.scope
