-- The pipeline about itself: what other parts have told, and notifications that were given up.
INSERT INTO alert_measures (signal, kind, scope, minutes, part, whole, value, label, first_at, last_at)
SELECT s.signal, 'pipeline', s.scope, w.minutes, s.value, 1, s.value, s.detail, NULL, s.told_at
FROM monitoring.alert_signals AS s CROSS JOIN unnest(CAST(:windows AS integer[])) AS w (minutes)
UNION ALL
SELECT 'notifications_dead', 'pipeline', 'channel:' || n.channel, w.minutes, count(*), count(*), count(*), max(n.note),
       min(n.finished_at), max(n.finished_at)
FROM monitoring.notifications AS n
JOIN unnest(CAST(:windows AS integer[])) AS w (minutes) ON n.finished_at >= :now - make_interval(mins => w.minutes)
LEFT JOIN monitoring.incidents AS i ON i.id = n.incident_id
WHERE n.status = 'dead' AND n.finished_at <= :now AND n.incident_id <> 0
    -- What tells of a dead channel by another one does not tell of itself.
    AND NOT EXISTS (SELECT FROM alert_rules AS r WHERE r.rule = i.rule AND r.signal = 'notifications_dead')
GROUP BY n.channel, w.minutes
