-- Missed calls that got no text: the short windows from events (staged), whole days from the daily fact. What is unknown
-- is among the calls, and not among those without a text.
INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value, first_at, last_at)
WITH counted AS (
    SELECT minutes, CAST(business AS uuid) AS business_id, unreplied, missed, first_at, last_at
    FROM alert_missed_calls
    UNION ALL
    SELECT w.minutes, f.business_id, sum(f.unreplied_count),
           sum(f.replied_in_time_count + f.replied_late_count + f.unreplied_count + f.reply_unknown_count), NULL, NULL
    FROM monitoring.missed_call_replies AS f
    JOIN unnest(CAST(:long AS integer[])) AS w (minutes) ON f.day > :today - w.minutes / 1440
    WHERE f.day <= :today
    GROUP BY 1, 2
)
SELECT 'missed_calls_unanswered', 'business', business_scope(business_id), business_id, minutes, unreplied, missed, unreplied,
       first_at, last_at
FROM counted WHERE business_id IS NOT NULL
