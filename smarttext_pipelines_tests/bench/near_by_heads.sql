-- First the keys that begin on the day, then their rows from then on.
heads AS MATERIALIZED (
    SELECT DISTINCT key FROM day
    WHERE NOT EXISTS (SELECT FROM around WHERE around.key = day.key AND around.created_at < '$start')
),
near AS (SELECT * FROM around WHERE created_at >= '$start' AND key IN (SELECT key FROM heads))
