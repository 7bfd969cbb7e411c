-- $businesses businesses of 1 to 300 events a day, every day, as a rollup would have left them.
SELECT setseed(0.5);
INSERT INTO public.businesses (id, name, twilio_phone, public_phone)
SELECT md5(n::text)::uuid, 'Business ' || n, '+1202' || 2000000 + n, '+1303' || 2000000 + n
FROM generate_series(1, $businesses) AS n;
INSERT INTO public.daily_stats (
    business_id, date, messages_sent, sms_success_count, sms_failure_count, sms_in_flight_count, sms_unknown_count,
    calls_total, calls_missed, missed_calls_replied, missed_calls_unreplied, missed_calls_reply_unknown,
    messages_received, openai_requests, openai_tokens_used, openai_cost_estimate, data_through
)
SELECT
    md5(n::text)::uuid, d::date, sent, sent - failed, failed, 0, 0, calls, missed, missed - unanswered, unanswered, 0,
    (sent * 0.7)::integer, requests, requests * 500, requests * 0.002, d + interval '24 hours 30 minutes'
FROM
    generate_series(timestamptz '$first 00:00+00', timestamptz '$last 00:00+00', interval '1 day') AS d,
    generate_series(1, $businesses) AS n,
    LATERAL (SELECT exp(ln(300) * ((n * 7919) % 1000) / 1000.0) AS size, random_normal() AS a, random_normal() AS b) AS s,
    LATERAL (
        SELECT
            greatest(size + a * sqrt(size + 0.03 * size * size), 0)::integer AS sent,
            greatest(size + b * sqrt(size + 0.03 * size * size), 0)::integer AS calls,
            greatest(size + (a + b) * 0.7 * sqrt(size + 0.03 * size * size), 0)::integer AS requests
    ) AS c,
    LATERAL (SELECT (sent * 0.04 * random())::integer AS failed, (calls * 0.5)::integer AS missed) AS e,
    LATERAL (SELECT (missed * 0.06 * random())::integer AS unanswered) AS u;
INSERT INTO monitoring.rollup_days (table_name, row_day, rows, rolled_up_at, checked_at)
SELECT name, d::date, 1, d + interval '30 hours', d + interval '30 hours'
FROM
    unnest(ARRAY[$tables]) AS name,
    generate_series(timestamptz '$first 00:00+00', timestamptz '$last 00:00+00', interval '1 day') AS d;
