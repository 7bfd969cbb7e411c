-- Messages of the short windows (one pass, staged) and of whole days (daily facts), counted per scope.
INSERT INTO alert_measures (signal, kind, scope, business_id, label, minutes, part, whole, value)
WITH counted AS (
    SELECT w.minutes, m.business_id, m.sender, m.status_class, m.is_final, m.status_class = 'failed' AS has_failed,
           coalesce(c.class, 'unmapped') AS class, m.error_code,
           count(*)::integer AS messages,
           count(*) FILTER (WHERE m.status_class = 'in_flight' AND m.first_at < :now - interval '15 min')::integer AS stuck,
           count(*) FILTER (WHERE m.first_at < :now - interval '15 min')::integer AS old
    FROM alert_messages AS m
    JOIN unnest(CAST(:short AS integer[])) AS w (minutes) ON m.first_at >= :now - make_interval(mins => w.minutes)
    LEFT JOIN alert_failure_classes AS c ON c.code = m.error_code
    GROUP BY 1, 2, 3, 4, 5, 7, 8
    UNION ALL
    SELECT w.minutes, f.business_id, f.sender, f.status_class, f.status = ANY (:final), f.status_class = 'failed',
           coalesce(c.class, 'unmapped'), f.error_code, sum(f.message_count)::integer, 0, 0
    FROM monitoring.sms_outcomes AS f
    JOIN unnest(CAST(:long AS integer[])) AS w (minutes) ON f.day > :today - w.minutes / 1440
    LEFT JOIN alert_failure_classes AS c ON c.code = f.error_code
    WHERE f.day <= :today AND f.message_count > 0
    GROUP BY 1, 2, 3, 4, 5, 7, 8
), known_codes AS (
    SELECT DISTINCT error_code FROM monitoring.sms_outcomes
    WHERE day < :today AND day >= :today - 90 AND error_code IS NOT NULL
), by_business AS (
    SELECT minutes, CASE WHEN grouping(sender) = 1 THEN 'platform' ELSE 'sender' END AS kind,
           coalesce(sender, '') AS sender, business_id,
           sum(messages) FILTER (WHERE has_failed AND class <> ALL (:outside)) AS failed,
           sum(messages) FILTER (WHERE has_failed AND class <> ALL (:outside) OR status_class = 'successful') AS decided
    FROM counted WHERE business_id IS NOT NULL
    GROUP BY GROUPING SETS ((minutes, sender, business_id), (minutes, business_id))
), worst AS (
    SELECT DISTINCT ON (minutes, kind, sender) minutes, kind, sender, failed, decided,
           count(*) OVER (PARTITION BY minutes, kind, sender) AS businesses
    FROM by_business ORDER BY minutes, kind, sender, failed DESC NULLS LAST
), scoped AS (
    SELECT minutes,
           CASE WHEN grouping(business_id) = 0 THEN 'business' WHEN grouping(sender) = 0 THEN 'sender'
                ELSE 'platform' END AS kind,
           business_id, sender,
           sum(messages) AS attempts,
           sum(messages) FILTER (WHERE status_class = 'successful') AS successful,
           sum(messages) FILTER (WHERE has_failed AND class <> ALL (:outside)) AS failed,
           sum(messages) FILTER (WHERE has_failed AND class = 'filtered') AS filtered,
           sum(messages) FILTER (WHERE has_failed AND class = 'registration') AS unregistered,
           sum(messages) FILTER (WHERE has_failed AND class = 'account') AS refused,
           sum(messages) FILTER (WHERE has_failed AND class = 'unmapped' AND error_code <> ''
                                 AND error_code NOT IN (SELECT error_code FROM known_codes)) AS unmapped,
           sum(stuck) AS stuck, sum(old) AS old,
           sum(messages) FILTER (WHERE business_id IS NULL) AS unattributed
    FROM counted
    GROUP BY GROUPING SETS ((minutes, business_id), (minutes, sender), (minutes))
)
SELECT v.signal, s.kind,
       CASE s.kind WHEN 'business' THEN 'business:' || s.business_id
                   WHEN 'sender' THEN 'sender:' || left(md5(s.sender), 12) ELSE 'platform' END,
       s.business_id, CASE s.kind WHEN 'sender' THEN
           '•••' || coalesce(substring(regexp_replace(s.sender, '[^0-9]', '', 'g') FROM '[0-9]{2}([0-9]{2})$'), '') END,
       s.minutes, coalesce(v.part, 0), coalesce(v.whole, 0), coalesce(100.0 * v.part / nullif(v.whole, 0), 0)
FROM scoped AS s
LEFT JOIN worst AS w ON w.minutes = s.minutes AND w.kind = s.kind AND w.sender = coalesce(s.sender, '')
-- A business with more than half of the failures has an incident of its own and does not make one of everybody.
CROSS JOIN LATERAL (
    SELECT CASE WHEN 2 * w.failed > s.failed THEN w.failed ELSE 0 END AS failed,
           CASE WHEN 2 * w.failed > s.failed THEN w.decided ELSE 0 END AS decided
) AS apart
CROSS JOIN LATERAL (VALUES
    ('sms_failure_rate', coalesce(s.failed, 0) - apart.failed,
     coalesce(s.failed, 0) + coalesce(s.successful, 0) - apart.decided),
    ('sms_filtered_rate', coalesce(s.filtered, 0), coalesce(s.failed, 0) + coalesce(s.successful, 0)),
    ('sms_in_flight_share', s.stuck, s.old),
    ('unattributed_share', s.unattributed, s.attempts)
) AS v (signal, part, whole)
WHERE (s.kind = 'platform' OR v.signal <> 'unattributed_share')
    AND (s.kind <> 'business' OR s.business_id IS NOT NULL)
    -- A sender of one business says what the business says.
    AND (s.kind <> 'sender' OR s.sender IS NOT NULL AND w.businesses > 1)
UNION ALL
SELECT v.signal, s.kind,
       CASE s.kind WHEN 'business' THEN 'business:' || s.business_id
                   WHEN 'sender' THEN 'sender:' || left(md5(s.sender), 12) ELSE 'platform' END,
       s.business_id, CASE s.kind WHEN 'sender' THEN
           '•••' || coalesce(substring(regexp_replace(s.sender, '[^0-9]', '', 'g') FROM '[0-9]{2}([0-9]{2})$'), '') END,
       s.minutes, coalesce(v.part, 0), s.attempts, coalesce(v.part, 0)
FROM scoped AS s
CROSS JOIN LATERAL (VALUES
    ('registration_errors', s.unregistered), ('account_errors', s.refused), ('unmapped_errors', s.unmapped)
) AS v (signal, part)
WHERE (s.kind = 'platform' OR v.signal <> 'unmapped_errors')
    AND (s.kind <> 'business' OR s.business_id IS NOT NULL) AND (s.kind <> 'sender' OR s.sender IS NOT NULL)
