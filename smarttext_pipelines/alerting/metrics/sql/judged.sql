-- For every rule and scope that could be in breach or has an open incident: the first window with enough in it.
-- A value below every threshold of its rule cannot be one; which of the others are is judged in rules/judge.py.
WITH fitted AS NOT MATERIALIZED (
    SELECT r.rule, m.scope, m.kind, m.business_id, m.label, m.minutes, m.part, m.whole, m.value, m.first_at, m.last_at,
           m.apart, m.is_burst, coalesce(m.good_after, 0) AS good_after,
           coalesce(m.newest_at < :now - interval '24 hours', false) AS is_stale,
           coalesce(m.start_at, CASE WHEN m.minutes <= :longest_short THEN :now - make_interval(mins => m.minutes)
               ELSE CAST(CAST(:today AS date) - m.minutes / 1440 + 1 AS timestamp) AT TIME ZONE :zone END) AS start_at,
           named.subscription_tier AS plan, r.lowest_threshold,
           m.whole >= coalesce(b.min_count, p.min_count, r.min_count) AS is_enough
    FROM alert_rules AS r
    JOIN alert_measures AS m ON m.signal = r.signal AND m.kind = r.kind AND m.minutes = r.minutes
    LEFT JOIN monitoring.businesses AS named ON named.id = m.business_id
    LEFT JOIN alert_overrides AS b ON b.rule = r.rule AND b.business_id = m.business_id
    LEFT JOIN alert_overrides AS p ON p.rule = r.rule AND p.plan = named.subscription_tier
), wanted AS (
    SELECT rule, scope FROM fitted WHERE (is_enough OR is_burst) AND value >= lowest_threshold AND value > 0
    UNION
    SELECT rule, scope FROM alert_open
)
SELECT DISTINCT ON (f.rule, f.scope) f.*
FROM fitted AS f JOIN wanted AS w ON w.rule = f.rule AND w.scope = f.scope
CROSS JOIN LATERAL (SELECT CASE WHEN f.minutes < 0 THEN 1000000 ELSE f.minutes END AS length) AS window_of
ORDER BY f.rule, f.scope, f.is_burst DESC, f.is_enough DESC, CASE WHEN f.is_enough THEN length ELSE -length END
