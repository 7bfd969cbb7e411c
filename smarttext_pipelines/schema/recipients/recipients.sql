CREATE OR REPLACE FUNCTION monitoring.recipient_number(told text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN lower(bare) NOT IN ({withheld}) THEN nullif(bare, '') END
    FROM (SELECT regexp_replace(translate(regexp_replace($1, '^{whatsapp}', ''), {separators}, ''), '{prefix}', '')
          AS bare) AS n
$$;
COMMENT ON FUNCTION monitoring.recipient_number(text) IS
    'A number without prefix and separators; NULL for none and for a withheld one.';

CREATE OR REPLACE FUNCTION monitoring.recipient_key(told text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT left(encode(sha256(s.outer_block || sha256(s.inner_block
                       || convert_to(monitoring.recipient_number($1), 'UTF8'))), 'hex'), 32)::uuid
    FROM monitoring.recipient_secret AS s
$$;
COMMENT ON FUNCTION monitoring.recipient_key(text) IS
    'The key of the customer with a number; NULL without a number, and where no secret was installed.';

CREATE OR REPLACE FUNCTION monitoring.refresh_recipients(since timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM monitoring.recipient_secret) THEN
        RETURN 0;
    END IF;
    WITH told AS (
        SELECT e.to_number AS number, e.from_number AS sender, c.kind, e.created_at AS at,
               CASE WHEN c.kind <> 'delivered' THEN c.code END AS why
        FROM monitoring.sms_events AS e
        JOIN (VALUES {codes}, (NULL, 'delivered')) AS c (code, kind)
            ON CASE WHEN lower(e.status) IN ('delivered', 'read') THEN c.kind = 'delivered'
                    WHEN lower(e.status) IN ('failed', 'undelivered')
                    THEN c.code = (regexp_match(e.error_code, '{code}'))[2] END
        WHERE e.created_at >= since
        UNION ALL
        SELECT e.from_number, e.to_number, w.kind, e.ts, w.word
        FROM monitoring.call_events AS t
        JOIN public.call_events AS e ON e.id = t.id
        JOIN (VALUES ('STOP', 'opt_out'), ('STOPALL', 'opt_out'), ('UNSUBSCRIBE', 'opt_out'), ('CANCEL', 'opt_out'),
                     ('END', 'opt_out'), ('QUIT', 'opt_out'), ('OPTOUT', 'opt_out'), ('REVOKE', 'opt_out'),
                     ('START', 'opt_in'), ('YES', 'opt_in'), ('UNSTOP', 'opt_in')) AS w (word, kind)
            ON w.word = upper(btrim(coalesce(nullif(to_jsonb(e) -> 'payload' ->> 'OptOutType', ''),
                                             to_jsonb(e) -> 'payload' ->> 'Body')))
        WHERE t.event_type = 'sms.inbound' AND t.ts >= since
    ), keyed AS (
        -- Each number is hashed once.
        SELECT monitoring.recipient_key(n.number) AS customer_key, n.number
        FROM (SELECT DISTINCT number FROM told) AS n
    ), latest AS (
        SELECT DISTINCT ON (k.customer_key, sender, t.kind) k.customer_key,
               CASE WHEN t.kind IN ('opt_out', 'opt_in') THEN coalesce(monitoring.recipient_number(t.sender), '')
                    ELSE '' END AS sender, t.kind, t.at, t.why
        FROM told AS t JOIN keyed AS k USING (number) WHERE k.customer_key IS NOT NULL
        ORDER BY k.customer_key, sender, t.kind, t.at DESC, t.why
    )
    INSERT INTO monitoring.recipient_marks AS m (customer_key, sender, kind, at, why)
    SELECT l.customer_key, l.sender, l.kind, l.at, l.why FROM latest AS l
    ON CONFLICT (customer_key, sender, kind) DO UPDATE SET at = excluded.at, why = excluded.why
    WHERE excluded.at > m.at;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION monitoring.refresh_recipients(timestamptz) IS
    'Keeps the newest mark of each kind from texts and answers since a time; the same in any order, however often.';

CREATE OR REPLACE FUNCTION public.check_sms_recipient(
    business_id uuid, to_number text, OUT answer text, OUT since timestamptz, OUT why text
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    customer CONSTANT uuid := monitoring.recipient_key($2);
    from_number CONSTANT text := (
        SELECT nullif(coalesce(monitoring.recipient_number(b.twilio_phone), ''), '')
        FROM monitoring.businesses AS b WHERE b.id = $1);
    delivered timestamptz;
    marked record;
BEGIN
    IF NOT EXISTS (SELECT FROM monitoring.recipient_secret) THEN
        answer := 'unavailable';
        why := 'no secret is installed: smarttext customers install-secret';
        RETURN;
    ELSIF customer IS NULL THEN
        answer := 'invalid_number';
        why := 'no number';
        RETURN;
    END IF;
    -- STOP holds for the sender that it was sent to; of a sender that is not known, for all.
    SELECT o.at, o.why INTO marked FROM monitoring.recipient_marks AS o
    WHERE o.customer_key = customer AND o.kind = 'opt_out'
        AND (o.sender = from_number OR o.sender = '' OR from_number IS NULL)
        AND NOT EXISTS (
            SELECT FROM monitoring.recipient_marks AS i
            WHERE i.customer_key = customer AND i.kind = 'opt_in' AND i.at > o.at
                AND i.sender = CASE WHEN o.sender = '' THEN coalesce(from_number, i.sender) ELSE o.sender END)
    ORDER BY o.at DESC LIMIT 1;
    IF FOUND THEN
        answer := 'opted_out';
        since := marked.at;
        why := marked.why;
        RETURN;
    END IF;
    delivered := (SELECT m.at FROM monitoring.recipient_marks AS m
                  WHERE m.customer_key = customer AND m.kind = 'delivered' AND m.sender = '');
    SELECT m.kind, m.at, m.why INTO marked FROM monitoring.recipient_marks AS m
    WHERE m.customer_key = customer AND m.sender = '' AND (delivered IS NULL OR m.at > delivered)
        AND (m.kind = 'invalid' OR m.kind = 'unreachable' AND m.at > now() - interval '1 day')
    ORDER BY m.kind LIMIT 1;
    answer := CASE marked.kind WHEN 'invalid' THEN 'invalid_number' WHEN 'unreachable' THEN 'unreachable_now'
                               ELSE 'allowed' END;
    since := marked.at;
    why := marked.why;
END
$$;
COMMENT ON FUNCTION public.check_sms_recipient(uuid, text) IS
    'Whether a number may be texted: allowed, opted_out, invalid_number, unreachable_now or unavailable, since when, why.';
