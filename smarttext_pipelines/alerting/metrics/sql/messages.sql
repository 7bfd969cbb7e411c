-- Messages of the short windows (one pass, staged) and of whole days (daily facts), counted per scope.
-- {sums}, {values} and {scopes} are written from the metrics of ``texts.METRICS``.
INSERT INTO alert_measures (
    signal, kind, scope, business_id, minutes, start_at, part, whole, value, first_at, last_at, apart)
WITH counted AS (
    SELECT w.minutes, m.business_id, m.sender, m.status_class, m.class, m.is_old, m.is_known,
           count(*)::integer AS messages, min(m.first_at) AS first_at, max(m.first_at) AS last_at
    FROM alert_texts AS m
    JOIN unnest(CAST(:short AS integer[])) AS w (minutes) ON m.first_at >= :now - make_interval(mins => w.minutes)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    UNION ALL
    SELECT w.minutes, f.business_id, f.sender, f.status_class, coalesce(c.class, 'unmapped'), false, true,
           sum(f.message_count)::integer, NULL, NULL
    FROM monitoring.sms_outcomes AS f
    JOIN unnest(CAST(:long AS integer[])) AS w (minutes) ON f.day > :today - w.minutes / 1440
    LEFT JOIN alert_failure_classes AS c ON c.code = f.error_code
    WHERE f.day <= :today AND f.message_count > 0
    GROUP BY 1, 2, 3, 4, 5
), by_business AS (
    SELECT minutes, CASE WHEN grouping(sender) = 1 THEN 'platform' ELSE 'sender' END AS kind,
           coalesce(sender, '') AS sender, business_id,
           sum(messages) FILTER (WHERE {failed}) AS part, sum(messages) FILTER (WHERE {decided}) AS whole,
           min(first_at) FILTER (WHERE {failed}) AS first_at, max(last_at) FILTER (WHERE {failed}) AS last_at
    FROM counted AS m
    GROUP BY GROUPING SETS ((minutes, sender, business_id), (minutes, business_id))
), worst AS (
    SELECT DISTINCT ON (minutes, kind, sender) minutes, kind, sender, count(business_id) OVER each AS businesses,
           -- A business with more than half of the failures has an incident of its own, and makes none of everybody.
           CASE WHEN 2 * part > sum(part) OVER each THEN business_id END AS apart
    FROM by_business
    WINDOW each AS (PARTITION BY minutes, kind, sender)
    ORDER BY minutes, kind, sender, business_id IS NULL, part DESC NULLS LAST
), without AS (
    SELECT minutes, kind, sender, w.apart, w.businesses, sum(b.part) AS part, sum(b.whole) AS whole,
           min(b.first_at) AS first_at, max(b.last_at) AS last_at
    FROM by_business AS b JOIN worst AS w USING (minutes, kind, sender)
    WHERE b.business_id IS DISTINCT FROM w.apart OR w.apart IS NULL
    GROUP BY minutes, kind, sender, w.apart, w.businesses
), scoped AS (
    SELECT minutes,
           CASE WHEN grouping(business_id) = 0 THEN 'business' WHEN grouping(sender) = 0 THEN 'sender'
                ELSE 'platform' END AS kind,
           business_id, sender, {sums}
    FROM counted AS m
    GROUP BY GROUPING SETS ((minutes, business_id), (minutes, sender), (minutes))
)
SELECT v.signal, s.kind,
       CASE s.kind WHEN 'business' THEN business_scope(s.business_id)
                   WHEN 'sender' THEN sender_scope(s.sender) ELSE 'platform' END,
       s.business_id, s.minutes,
       CASE WHEN s.minutes <= :longest_short THEN :now - make_interval(mins => s.minutes)
            ELSE CAST(CAST(:today AS date) - s.minutes / 1440 + 1 AS timestamp) AT TIME ZONE :zone END,
       n.part, n.whole, CASE WHEN v.is_rate THEN coalesce(100.0 * n.part / nullif(n.whole, 0), 0) ELSE n.part END,
       n.first_at, n.last_at, n.apart
FROM scoped AS s
LEFT JOIN without AS w ON w.minutes = s.minutes AND w.kind = s.kind AND w.sender = coalesce(s.sender, '')
CROSS JOIN LATERAL (VALUES {values}) AS v (signal, is_rate, part, whole, first_at, last_at)
CROSS JOIN LATERAL (
    SELECT coalesce(CASE WHEN is_apart THEN w.part ELSE v.part END, 0) AS part,
           coalesce(CASE WHEN is_apart THEN w.whole ELSE v.whole END, 0) AS whole,
           CASE WHEN is_apart THEN w.first_at ELSE v.first_at END AS first_at,
           CASE WHEN is_apart THEN w.last_at ELSE v.last_at END AS last_at,
           CASE WHEN is_apart THEN w.apart END AS apart
    FROM (SELECT v.signal = 'sms_failure_rate' AND s.kind <> 'business' AS is_apart) AS a
) AS n
WHERE (v.signal, s.kind) IN ({scopes})
    AND (s.kind <> 'business' OR s.business_id IS NOT NULL)
    -- The rate of a sender of one business is what the rate of the business says.
    AND (s.kind <> 'sender' OR s.sender IS NOT NULL AND (w.businesses > 1 OR NOT v.is_rate))
