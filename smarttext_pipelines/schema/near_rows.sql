-- What a function returns cannot be replaced, so one that returned other columns is dropped.
DO $do$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN SELECT p.oid FROM pg_proc AS p
    WHERE p.pronamespace = 'monitoring'::regnamespace AND p.proname IN ('near_rows', 'masked_near_rows')
        AND pg_get_function_result(p.oid) <> 'TABLE({columns})'
    LOOP
        EXECUTE format('DROP FUNCTION %s', function);
    END LOOP;
END $do$;

-- The rows that one answer needs: those of what begins for a business, a number or a sid, with every row that has the
-- same key, found by indexes. A condition of a kind that is not asked for is false before anything is read.
CREATE OR REPLACE FUNCTION monitoring.near_rows(
    kind text, business uuid, numbers text[], sids text[], begins timestamptz, ends timestamptz,
    looks_from timestamptz, looks_until timestamptz, wants_replies boolean)
RETURNS TABLE ({columns})
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    phones text[];
    call_sids text[];
    call_ids uuid[];
    callers text[] := numbers;
    text_sids text[];
    text_requests text[];
    text_numbers text[];
    text_ids uuid[];
BEGIN
    IF kind = 'business' THEN
        phones := ARRAY(
            SELECT p.phone FROM monitoring.businesses AS b, unnest(ARRAY[b.twilio_phone, b.public_phone]) AS p (phone)
            WHERE b.id = near_rows.business AND p.phone <> '');
    END IF;
    SELECT array_agg(DISTINCT s.call_sid) FILTER (WHERE s.call_sid <> '' AND s.call_sid <> ALL ({nones})),
           array_agg(s.id) FILTER (WHERE s.call_sid IS NULL OR s.call_sid = '' OR s.call_sid = ANY ({nones}))
    INTO call_sids, call_ids
    FROM (
        SELECT e.id, e.call_sid FROM monitoring.call_events AS e
        WHERE kind = 'business' AND e.business_id = near_rows.business AND e.ts >= looks_from AND e.ts < looks_until
        UNION ALL SELECT e.id, e.call_sid FROM monitoring.call_events AS e
        WHERE kind = 'business' AND e.business_id IS NULL AND e.ts >= begins AND e.ts < ends
            AND e.to_number = ANY (phones)
        UNION ALL SELECT e.id, e.call_sid FROM monitoring.call_events AS e
        WHERE kind = 'none' AND e.business_id IS NULL AND e.ts >= begins AND e.ts < ends
        UNION ALL SELECT e.id, e.call_sid FROM monitoring.call_events AS e
        WHERE kind = 'all' AND e.ts >= begins AND e.ts < ends
        UNION ALL SELECT e.id, e.call_sid FROM monitoring.call_events AS e
        WHERE kind = 'number' AND {compared_caller} = ANY (numbers) AND e.ts >= looks_from AND e.ts < looks_until
        UNION ALL SELECT e.id, e.call_sid FROM monitoring.call_events AS e
        WHERE kind = 'call' AND e.call_sid = ANY (sids)
    ) AS s;
    RETURN QUERY
    SELECT {row_of_call_events}
    FROM monitoring.call_events AS e WHERE e.call_sid = ANY (call_sids) AND e.ts >= looks_from AND e.ts < looks_until
    UNION ALL
    SELECT {row_of_call_events}
    FROM monitoring.call_events AS e WHERE e.id = ANY (call_ids);
    IF wants_replies THEN
        callers := ARRAY(
            SELECT DISTINCT {compared_caller} FROM monitoring.call_events AS e
            WHERE (e.call_sid = ANY (call_sids) AND e.ts >= looks_from AND e.ts < looks_until OR e.id = ANY (call_ids))
                AND e.event_type LIKE 'voice.%' AND e.from_number <> ''
                AND lower({compared_caller}) <> ALL ({withheld}));
        callers := callers || ARRAY(SELECT '{whatsapp}' || c FROM unnest(callers) AS c WHERE c NOT LIKE '{whatsapp}%')
            || ARRAY(SELECT substr(c, length('{whatsapp}') + 1) FROM unnest(callers) AS c WHERE c LIKE '{whatsapp}%');
    END IF;
    SELECT array_agg(DISTINCT s.message_sid) FILTER (WHERE s.is_sid),
           array_agg(DISTINCT s.request_id) FILTER (WHERE NOT s.is_sid AND s.is_request),
           array_agg(DISTINCT s.compared) FILTER (WHERE NOT s.is_sid AND s.is_request),
           array_agg(s.id) FILTER (WHERE NOT s.is_sid AND NOT s.is_request)
    INTO text_sids, text_requests, text_numbers, text_ids
    FROM (
        SELECT e.id, e.message_sid, e.request_id, {compared_recipient} AS compared, {is_sid} AS is_sid,
               {is_request} AS is_request
        FROM monitoring.sms_events AS e
        WHERE kind = 'business' AND NOT wants_replies AND e.business_id = near_rows.business
            AND e.created_at >= looks_from AND e.created_at < looks_until
        UNION ALL SELECT e.id, e.message_sid, e.request_id, {compared_recipient}, {is_sid}, {is_request}
        FROM monitoring.sms_events AS e
        WHERE kind = 'business' AND NOT wants_replies AND e.business_id IS NULL AND e.from_number = ANY (phones)
            AND e.created_at >= begins AND e.created_at < ends
        UNION ALL SELECT e.id, e.message_sid, e.request_id, {compared_recipient}, {is_sid}, {is_request}
        FROM monitoring.owner_alerts AS a JOIN monitoring.sms_events AS e ON e.message_sid = a.message_sid
        WHERE kind = 'business' AND NOT wants_replies AND a.business_id = near_rows.business
            AND a.created_at >= looks_from AND a.created_at < looks_until AND a.message_sid <> ''
            AND a.message_sid <> ALL ({placeholders})
            AND e.created_at >= looks_from AND e.created_at < looks_until
        UNION ALL SELECT e.id, e.message_sid, e.request_id, {compared_recipient}, {is_sid}, {is_request}
        FROM monitoring.sms_events AS e
        WHERE kind = 'none' AND NOT wants_replies AND e.created_at >= begins AND e.created_at < ends
            AND e.business_id IS NULL
        UNION ALL SELECT e.id, e.message_sid, e.request_id, {compared_recipient}, {is_sid}, {is_request}
        FROM monitoring.sms_events AS e
        WHERE kind = 'all' AND NOT wants_replies AND e.created_at >= begins AND e.created_at < ends
        UNION ALL SELECT e.id, e.message_sid, e.request_id, {compared_recipient}, {is_sid}, {is_request}
        FROM monitoring.sms_events AS e
        WHERE (wants_replies OR kind = 'number') AND {compared_recipient} = ANY (callers)
            AND e.created_at >= looks_from AND e.created_at < looks_until
        UNION ALL SELECT e.id, e.message_sid, e.request_id, {compared_recipient}, {is_sid}, {is_request}
        FROM monitoring.sms_events AS e WHERE kind = 'message' AND e.message_sid = ANY (sids)
    ) AS s;
    RETURN QUERY
    SELECT {row_of_sms_events}
    FROM monitoring.sms_events AS e
    WHERE e.message_sid = ANY (text_sids) AND e.created_at >= looks_from AND e.created_at < looks_until
    UNION ALL
    -- Only rows without a sid of their own: those of another message would be a part of it.
    SELECT {row_of_sms_events}
    FROM monitoring.sms_events AS e
    WHERE {compared_recipient} = ANY (text_numbers) AND e.request_id = ANY (text_requests) AND NOT {is_sid}
        AND e.created_at >= looks_from AND e.created_at < looks_until
    UNION ALL
    SELECT {row_of_sms_events}
    FROM monitoring.sms_events AS e WHERE e.id = ANY (text_ids);
    RETURN QUERY
    SELECT {row_of_owner_alerts}
    FROM monitoring.owner_alerts AS a
    WHERE a.message_sid = ANY (text_sids) AND a.created_at >= looks_from AND a.created_at < looks_until
    UNION
    SELECT {row_of_owner_alerts}
    FROM monitoring.owner_alerts AS a
    WHERE kind = 'business' AND a.business_id = near_rows.business AND a.created_at >= begins AND a.created_at < ends
    UNION
    SELECT {row_of_owner_alerts}
    FROM monitoring.owner_alerts AS a WHERE kind = 'all' AND a.created_at >= begins AND a.created_at < ends;
    RETURN QUERY
    SELECT {row_of_businesses}
    FROM monitoring.businesses AS b;
END $$;

-- The same for those who may not see numbers. A masked number compares like the number: blanks and hyphens, which are
-- left out where numbers are compared, give its place in the order, then a number of its own with its last two digits.
CREATE OR REPLACE FUNCTION monitoring.masked_near_rows(
    kind text, business uuid, numbers text[], sids text[], begins timestamptz, ends timestamptz,
    looks_from timestamptz, looks_until timestamptz, wants_replies boolean, shared text[])
RETURNS TABLE ({columns})
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH found AS MATERIALIZED (
        SELECT * FROM monitoring.near_rows($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ), seen AS MATERIALIZED (
        SELECT DISTINCT n FROM found CROSS JOIN LATERAL (VALUES (from_number), (to_number)) AS v (n)
        WHERE source <> 'businesses' AND n <> ''
    ), owners AS MATERIALIZED (
        SELECT * FROM found
        WHERE source = 'businesses' AND (from_number IN (SELECT n FROM seen) OR to_number IN (SELECT n FROM seen))
    ), used AS MATERIALIZED (
        SELECT * FROM found WHERE source <> 'businesses' UNION ALL SELECT * FROM owners
        UNION ALL SELECT {row_of_shared_senders}
        FROM unnest(shared) AS s
    ), compared AS (
        SELECT n, {compared_any} AS bare
        FROM (SELECT DISTINCT n FROM used CROSS JOIN LATERAL (VALUES (from_number), (to_number)) AS v (n)
              WHERE n <> '') AS d
    ), ranked AS (
        SELECT n, bare, regexp_replace(bare, '[^0-9]', '', 'g') AS digits,
               dense_rank() OVER (ORDER BY n COLLATE "C") AS place, dense_rank() OVER (ORDER BY bare COLLATE "C") AS own
        FROM compared
    ), masks AS MATERIALIZED (
        SELECT n, translate(place::int::bit(24)::text, '01', ' -')
               || CASE WHEN bare = '' THEN '' WHEN lower(bare) = ANY ({withheld}) THEN bare
                       WHEN length(digits) < 4 THEN translate(own::text, '0123456789', 'abcdefghij')
                       ELSE '+' || (own + 100) * 100 + right(digits, 2)::int END AS mask
        FROM ranked
    )
    SELECT {masked_row}
    FROM used AS u LEFT JOIN masks AS f ON f.n = u.from_number LEFT JOIN masks AS t ON t.n = u.to_number
$$;

CREATE OR REPLACE FUNCTION monitoring.near_usage(
    kind text, business uuid, first_day date, last_day date, begins timestamptz, ends timestamptz)
RETURNS TABLE (id uuid, service text, endpoint text, business_id uuid, tokens_used integer, cost_estimate numeric,
               model text, created_at timestamptz, reset_date date)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT u.id, u.service, u.endpoint, u.business_id, u.tokens_used, u.cost_estimate, u.model, u.created_at,
           u.reset_date
    FROM monitoring.api_usage AS u
    WHERE kind = 'business' AND u.business_id = near_usage.business
        AND (u.reset_date BETWEEN first_day AND last_day OR u.created_at >= begins AND u.created_at < ends)
    UNION ALL
    SELECT u.id, u.service, u.endpoint, u.business_id, u.tokens_used, u.cost_estimate, u.model, u.created_at,
           u.reset_date
    FROM monitoring.api_usage AS u
    WHERE kind IN ('all', 'none') AND (kind = 'all' OR u.business_id IS NULL)
        AND (u.reset_date BETWEEN first_day AND last_day OR u.created_at >= begins AND u.created_at < ends);
END $$;

CREATE OR REPLACE FUNCTION monitoring.message_prices(sids text[])
RETURNS TABLE (sid text, price numeric, segments integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.sid, u.price, e.segments
    FROM (SELECT DISTINCT n FROM unnest(sids) AS n) AS s (sid)
    LEFT JOIN (
        -- The id of a price is made of the sid, so the key finds it.
        SELECT u.request_id, sum(u.cost_estimate) AS price FROM monitoring.api_usage AS u
        WHERE u.id = ANY (ARRAY(SELECT md5('twilio-price:' || n)::uuid FROM unnest(sids) AS n)) GROUP BY u.request_id
    ) AS u ON u.request_id = s.sid
    LEFT JOIN (
        SELECT r.message_sid, max(p.segments::integer) AS segments
        FROM monitoring.sms_events AS r
        CROSS JOIN LATERAL (
            SELECT coalesce(r.payload ->> 'num_segments', r.payload ->> 'numSegments') AS segments) AS p
        WHERE r.message_sid = ANY (sids) AND p.segments ~ '^[0-9]{1,4}$' GROUP BY r.message_sid
    ) AS e ON e.message_sid = s.sid
$$;

-- Which businesses send from the number of a scope of alerts, without saying the number.
CREATE OR REPLACE FUNCTION monitoring.businesses_of_sender(sender text)
RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.id FROM monitoring.businesses AS b WHERE 'sender:' || left(md5(b.twilio_phone), 12) = sender
$$;

CREATE OR REPLACE FUNCTION monitoring.openai_tokens_of_the_hour()
RETURNS TABLE (business_id uuid, tokens numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.business_id, sum(u.tokens_used)::numeric FROM monitoring.api_usage AS u
    WHERE u.service = 'openai' AND u.created_at BETWEEN now() - interval '1 hour' AND now() GROUP BY u.business_id
$$;
