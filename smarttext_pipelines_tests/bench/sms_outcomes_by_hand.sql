-- The fact sms_outcomes for one day, as a person would write it: one pass over the window, cut down by a semi-join on
-- hashes, HAVING for the day. The fastest of a dozen hand-written forms that were tried.
WITH grouped AS (SELECT key, min(business_id::text COLLATE "C") AS business, min(nullif(from_number,'') COLLATE "C") AS sender,
 max(CASE lower(status) WHEN 'scheduled' THEN 1 WHEN 'accepted' THEN 2 WHEN 'queued' THEN 3 WHEN 'sending' THEN 4 WHEN 'rate_limited' THEN 5 WHEN 'skipped' THEN 6
 WHEN 'sent' THEN 7 WHEN 'canceled' THEN 8 WHEN 'failed' THEN 9 WHEN 'undelivered' THEN 10 WHEN 'partially_delivered' THEN 11 WHEN 'delivered' THEN 12 WHEN 'read' THEN 13 ELSE 0 END) AS ord,
 max((substr('abcdeffghijklm', CASE lower(status) WHEN 'scheduled' THEN 1 WHEN 'accepted' THEN 2 WHEN 'queued' THEN 3 WHEN 'sending' THEN 4 WHEN 'rate_limited' THEN 5 WHEN 'skipped' THEN 6
 WHEN 'sent' THEN 7 WHEN 'canceled' THEN 8 WHEN 'failed' THEN 9 WHEN 'undelivered' THEN 10 WHEN 'partially_delivered' THEN 11 WHEN 'delivered' THEN 12 WHEN 'read' THEN 13 ELSE 0 END + 1, 1) || error_code) COLLATE "C") FILTER (WHERE error_code <> '') AS err,
 bool_or(request_id LIKE '%-owner') AS to_owner,
 bool_and(lower(status) IN ('received','receiving')) AS is_inbound,
 bool_and(coalesce(request_id,'') = 'twilio-report') AS is_report FROM (SELECT *, (CASE WHEN message_sid <> '' AND message_sid <> 'RATE_LIMITED' THEN 's' || message_sid
 WHEN request_id <> '' THEN 'r' || length(request_id) || ':' || request_id || coalesce(to_number,'')
 ELSE 'i' || id END) COLLATE "C"  AS key FROM sms_events WHERE created_at >= '$search_first+00'::timestamptz AND created_at < '$search_end+00'::timestamptz
 AND (CASE WHEN message_sid <> '' AND message_sid <> 'RATE_LIMITED' THEN hashtextextended(message_sid,0)
 WHEN request_id <> '' THEN hashtextextended(request_id || to_number,1)
 ELSE uuid_hash_extended(id,2) END) IN (SELECT (CASE WHEN message_sid <> '' AND message_sid <> 'RATE_LIMITED' THEN hashtextextended(message_sid,0)
 WHEN request_id <> '' THEN hashtextextended(request_id || to_number,1)
 ELSE uuid_hash_extended(id,2) END) FROM sms_events WHERE created_at >= '$day+00'::timestamptz AND created_at < '$day_end+00'::timestamptz)) r GROUP BY key HAVING min(created_at) >= '$day+00' AND min(created_at) < '$day_end+00'), alerts AS (SELECT 's' || message_sid AS key, min(business_id::text COLLATE "C") AS business FROM owner_alerts
 WHERE created_at >= '$search_first+00'::timestamptz AND created_at < '$search_end+00'::timestamptz AND message_sid <> '' AND message_sid <> 'RATE_LIMITED' GROUP BY 1), numbers AS (SELECT twilio_phone AS number, min(id::text) AS owner FROM businesses WHERE twilio_phone <> '' AND twilio_phone NOT IN (SELECT number FROM shared_senders)
  GROUP BY 1 HAVING count(*) = 1), counted AS (SELECT coalesce(g.business, a.business, n.owner)::uuid AS business_id, CASE WHEN to_owner OR a.key IS NOT NULL THEN 'owner' ELSE 'customer' END AS audience,
 left(sender,100) AS sender, ord, nullif(left(CASE WHEN left(err,1) = substr('abcdeffghijklm', ord + 1, 1) THEN substr(err,2) ELSE '' END,100),'') AS error_code,
 count(*) FILTER (WHERE NOT is_inbound AND NOT is_report) AS message_count, count(*) FILTER (WHERE NOT is_inbound AND is_report) AS late_report_count, count(*) FILTER (WHERE is_inbound) AS inbound_count
 FROM grouped g LEFT JOIN alerts a USING (key) LEFT JOIN numbers n ON n.number = g.sender GROUP BY 1,2,3,4,5)
SELECT DATE '$day' AS day, business_id, audience, sender, s.status, 
 CASE WHEN ord = 0 THEN 'unknown' WHEN ord <= 4 THEN 'in_flight' WHEN ord IN (5,6,8) THEN 'suppressed' WHEN ord IN (7,12,13) THEN 'successful' ELSE 'failed' END AS status_class, error_code, message_count, late_report_count, inbound_count
FROM counted, LATERAL (SELECT (ARRAY['unknown','scheduled','accepted','queued','sending','rate_limited','skipped','sent','canceled','failed','undelivered','partially_delivered','delivered','read'])[ord+1] AS status) s
