-- OpenAI: today's cost against up to seven days before, requests without a price, budgets that were reached.
INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value, label, last_at)
WITH days AS (
    SELECT CASE WHEN grouping(business_id) = 0 THEN 'business' ELSE 'platform' END AS kind, business_id,
           coalesce(sum(cost_usd) FILTER (WHERE day = :today), 0) AS today_usd,
           sum(cost_usd) FILTER (WHERE day < :today) AS before_usd,
           :today - min(day) FILTER (WHERE day < :today AND cost_usd > 0) AS days_before,
           coalesce(sum(unpriced_requests) FILTER (WHERE day = :today), 0) AS unpriced,
           coalesce(sum(request_count) FILTER (WHERE day = :today AND tokens_used > 0), 0) AS requests,
           max(updated_at) FILTER (WHERE day = :today) AS last_at
    FROM monitoring.spend
    WHERE service = 'openai' AND day BETWEEN :today - 7 AND :today
    GROUP BY GROUPING SETS ((business_id), ())
)
SELECT 'openai_spend', kind, CASE kind WHEN 'platform' THEN kind ELSE business_scope(business_id) END, business_id,
       1440, round(today_usd, 2), round(today_usd, 2),
       coalesce(round(today_usd * days_before / nullif(before_usd, 0), 2), 0),
       round(before_usd / days_before, 2) || ' USD a day on the ' || days_before || ' days before', last_at
-- Fewer than three days since the first use say nothing about what is usual.
FROM days WHERE (kind = 'platform' OR business_id IS NOT NULL) AND days_before >= 3
UNION ALL
SELECT 'unpriced_share', kind, 'platform', NULL, 1440, unpriced, requests,
       coalesce(100.0 * unpriced / nullif(requests, 0), 0), NULL, last_at
FROM days WHERE kind = 'platform'
UNION ALL
-- A crossing stays when more is granted; the counter says what is used and allowed now.
(SELECT DISTINCT ON (b.business_key) 'openai_budget', 'business', coalesce(business_scope(b.business_id), 'business:none'),
        b.business_id, 1440, round(u.used, 2), round(u.allowed, 2), coalesce(100 * u.used / nullif(u.allowed, 0), 100),
        c.unit, c.crossed_at
FROM monitoring.budget_crossings AS c
JOIN monitoring.openai_budgets AS b ON b.day = c.day AND b.business_key = c.business_key
CROSS JOIN LATERAL (VALUES
    ('tokens', b.used_tokens, b.limit_tokens + b.granted_tokens), ('usd', b.used_usd, b.limit_usd + b.granted_usd)
) AS u (unit, used, allowed)
WHERE c.day = :today AND u.unit = c.unit AND u.allowed IS NOT NULL
ORDER BY b.business_key, 8 DESC, c.unit, c.crossed_at DESC)
