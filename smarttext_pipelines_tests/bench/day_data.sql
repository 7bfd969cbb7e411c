-- Fills the five tables with equally large days: $rows texts a day, and calls, usage and alerts in proportion.
-- Everything is drawn from hashes of running numbers, so two runs load the same rows.

CREATE FUNCTION pg_temp.u(n bigint, salt int) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hashint8extended(n, salt) & 1073741823)::float8 / 1073741824;
CREATE FUNCTION pg_temp.business(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5('business' || n::text)::uuid;
CREATE FUNCTION pg_temp.phone(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '+1' || (2005550000 + n)::text;

CREATE FUNCTION pg_temp.row_id(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid;

INSERT INTO public.businesses (id, name, twilio_phone, public_phone)
SELECT pg_temp.business(n), 'Business ' || n, CASE WHEN n % 7 = 3 THEN '$shared' ELSE pg_temp.phone(n) END, pg_temp.phone(50000 + n)
FROM generate_series(0, $businesses - 1) AS n;

-- A text is 2.22 rows on average: its sender's, its caller's, and in one case of three a delivery report.
CREATE TEMPORARY TABLE texts AS
SELECT
    n,
    floor($businesses * pg_temp.u(n, 1) ^ 2)::bigint AS business,
    timestamptz '$first' + (n / ($rows * 0.45) + 1e-9) * interval '1 day' AS at,
    CASE WHEN pg_temp.u(n, 2) < 0.962 THEN 'SM' || md5(n::text) WHEN pg_temp.u(n, 2) < 0.982 THEN '' WHEN pg_temp.u(n, 2) < 0.997 THEN 'RATE_LIMITED' ELSE '' END AS sid,
    CASE WHEN pg_temp.u(n, 2) < 0.962 THEN (ARRAY['queued', 'queued', 'queued', 'queued', 'Queued', 'accepted', 'sending', 'sent'])[1 + floor(8 * pg_temp.u(n, 3))::int]
        WHEN pg_temp.u(n, 2) < 0.982 THEN 'failed' WHEN pg_temp.u(n, 2) < 0.997 THEN 'rate_limited' ELSE 'skipped' END AS status,
    CASE WHEN pg_temp.u(n, 2) BETWEEN 0.962 AND 0.982 THEN '21211' END AS code,
    'req_' || substr(md5('r' || n), 1, 16) || CASE WHEN pg_temp.u(n, 4) < 0.1 THEN '-owner' ELSE '' END AS request,
    pg_temp.u(n, 4) < 0.1 AS to_owner,
    -- Most reports come within seconds, some hours later, a few after almost three days, hardly any after five.
    CASE WHEN pg_temp.u(n, 5) < 0.93 THEN 20 * pg_temp.u(n, 6) WHEN pg_temp.u(n, 5) < 0.98 THEN 43200 * pg_temp.u(n, 6) WHEN pg_temp.u(n, 5) < 0.999 THEN 259000 * pg_temp.u(n, 6) ELSE 440000 END AS delay_s,
    pg_temp.u(n, 2) < 0.34 AS is_reported
FROM generate_series(0, ($rows * 0.45 * $days)::bigint - 1) AS n;

INSERT INTO public.sms_events (id, message_sid, from_number, to_number, business_id, status, error_code, request_id, body_length, created_at, payload)
SELECT pg_temp.row_id(3 * n + part), sid,
    CASE WHEN business % 7 = 3 THEN '$shared' ELSE pg_temp.phone(business) END, pg_temp.phone($recipient),
    CASE WHEN kind = 'caller' THEN pg_temp.business(business) END,
    status, code, request, 80 + n % 60, at,
    CASE WHEN kind = 'sender' THEN jsonb_build_object('sid', sid, 'num_segments', '1') ELSE '{}' END
FROM (
    SELECT 'sender' AS kind, 0 AS part, n, sid, business, status, code, request, at FROM texts
    UNION ALL
    SELECT 'caller', 1, n, sid, business, status, code, request, at + interval '40 ms' FROM texts
    WHERE NOT to_owner AND pg_temp.u(n, 7) < 0.98
    UNION ALL
    SELECT 'report', 2, n, sid, business,
        CASE WHEN pg_temp.u(n, 8) < 0.03 THEN 'undelivered' WHEN pg_temp.u(n, 8) < 0.1 THEN 'sent' ELSE 'delivered' END,
        CASE WHEN pg_temp.u(n, 8) < 0.03 THEN (ARRAY['30003', '30005', '30007', '30008'])[1 + floor(4 * pg_temp.u(n, 9))::int] END,
        'twilio-report', at + delay_s * interval '1 s'
    FROM texts WHERE is_reported
) AS written
ORDER BY at;

INSERT INTO public.sms_events (message_sid, from_number, to_number, business_id, status, created_at)
SELECT 'SM' || md5('inbound' || n), pg_temp.phone(100000 + n), pg_temp.phone(business), pg_temp.business(business), 'received', at
FROM texts WHERE n % 100 = 0 ORDER BY n;

-- Half of the alerts are texts to owners under the sid of their text; the others were never handed over.
INSERT INTO public.owner_alerts (business_id, owner_phone, customer_phone, alert_type, message_content, message_sid, delivered, created_at)
SELECT pg_temp.business(business), pg_temp.phone(60000 + business), pg_temp.phone(100000 + n % 7919),
    (ARRAY['missed_call', 'missed_call', 'urgent_message', 'custom_keyword'])[1 + n % 4],
    'A customer asked to be called back.', CASE WHEN n % 20 = 0 THEN NULL ELSE sid END, n % 20 <> 0, at
FROM texts WHERE to_owner ORDER BY n;

-- A call in three is missed, one in six is told twice; two inbound texts come with five calls.
INSERT INTO public.call_events (call_sid, from_number, to_number, business_id, event_type, call_status, ts)
SELECT CASE WHEN is_text THEN 'SM' ELSE 'CA' END || md5('call' || n), pg_temp.phone($caller),
    CASE WHEN business % 7 = 3 THEN '$shared' ELSE pg_temp.phone(business) END,
    CASE WHEN pg_temp.u(n, 12) < 0.9 THEN pg_temp.business(business) END,
    CASE WHEN is_text THEN 'sms.inbound' WHEN again = 1 AND n % 3 = 0 THEN 'voice.missed' ELSE 'voice.inbound' END,
    CASE WHEN n % 3 = 0 THEN 'no-answer' ELSE 'completed' END,
    timestamptz '$first' + (n / ($rows * 0.133) + 1e-9) * interval '1 day' + again * interval '21 s'
FROM (
    SELECT n, floor($businesses * pg_temp.u(n, 11) ^ 2)::bigint AS business, n % 7 IN (1, 4) AS is_text
    FROM generate_series(0, ($rows * 0.133 * $days)::bigint - 1) AS n
) AS calls, generate_series(0, 1) AS again
WHERE again = 0 OR n % 3 = 0 OR n % 6 = 1
ORDER BY n;

INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, cost_estimate, model, created_at, reset_date, request_id)
SELECT CASE WHEN n % 9 = 0 THEN 'twilio' ELSE 'openai' END, CASE WHEN n % 30000 = 0 THEN 'daily_reset' WHEN n % 9 = 0 THEN 'messages' WHEN n % 13 = 0 THEN 'embeddings' ELSE 'chat.completions' END,
    CASE WHEN n % 17 > 0 THEN pg_temp.business(floor($businesses * $asker ^ 2)::bigint) END,
    CASE WHEN n % 9 = 0 OR n % 30000 = 0 THEN 0 ELSE 100 + n % 900 END, CASE WHEN n % 11 = 0 THEN NULL ELSE 0.000150 * (n % 90) END,
    (ARRAY['gpt-4o', 'gpt-4o-mini', 'gpt-4.1-mini'])[1 + n % 3], at, CASE WHEN n % 50 > 0 THEN (at AT TIME ZONE 'UTC')::date END, $request
FROM (
    SELECT n, timestamptz '$first' + (n / ($rows * 0.3) + 1e-9) * interval '1 day' AS at
    FROM generate_series(0, ($rows * 0.3 * $days)::bigint - 1) AS n
) AS requests
ORDER BY n;
