-- The last decided texts of each scope, where time windows hold too few; and texts that all failed since the last success.
INSERT INTO alert_measures (
    signal, kind, scope, business_id, minutes, start_at, part, whole, value, first_at, last_at, good_after, newest_at,
    is_burst)
WITH scoped AS (
    SELECT k.kind, k.scope, CASE k.kind WHEN 'business' THEN m.business_id END AS business_id, m.business_id AS of_business,
           m.key, m.first_at, m.recipient, {failed} AS has_failed, m.class = 'filtered' AS is_filtered
    FROM alert_texts AS m CROSS JOIN LATERAL (VALUES
        ('business', business_scope(m.business_id), m.business_id IS NOT NULL),
        ('sender', sender_scope(m.sender), m.sender IS NOT NULL),
        ('platform', 'platform', true)
    ) AS k (kind, scope, is_there)
    WHERE k.is_there AND {decided} AND (k.kind = 'business' OR :everything OR m.first_at >= :complete_since)
), troubled AS (
    SELECT kind, scope FROM scoped GROUP BY 1, 2
    HAVING count(*) FILTER (WHERE has_failed) >= :least AND (kind <> 'sender' OR count(DISTINCT of_business) > 1)
    UNION
    SELECT split_part(scope, ':', 1), scope FROM alert_open
), placed AS (
    SELECT s.*, row_number() OVER latest AS place, max(s.first_at) FILTER (WHERE NOT s.has_failed) OVER scope AS good_at
    FROM scoped AS s JOIN troubled USING (kind, scope)
    WINDOW scope AS (PARTITION BY kind, scope), latest AS (PARTITION BY kind, scope ORDER BY first_at DESC, key DESC)
), spans AS (
    SELECT kind, scope, min(first_at) FILTER (WHERE place <= :last_texts) AS start_at, max(first_at) AS newest_at,
           false AS is_burst
    FROM placed GROUP BY 1, 2
    UNION ALL
    SELECT kind, scope, min(first_at), max(first_at), true
    FROM placed WHERE has_failed AND (good_at IS NULL OR first_at > good_at)
    GROUP BY 1, 2 HAVING count(DISTINCT recipient) >= :burst_texts
), counted AS (
    SELECT v.signal, p.kind, p.scope, p.business_id, p.of_business, s.start_at, s.newest_at, s.is_burst, p.first_at,
           v.is_counted, p.has_failed,
           max(p.first_at) FILTER (WHERE v.is_counted) OVER (PARTITION BY v.signal, p.kind, p.scope, s.is_burst) AS last_at
    FROM placed AS p
    JOIN spans AS s ON s.kind = p.kind AND s.scope = p.scope AND p.first_at >= s.start_at
    CROSS JOIN LATERAL (VALUES
        ('sms_failure_rate', p.has_failed), ('sms_filtered_rate', p.has_failed AND p.is_filtered)
    ) AS v (signal, is_counted)
    WHERE NOT s.is_burst OR v.signal = 'sms_failure_rate'
), shared AS (
    -- As in time windows, one business with most of the failures makes no incident of everybody.
    SELECT signal, kind, scope, is_burst, max(failed) AS most, sum(failed) AS failed
    FROM (SELECT signal, kind, scope, is_burst, of_business, count(*) FILTER (WHERE is_counted) AS failed
          FROM counted GROUP BY 1, 2, 3, 4, 5) AS each_business
    GROUP BY 1, 2, 3, 4
)
SELECT c.signal, c.kind, c.scope, c.business_id, -1, c.start_at, count(*) FILTER (WHERE c.is_counted), count(*),
       100.0 * count(*) FILTER (WHERE c.is_counted) / count(*), min(c.first_at) FILTER (WHERE c.is_counted),
       max(c.last_at), count(*) FILTER (WHERE NOT c.has_failed AND c.first_at > c.last_at), c.newest_at, c.is_burst
FROM counted AS c JOIN shared AS s USING (signal, kind, scope, is_burst)
WHERE c.kind = 'business' OR 2 * s.most <= s.failed
GROUP BY c.signal, c.kind, c.scope, c.business_id, c.start_at, c.newest_at, c.is_burst
