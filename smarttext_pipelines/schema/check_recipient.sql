-- Whether a business may text a number, from the events of that number, which an index finds. Each text counts at the
-- time at which it was attempted: a report that comes after a STOP may be about a text of before.
CREATE OR REPLACE FUNCTION public.check_sms_recipient(
    business_id uuid, to_number text,
    OUT verdict text, OUT since timestamptz, OUT reason text, OUT from_number text
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    asker CONSTANT uuid := $1;
    recipient CONSTANT text := {recipient of $2};
    forms CONSTANT text[] := {forms of recipient};
    own text;
BEGIN
    IF row_security_active('public.sms_events') OR row_security_active('public.call_events') THEN
        RAISE EXCEPTION 'row level security hides events: the owner of the tables must run smarttext migrate'
            USING ERRCODE = 'insufficient_privilege';
    ELSIF asker IS NOT NULL THEN
        SELECT {sender of b.twilio_phone} INTO own FROM monitoring.businesses AS b WHERE b.id = asker;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no such business' USING ERRCODE = 'foreign_key_violation';
        END IF;
    END IF;
    IF recipient IS NULL THEN
        verdict := 'invalid_number';
        reason := 'no telephone number';
        RETURN;
    END IF;
    -- As a sub-select, an array is worth as much to a generic plan as to one of its own: the plan is made once.
    WITH found AS MATERIALIZED (
        SELECT {row} FROM monitoring.sms_events AS e WHERE {compared_recipient} = ANY (ARRAY(SELECT unnest(forms)))
    ), texts AS MATERIALIZED (
        SELECT {measures} FROM found AS r GROUP BY r.key
    ), moves AS MATERIALIZED (
        SELECT coalesce(t.sender, CASE WHEN asker IS NULL OR t.business_id IS NULL OR t.business_id = asker
                                       THEN coalesce(own, '') END) AS sender,
               t.business_id, t.at, t.is_delivered AS is_in, t.is_opted_out AS is_out, t.code AS word
        FROM texts AS t
        UNION ALL
        SELECT coalesce(i.sender, ''), i.business_id, i.at, i.word = ANY ({starts}), i.word = ANY ({stops}), i.word
        FROM (
            SELECT {inbound} FROM monitoring.call_events AS e
            WHERE e.event_type = 'sms.inbound' AND {compared_caller} = ANY (ARRAY(SELECT unnest(forms)))
        ) AS i
    ), senders AS (
        SELECT m.sender, max(m.at) FILTER (WHERE m.is_in) AS in_at, bool_or(m.business_id = asker) AS is_used
        FROM moves AS m WHERE m.sender IS NOT NULL GROUP BY m.sender
    ), opted AS (
        SELECT s.sender, s.is_used, min(m.at) AS since, (array_agg(m.word ORDER BY m.at, m.word))[1] AS word
        FROM senders AS s JOIN moves AS m ON m.sender = s.sender
        WHERE m.is_out AND m.at >= coalesce(s.in_at, '-infinity') GROUP BY s.sender, s.is_used
    ), delivered AS (
        SELECT coalesce(max(t.at) FILTER (WHERE t.is_delivered), '-infinity') AS at FROM texts AS t
    ), verdicts (rank, verdict, since, word, sender) AS (
        SELECT CASE WHEN o.sender = own THEN 1 ELSE 2 END, 'opted_out', o.since, o.word, o.sender FROM opted AS o
        -- A number of other businesses alone is not this one's sender; any other may be, also one that many share.
        WHERE asker IS NULL OR o.sender = own OR o.is_used OR NOT EXISTS (
            SELECT FROM monitoring.businesses AS b WHERE b.id <> asker AND {sender of b.twilio_phone} = o.sender)
        UNION ALL
        SELECT 3, 'invalid_number', t.at, t.code, NULL FROM texts AS t, delivered AS d
        WHERE t.is_invalid AND t.at >= d.at
        UNION ALL
        SELECT 4, 'unreachable_now', t.at, t.code, NULL FROM texts AS t, delivered AS d
        WHERE t.is_unreachable AND t.at >= d.at AND t.failed_at > now() - interval '{unreachable_hours} hours'
    )
    SELECT v.verdict, nullif(v.since, '-infinity'), {reason of v.word},
           regexp_replace(nullif(v.sender, ''), '^(whatsapp:)?([0-9]{7,})$', '\1+\2')
    INTO verdict, since, reason, from_number
    FROM verdicts AS v ORDER BY v.rank, CASE WHEN v.rank > 2 THEN v.since END, v.since DESC, v.sender LIMIT 1;
    IF verdict IS NULL THEN
        verdict := 'allowed';
    END IF;
END $$;
COMMENT ON FUNCTION public.check_sms_recipient(uuid, text) IS
    'Whether a business may text a number: allowed, opted_out, invalid_number or unreachable_now, since when and why. '
    'Answers from sms_events and call_events; an error is no permission.';
