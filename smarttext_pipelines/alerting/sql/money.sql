-- OpenAI: today's cost against the seven days before, requests without a price, budgets that were reached.
INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value)
WITH days AS (
    SELECT CASE WHEN grouping(business_id) = 0 THEN 'business' ELSE 'platform' END AS kind, business_id,
           coalesce(sum(cost_usd) FILTER (WHERE day = :today), 0) AS today_usd,
           coalesce(sum(cost_usd) FILTER (WHERE day < :today), 0) / 7 AS usual_usd,
           coalesce(sum(unpriced_requests) FILTER (WHERE day = :today), 0) AS unpriced,
           coalesce(sum(request_count) FILTER (WHERE day = :today AND tokens_used > 0), 0) AS requests
    FROM monitoring.spend
    WHERE service = 'openai' AND day BETWEEN :today - 7 AND :today
    GROUP BY GROUPING SETS ((business_id), ())
)
SELECT 'openai_spend', kind, CASE kind WHEN 'platform' THEN kind ELSE 'business:' || business_id END, business_id,
       1440, round(today_usd, 2), round(today_usd, 2), coalesce(round(today_usd / nullif(usual_usd, 0), 2), 0)
FROM days WHERE kind = 'platform' OR business_id IS NOT NULL
UNION ALL
SELECT 'unpriced_share', kind, 'platform', NULL, 1440, unpriced, requests,
       coalesce(100.0 * unpriced / nullif(requests, 0), 0)
FROM days WHERE kind = 'platform'
UNION ALL
(SELECT DISTINCT ON (business_key) 'openai_budget', 'business', 'business:' || coalesce(business_id::text, 'none'),
       business_id, 1440, round(used, 2), round(allowed, 2), threshold_percent
FROM monitoring.budget_crossings WHERE day = :today
ORDER BY business_key, threshold_percent DESC)
