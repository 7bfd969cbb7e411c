-- The same for every recipient at once, by business; and the texts that were sent in spite of an opt-out, also where
-- a delivery ended it. In one pass: whoever gave no cause is left out before anything is joined.
CREATE OR REPLACE FUNCTION monitoring.suppressed_recipients(business uuid)
RETURNS TABLE (business_id uuid, recipient text, verdict text, since timestamptz, reason text, sender text,
               sent_in_spite bigint, last_in_spite_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH suspects AS MATERIALIZED (
        SELECT {recipient of e.to_number} AS recipient FROM monitoring.sms_events AS e
        WHERE e.error_code <> '' AND {code} = ANY ({suppressing})
        UNION SELECT {recipient of e.from_number} FROM monitoring.call_events AS e
        WHERE e.event_type = 'sms.inbound' AND {word} = ANY ({stops})
    ), forms AS MATERIALIZED (
        SELECT f.form FROM suspects AS s, unnest({forms of s.recipient}) AS f (form) WHERE s.recipient IS NOT NULL
    ), owners AS MATERIALIZED (
        SELECT b.id, {sender of b.twilio_phone} AS sender FROM monitoring.businesses AS b
    ), single_owners AS MATERIALIZED (
        SELECT o.sender, min(o.id::text)::uuid AS id FROM owners AS o GROUP BY o.sender HAVING count(*) = 1
    ), found AS MATERIALIZED (
        -- An array is looked up in the index; a join would compute the spelling of every row of the table.
        SELECT {recipient of e.to_number} AS recipient, {row} FROM monitoring.sms_events AS e
        WHERE {compared_recipient} = ANY (ARRAY(SELECT f.form FROM forms AS f))
    ), texts AS MATERIALIZED (
        SELECT r.recipient, {measures} FROM found AS r GROUP BY r.recipient, r.key
    ), moves AS MATERIALIZED (
        SELECT t.recipient, coalesce(t.sender, o.sender, '') AS sender, t.business_id, t.at, t.is_delivered AS is_in,
               t.is_opted_out AS is_out, t.is_delivered, t.is_sent, t.is_invalid, t.is_unreachable, t.failed_at, t.code AS word
        FROM texts AS t LEFT JOIN owners AS o ON o.id = t.business_id
        UNION ALL
        SELECT i.recipient, coalesce(i.sender, ''), i.business_id, i.at, i.word = ANY ({starts}),
               i.word = ANY ({stops}), false, false, false, false, NULL, i.word
        FROM (
            SELECT {recipient of e.from_number} AS recipient, {inbound} FROM monitoring.call_events AS e
            WHERE e.event_type = 'sms.inbound' AND {compared_caller} = ANY (ARRAY(SELECT f.form FROM forms AS f))
        ) AS i
    ), seen AS MATERIALIZED (
        SELECT m.*, coalesce(m.business_id, (min(m.business_id::text COLLATE "C") OVER pair)::uuid, o.id) AS whose,
               max(m.at) FILTER (WHERE m.is_in) OVER pair AS in_at,
               max(m.at) FILTER (WHERE m.is_delivered) OVER each AS delivered_at,
               max(m.at) FILTER (WHERE m.is_in) OVER earlier AS in_before,
               max(m.at) FILTER (WHERE m.is_out) OVER earlier AS out_before
        FROM moves AS m LEFT JOIN single_owners AS o ON o.sender = m.sender
        WINDOW pair AS (PARTITION BY m.recipient, m.sender), each AS (PARTITION BY m.recipient),
               earlier AS (PARTITION BY m.recipient, m.sender ORDER BY m.at
                           GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), opted AS (
        SELECT s.recipient, s.sender, min(s.at) AS since, (array_agg(s.word ORDER BY s.at, s.word))[1] AS word
        FROM seen AS s WHERE s.is_out AND s.at >= coalesce(s.in_at, '-infinity') GROUP BY s.recipient, s.sender
    ), used AS (
        SELECT s.recipient, s.sender, s.whose,
               count(*) FILTER (WHERE s.is_sent AND s.out_before >= coalesce(s.in_before, '-infinity')) AS in_spite,
               max(s.at) FILTER (WHERE s.is_sent AND s.out_before >= coalesce(s.in_before, '-infinity')) AS last_at
        FROM seen AS s GROUP BY s.recipient, s.sender, s.whose
    ), verdicts (whose, recipient, verdict, since, word, sender, in_spite, last_at) AS (
        SELECT u.whose, u.recipient, CASE WHEN o.since IS NULL THEN 'allowed' ELSE 'opted_out' END, o.since, o.word,
               u.sender, u.in_spite, u.last_at
        FROM used AS u LEFT JOIN opted AS o ON o.recipient = u.recipient AND o.sender = u.sender
        WHERE o.since IS NOT NULL OR u.in_spite > 0
        UNION ALL
        SELECT f.whose, f.recipient, f.verdict, min(f.since), (array_agg(f.word ORDER BY f.since, f.word))[1], NULL, 0,
               NULL
        FROM (
            SELECT s.whose, s.recipient, CASE WHEN s.is_invalid THEN 'invalid_number' ELSE 'unreachable_now' END, s.at,
                   s.word
            FROM seen AS s
            WHERE s.at >= coalesce(s.delivered_at, '-infinity') AND (s.is_invalid
                OR s.is_unreachable AND s.failed_at > now() - interval '{unreachable_hours} hours')
        ) AS f (whose, recipient, verdict, since, word) GROUP BY f.whose, f.recipient, f.verdict
    )
    SELECT v.whose, '+' || v.recipient, v.verdict, nullif(v.since, '-infinity'),
           CASE WHEN v.verdict = 'allowed' THEN 'the opt-out has ended' ELSE {reason of v.word} END,
           regexp_replace(nullif(v.sender, ''), '^(whatsapp:)?([0-9]{7,})$', '\1+\2'), v.in_spite,
           nullif(v.last_at, '-infinity')
    FROM verdicts AS v WHERE suppressed_recipients.business IS NULL OR v.whose = suppressed_recipients.business
    ORDER BY v.in_spite DESC, v.since DESC NULLS LAST, v.recipient, v.verdict, v.sender;
END $$;

-- For those who may not see numbers.
CREATE OR REPLACE FUNCTION monitoring.masked_suppressed_recipients(business uuid)
RETURNS TABLE (business_id uuid, recipient text, verdict text, since timestamptz, reason text, sender text,
               sent_in_spite bigint, last_in_spite_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF row_security_active('public.sms_events') OR row_security_active('public.call_events') THEN
        RAISE EXCEPTION 'row level security hides events: the owner of the tables must run smarttext migrate'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
    SELECT s.business_id, {masked s.recipient}, s.verdict, s.since, s.reason, {masked s.sender}, s.sent_in_spite,
           s.last_in_spite_at
    FROM monitoring.suppressed_recipients($1) AS s;
END $$;
