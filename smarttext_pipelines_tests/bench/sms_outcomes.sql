-- The metric sms_outcomes of one day by hand; $near says which rows are grouped (by_hash, by_key, by_heads).
WITH keyed AS NOT MATERIALIZED (
    SELECT *,
        (CASE WHEN message_sid <> '' AND message_sid <> 'RATE_LIMITED' THEN 's' || message_sid
            WHEN request_id <> '' THEN 'r' || length(request_id) || ':' || request_id || coalesce(to_number, '')
            ELSE 'i' || id END) COLLATE "C" AS key,
        CASE WHEN message_sid <> '' AND message_sid <> 'RATE_LIMITED' THEN hashtextextended(message_sid, 0)
            WHEN request_id <> '' THEN hashtextextended(request_id, 0)
            ELSE uuid_hash_extended(id, 0) END AS key_hash
    FROM public.sms_events
),
day AS NOT MATERIALIZED (SELECT * FROM keyed WHERE created_at >= '$start' AND created_at < '$end'),
around AS NOT MATERIALIZED (SELECT * FROM keyed WHERE created_at >= '$search_start' AND created_at < '$search_end'),
$near,
ranked AS (
    SELECT near.*, CASE lower(status)
        WHEN 'scheduled' THEN 1 WHEN 'accepted' THEN 2 WHEN 'queued' THEN 3 WHEN 'sending' THEN 4
        WHEN 'rate_limited' THEN 5 WHEN 'skipped' THEN 6 WHEN 'sent' THEN 7 WHEN 'canceled' THEN 8
        WHEN 'failed' THEN 9 WHEN 'undelivered' THEN 10 WHEN 'partially_delivered' THEN 11
        WHEN 'delivered' THEN 12 WHEN 'read' THEN 13 ELSE 0 END AS place
    FROM near
),
messages AS (
    SELECT key,
        min(business_id::text COLLATE "C") AS business,
        min(nullif(from_number, '') COLLATE "C") AS sender,
        max(place) AS place,
        -- Only rows with an error; one of a lower rank than the message's own is dropped below.
        max((substr('abcdeffghijklm', place + 1, 1) || error_code) COLLATE "C") FILTER (WHERE error_code <> '') AS error,
        bool_or(request_id LIKE '%-owner') AS to_owner,
        bool_and(lower(status) IN ('received', 'receiving')) AS is_inbound,
        bool_and(coalesce(request_id, '') = 'twilio-report') AS is_report
    FROM ranked GROUP BY key
    HAVING min(created_at) >= '$start' AND min(created_at) < '$end'
),
alerts AS (
    SELECT 's' || message_sid AS key, min(business_id::text COLLATE "C") AS business
    FROM public.owner_alerts
    WHERE created_at >= '$search_start' AND created_at < '$search_end'
        AND message_sid <> '' AND message_sid <> 'RATE_LIMITED'
    GROUP BY 1
),
numbers AS (
    SELECT twilio_phone AS number, min(id::text) AS business FROM public.businesses
    WHERE twilio_phone <> '' AND twilio_phone NOT IN (SELECT number FROM shared_senders)
    GROUP BY 1 HAVING count(*) = 1
),
counted AS (
    SELECT coalesce(m.business, a.business, n.business)::uuid AS business_id,
        CASE WHEN m.to_owner OR a.key IS NOT NULL THEN 'owner' ELSE 'customer' END AS audience,
        left(m.sender, 100) AS sender,
        m.place,
        CASE WHEN left(m.error, 1) = substr('abcdeffghijklm', m.place + 1, 1) THEN substr(left(m.error, 101), 2) END
            AS error_code,
        count(*) FILTER (WHERE NOT m.is_inbound AND NOT m.is_report) AS message_count,
        count(*) FILTER (WHERE NOT m.is_inbound AND m.is_report) AS late_report_count,
        count(*) FILTER (WHERE m.is_inbound) AS inbound_count
    FROM messages AS m LEFT JOIN alerts AS a USING (key) LEFT JOIN numbers AS n ON n.number = m.sender
    GROUP BY 1, 2, 3, 4, 5
)
SELECT date '$day' AS day, business_id, audience, sender,
    (ARRAY['unknown', 'scheduled', 'accepted', 'queued', 'sending', 'rate_limited', 'skipped', 'sent', 'canceled',
        'failed', 'undelivered', 'partially_delivered', 'delivered', 'read'])[place + 1] AS status,
    CASE WHEN place = 0 THEN 'unknown' WHEN place <= 4 THEN 'in_flight' WHEN place IN (5, 6, 8) THEN 'suppressed'
        WHEN place IN (7, 12, 13) THEN 'successful' ELSE 'failed' END AS status_class,
    error_code, message_count, late_report_count, inbound_count
FROM counted
