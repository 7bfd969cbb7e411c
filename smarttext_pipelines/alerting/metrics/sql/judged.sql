-- For every rule and scope that could be in breach or has an open incident: the first window with enough in it.
WITH fitted AS NOT MATERIALIZED (
    SELECT r.rule, m.scope, m.kind, m.business_id, m.label, m.minutes, m.part, m.whole, m.value,
           coalesce(b.threshold, p.threshold, r.threshold) AS threshold,
           coalesce(b.critical_threshold, p.critical_threshold, r.critical_threshold) AS critical_threshold,
           coalesce(b.clear_threshold, p.clear_threshold, r.clear_threshold) AS clear_threshold,
           m.whole >= coalesce(b.min_count, p.min_count, r.min_count) AS is_enough
    FROM alert_rules AS r
    JOIN alert_measures AS m ON m.signal = r.signal AND m.kind = r.kind AND m.minutes = r.minutes
    LEFT JOIN monitoring.businesses AS named ON named.id = m.business_id
    LEFT JOIN alert_overrides AS b ON b.rule = r.rule AND b.business_id = m.business_id
    LEFT JOIN alert_overrides AS p ON p.rule = r.rule AND p.plan = named.subscription_tier
), wanted AS (
    SELECT rule, scope FROM fitted WHERE is_enough AND value >= threshold AND value > 0
    UNION
    SELECT rule, scope FROM alert_open
)
SELECT DISTINCT ON (f.rule, f.scope) f.*
FROM fitted AS f JOIN wanted AS w ON w.rule = f.rule AND w.scope = f.scope
ORDER BY f.rule, f.scope, f.is_enough DESC, CASE WHEN f.is_enough THEN f.minutes ELSE -f.minutes END
