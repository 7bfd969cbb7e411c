-- The fact customer_days for one day, as a person would write it: one pass over the texts of the day and the next, one over
-- the calls, numbers counted as they are and turned into keys at the end. Blocks of the secret are in customer_key_blocks.
WITH msgs AS (SELECT key, min(created_at) AS at, min(business_id::text COLLATE "C") AS business, min(nullif(from_number,'') COLLATE "C") AS sender,
 min(nullif(to_number,'') COLLATE "C") AS recipient,
 max(CASE lower(status) WHEN 'scheduled' THEN 1 WHEN 'accepted' THEN 2 WHEN 'queued' THEN 3 WHEN 'sending' THEN 4 WHEN 'rate_limited' THEN 5 WHEN 'skipped' THEN 6
 WHEN 'sent' THEN 7 WHEN 'canceled' THEN 8 WHEN 'failed' THEN 9 WHEN 'undelivered' THEN 10 WHEN 'partially_delivered' THEN 11 WHEN 'delivered' THEN 12 WHEN 'read' THEN 13 ELSE 0 END) AS ord,
 bool_or(request_id LIKE '%-owner') AS to_owner, bool_and(lower(status) IN ('received','receiving')) AS is_inbound,
 bool_and(coalesce(request_id,'') = 'twilio-report') AS is_report FROM (SELECT *, (CASE WHEN message_sid <> '' AND message_sid <> 'RATE_LIMITED' THEN 's' || message_sid
 WHEN request_id <> '' THEN 'r' || length(request_id) || ':' || request_id || coalesce(to_number,'')
 ELSE 'i' || id END) COLLATE "C" AS key FROM sms_events WHERE created_at >= '$search_first+00'::timestamptz AND created_at < '$search_end+00'::timestamptz
 AND (CASE WHEN message_sid <> '' AND message_sid <> 'RATE_LIMITED' THEN hashtextextended(message_sid,0)
 WHEN request_id <> '' THEN hashtextextended(request_id || to_number,1)
 ELSE uuid_hash_extended(id,2) END) IN (SELECT (CASE WHEN message_sid <> '' AND message_sid <> 'RATE_LIMITED' THEN hashtextextended(message_sid,0)
 WHEN request_id <> '' THEN hashtextextended(request_id || to_number,1)
 ELSE uuid_hash_extended(id,2) END) FROM sms_events WHERE created_at >= '$day+00'::timestamptz - interval '5 s' AND created_at < '$day_end+00'::timestamptz + interval '1 day')) r
 GROUP BY key HAVING min(created_at) >= '$day+00'::timestamptz - interval '5 s' AND min(created_at) < '$day_end+00'::timestamptz + interval '1 day'),
alerts AS (SELECT 's' || message_sid AS key, min(business_id::text COLLATE "C") AS business FROM owner_alerts
 WHERE created_at >= '$search_first+00'::timestamptz AND created_at < '$search_end+00'::timestamptz AND message_sid <> '' AND message_sid <> 'RATE_LIMITED' GROUP BY 1),
owners AS (SELECT number, min(id::text COLLATE "C") AS owner, bool_or(is_sender) AS is_sender FROM businesses, LATERAL (VALUES (twilio_phone, true), (public_phone, false)) AS n (number, is_sender)
 WHERE number <> '' AND number NOT IN (SELECT number FROM shared_senders) GROUP BY 1 HAVING count(DISTINCT id) = 1),
texts AS MATERIALIZED (SELECT m.key, m.at, coalesce(m.business, n.owner) AS business, CASE WHEN m.recipient ~ '[^+0-9]' THEN $compared ELSE m.recipient END AS recipient, m.ord,
 m.ord IN (7,12,13) AS is_successful, m.ord <= 4 AS is_open
 FROM msgs AS m LEFT JOIN alerts AS a USING (key) LEFT JOIN owners AS n ON n.number = m.sender AND n.is_sender
 WHERE NOT m.is_inbound AND NOT m.is_report AND NOT coalesce(m.to_owner, false) AND a.key IS NULL),
calls AS MATERIALIZED (SELECT c.sid, c.started_at, c.missed_at, c.is_text, coalesce(c.business, n.owner) AS business, CASE WHEN c.recipient ~ '[^+0-9]' THEN $compared ELSE c.recipient END AS caller
 FROM (SELECT (event_type = 'sms.inbound') AS is_text, call_sid AS sid, min(ts) AS started_at, min(ts) FILTER (WHERE event_type = 'voice.missed') AS missed_at,
   min(business_id::text COLLATE "C") AS business, min(nullif(from_number,'') COLLATE "C") AS recipient, min(nullif(to_number,'') COLLATE "C") AS called
  FROM call_events WHERE ts >= '$search_first+00'::timestamptz AND ts < '$search_end+00'::timestamptz AND (event_type LIKE 'voice.%' AND event_type <> 'voice.test' OR event_type = 'sms.inbound')
   AND call_sid IN (SELECT call_sid FROM call_events WHERE ts >= '$day+00'::timestamptz AND ts < '$day_end+00'::timestamptz)
  GROUP BY 1, 2 HAVING min(ts) >= '$day+00'::timestamptz AND min(ts) < '$day_end+00'::timestamptz) AS c LEFT JOIN owners AS n ON n.number = c.called),
named AS (SELECT DISTINCT c.sid, t.key FROM calls AS c JOIN sms_events AS e ON e.request_id = c.sid JOIN texts AS t ON t.key = 's' || e.message_sid
 WHERE c.missed_at IS NOT NULL AND e.created_at >= '$search_first+00'::timestamptz AND e.created_at < '$search_end+00'::timestamptz),
answered AS (SELECT c.sid, c.business, c.caller, c.missed_at, min(t.at) FILTER (WHERE t.is_successful AND t.business = c.business) AS replied_at,
  coalesce(bool_or(t.is_open AND t.business = c.business OR t.business IS NULL AND (t.is_open OR t.is_successful)), false) AS is_open
 FROM calls AS c LEFT JOIN texts AS t ON t.recipient = c.caller AND t.at <= c.missed_at + interval '24 h'
  AND (t.at >= c.started_at - interval '5 s' OR EXISTS (SELECT FROM named AS d WHERE d.sid = c.sid AND d.key = t.key))
 WHERE c.missed_at IS NOT NULL GROUP BY 1, 2, 3, 4),
requests AS (SELECT business_id::text AS business, request_id, coalesce(tokens_used, 0) AS tokens, coalesce(cost_estimate, 0) AS cost, endpoint <> 'daily_reset' AS is_request FROM api_usage
 WHERE service = 'openai' AND (reset_date = '$day' OR reset_date IS NULL AND created_at >= '$day+00'::timestamptz AND created_at < '$day_end+00'::timestamptz)
  AND (endpoint <> 'daily_reset' OR coalesce(tokens_used, 0) <> 0 OR coalesce(cost_estimate, 0) <> 0)),
caused AS (SELECT r.request_id, min(x.recipient) AS recipient FROM (SELECT DISTINCT request_id FROM requests WHERE request_id <> '' AND request_id NOT LIKE '%-owner') AS r
 JOIN (SELECT request_id, message_sid, CASE WHEN lower(status) IN ('received','receiving') THEN from_number ELSE to_number END AS recipient FROM sms_events
  WHERE created_at >= '$search_first+00'::timestamptz AND created_at < '$search_end+00'::timestamptz) AS x USING (request_id)
 LEFT JOIN alerts AS a ON a.key = 's' || x.message_sid WHERE a.key IS NULL GROUP BY 1 HAVING count(DISTINCT x.recipient) = 1),
parts AS (
 SELECT business, recipient AS number, 0 AS calls, 0 AS missed, 0 AS in_time, 0 AS late, 0 AS never, 0 AS unknown, 0 AS received, count(*) AS sent, count(*) FILTER (WHERE is_successful) AS s,
  count(*) FILTER (WHERE ord IN (9,10,11)) AS f, count(*) FILTER (WHERE ord BETWEEN 1 AND 4) AS i, count(*) FILTER (WHERE ord IN (5,6,8)) AS p, count(*) FILTER (WHERE ord = 0) AS u, 0 AS requests, 0 AS tokens, 0 AS cost, 0 AS unpriced
 FROM texts WHERE at >= '$day+00'::timestamptz AND at < '$day_end+00'::timestamptz GROUP BY 1, 2
 UNION ALL SELECT business, caller, count(*) FILTER (WHERE NOT is_text), count(missed_at), 0,0,0,0, count(*) FILTER (WHERE is_text), 0,0,0,0,0,0,0,0,0,0 FROM calls GROUP BY 1, 2
 UNION ALL SELECT business, caller, 0, 0, count(*) FILTER (WHERE replied_at <= missed_at + interval '5 min'), count(*) FILTER (WHERE replied_at > missed_at + interval '5 min'),
  count(*) FILTER (WHERE replied_at IS NULL AND NOT is_open AND business IS NOT NULL AND caller IS NOT NULL), count(*) FILTER (WHERE replied_at IS NULL AND (is_open OR business IS NULL OR caller IS NULL)), 0,0,0,0,0,0,0,0,0,0,0 FROM answered GROUP BY 1, 2
 UNION ALL SELECT business, c.recipient, 0,0,0,0,0,0,0,0,0,0,0,0,0, count(*) FILTER (WHERE is_request), sum(tokens), sum(cost), count(*) FILTER (WHERE is_request AND tokens > 0 AND cost = 0) FROM requests LEFT JOIN caused AS c USING (request_id) GROUP BY 1, 2),
counted AS (SELECT business, $e164 AS number, sum(calls) AS calls, sum(missed) AS missed, sum(in_time) AS in_time, sum(late) AS late, sum(never) AS never, sum(unknown) AS unknown, sum(received) AS received, sum(sent) AS sent,
 sum(s) AS s, sum(f) AS f, sum(i) AS i, sum(p) AS p, sum(u) AS u, sum(requests) AS requests, sum(tokens) AS tokens, sum(cost) AS cost, sum(unpriced) AS unpriced FROM parts GROUP BY 1, 2)
SELECT DATE '$day' AS day, business::uuid AS business_id, encode(sha256(decode(k."outer", 'hex') || sha256(decode(k."inner", 'hex') || convert_to(number, 'UTF8'))), 'hex') AS customer_key, calls AS calls_total, missed AS calls_missed,
 in_time AS replied_in_time_count, late AS replied_late_count, never AS unreplied_count, unknown AS reply_unknown_count, received AS messages_received, sent AS messages_sent, s AS sms_success_count, f AS sms_failure_count,
 i AS sms_in_flight_count, p AS sms_suppressed_count, u AS sms_unknown_count, requests AS openai_requests, tokens AS openai_tokens_used, cost::numeric(38, 6) AS openai_cost_estimate, unpriced AS openai_unpriced_requests
FROM counted CROSS JOIN customer_key_blocks AS k
