CREATE OR REPLACE FUNCTION monitoring.usage_id(request_id text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN md5('smarttext:openai:' || $1)::uuid;
END
$$;
COMMENT ON FUNCTION monitoring.usage_id(text) IS 'Id of the row of api_usage that a reservation becomes.';

CREATE OR REPLACE FUNCTION monitoring.book_openai_usage(requests text[]) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attribute text;
    rule text;
BEGIN
    -- The trigger on api_usage counts it; nothing else may.
    PERFORM monitoring.add_api_usage((
        SELECT jsonb_agg(jsonb_build_object(
            'id', monitoring.usage_id(r.request_id), 'service', 'openai', 'endpoint', r.endpoint,
            'business_id', r.business_id, 'tokens_used', coalesce(r.actual_tokens, r.tokens),
            'cost_estimate', CASE r.state WHEN 'held' THEN r.cost_usd ELSE r.actual_usd END, 'model', r.model,
            -- The day of the row is that of the reservation, also after midnight.
            'created_at', u.at, 'reset_date', monitoring.usage_date(u.at), 'request_id', r.request_id))
        FROM monitoring.openai_reservations AS r, LATERAL monitoring.usage_time(r.reserved_at, r.day) AS u (at)
        WHERE r.request_id = ANY (requests) AND r.state IN ('held', 'settled')));
    IF EXISTS (SELECT FROM monitoring.openai_reservations AS r
               WHERE r.request_id = ANY (requests) AND r.state = 'reaped') THEN
        -- The reaper booked the upper bound; now the truth is known.
        UPDATE public.api_usage AS u SET tokens_used = r.actual_tokens, cost_estimate = r.actual_usd
        FROM monitoring.openai_reservations AS r
        WHERE r.request_id = ANY (requests) AND r.state = 'reaped'
            AND u.id = monitoring.usage_id(r.request_id);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- The session, the server or another session is in the way, not the row: the caller asks again.
    IF SQLSTATE ~ '^(08|25|40|53|57|58)' OR SQLSTATE = '55P03' THEN
        RAISE;
    END IF;
    GET STACKED DIAGNOSTICS attribute = COLUMN_NAME, rule = CONSTRAINT_NAME;
    RETURN concat_ws(' ', SQLSTATE, nullif(attribute, ''), nullif(rule, ''));
END
$$;
COMMENT ON FUNCTION monitoring.book_openai_usage(text[]) IS
    'Writes what reservations used into the ledger, all or none; returns why the ledger refuses, never a value.';

CREATE OR REPLACE FUNCTION public.settle_openai_usage(
    request_id text, actual_tokens bigint DEFAULT NULL, cost numeric DEFAULT NULL, OUT settled boolean, OUT reason text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    held monitoring.openai_reservations;
    refused text;
    waiting_tokens bigint := 0;
    waiting_usd numeric := 0;
BEGIN
    IF $2 IS NULL THEN
        -- An undefined field in JavaScript is left out: a call that was made must not be given back by that.
        RAISE EXCEPTION 'actual_tokens is missing: pass what the call used, such as usage.total_tokens'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'If no call was made, cancel_openai_usage(request_id) gives the reservation back.';
    ELSIF $2 < 0 OR $2 > 2147483647 THEN
        RAISE EXCEPTION 'actual_tokens must be from 0 to 2147483647' USING ERRCODE = 'invalid_parameter_value';
    ELSIF $3 < 0 OR NOT $3 < 1000000000000 THEN
        RAISE EXCEPTION 'cost must be from 0 to 999999999999 USD' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT r.* INTO held FROM monitoring.openai_reservations AS r WHERE r.request_id = $1 FOR UPDATE;
    -- Cancelled by somebody who thought that it was not admitted, while another asked again under the same id and called.
    settled := held.state IN ('held', 'reaped', 'cancelled');
    IF settled IS NOT TRUE THEN
        settled := false;
        reason := CASE WHEN held.state IS NULL THEN 'unknown_request' ELSE 'already_' || held.state END;
        RETURN;
    END IF;
    UPDATE monitoring.openai_reservations AS r
    SET state = CASE held.state WHEN 'reaped' THEN 'reaped' ELSE 'settled' END,
        settled_at = clock_timestamp(), actual_tokens = $2, actual_usd = $3
    WHERE r.request_id = $1;
    refused := monitoring.book_openai_usage(ARRAY[$1]);
    IF refused IS NOT NULL THEN
        reason := 'ledger_refuses';
        IF held.state <> 'reaped' THEN
            -- Kept here until the ledger takes it, and held against the limit as it would be counted.
            waiting_tokens := $2;
            waiting_usd := monitoring.counted_usd($3, $2, held.endpoint, held.model, $1, monitoring.usage_id($1)::text,
                                                  held.day);
        END IF;
        UPDATE monitoring.openai_reservations AS r SET refusal = refused, unbooked_usd = waiting_usd
        WHERE r.request_id = $1;
    ELSIF held.state = 'reaped' THEN
        UPDATE monitoring.openai_reservations AS r SET state = 'settled', refusal = NULL, unbooked_usd = NULL
        WHERE r.request_id = $1;
    ELSIF held.refusal IS NOT NULL THEN
        UPDATE monitoring.openai_reservations AS r SET refusal = NULL WHERE r.request_id = $1;
    END IF;
    IF held.state = 'held' THEN
        waiting_tokens := waiting_tokens - held.tokens;
        waiting_usd := waiting_usd - coalesce(held.held_usd, held.cost_usd, 0);
    END IF;
    UPDATE monitoring.openai_budgets AS b
    SET reserved_tokens = b.reserved_tokens + waiting_tokens, reserved_usd = b.reserved_usd + waiting_usd
    WHERE b.day = held.day AND b.business_key = held.business_key AND (waiting_tokens <> 0 OR waiting_usd <> 0);
END
$$;
COMMENT ON FUNCTION public.settle_openai_usage(text, bigint, numeric) IS
    'Books what an admitted call really used, once; what the ledger refuses is kept and booked when it takes rows again.';

CREATE OR REPLACE FUNCTION public.cancel_openai_usage(request_id text, OUT cancelled boolean, OUT reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    held monitoring.openai_reservations;
BEGIN
    SELECT r.* INTO held FROM monitoring.openai_reservations AS r WHERE r.request_id = $1 FOR UPDATE;
    cancelled := held.state IN ('held', 'reaped');
    IF cancelled IS NOT TRUE THEN
        cancelled := false;
        reason := CASE WHEN held.state IS NULL THEN 'unknown_request' ELSE 'already_' || held.state END;
        RETURN;
    END IF;
    UPDATE monitoring.openai_reservations AS r
    SET state = 'cancelled', settled_at = clock_timestamp(), actual_tokens = NULL, actual_usd = NULL,
        refusal = NULL, unbooked_usd = NULL
    WHERE r.request_id = $1;
    IF held.state = 'reaped' THEN
        DELETE FROM public.api_usage AS u WHERE u.id = monitoring.usage_id($1);
    ELSE
        UPDATE monitoring.openai_budgets AS b
        SET reserved_tokens = b.reserved_tokens - held.tokens,
            reserved_usd = b.reserved_usd - coalesce(held.held_usd, held.cost_usd, 0)
        WHERE b.day = held.day AND b.business_key = held.business_key;
    END IF;
END
$$;
COMMENT ON FUNCTION public.cancel_openai_usage(text) IS 'Gives a reservation back whose call was not made.';

-- Without a default: a call without arguments is another function, which the application may replace.
DO $do$
BEGIN
    IF EXISTS (SELECT FROM pg_proc
               WHERE oid = to_regprocedure('public.reset_daily_openai_usage(uuid)') AND pronargdefaults > 0) THEN
        DROP FUNCTION public.reset_daily_openai_usage(uuid);
    END IF;
END $do$;

CREATE OR REPLACE FUNCTION public.reset_daily_openai_usage(business_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO monitoring.openai_resets (business_id, day)
    VALUES ($1, monitoring.today()) ON CONFLICT DO NOTHING;
$$;
COMMENT ON FUNCTION public.reset_daily_openai_usage(uuid) IS
    'Notes that the day of a business was opened; touches no usage and hands out no allowance.';

CREATE OR REPLACE FUNCTION monitoring.reap_openai_reservations(older_than interval DEFAULT '15 minutes') RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held_until CONSTANT timestamptz := clock_timestamp() - older_than;
    requests text[];
    booked text[] := '{}';
    request text;
    refused text;
BEGIN
    IF held_until IS NULL OR held_until > clock_timestamp() - interval '59 seconds' THEN
        RAISE EXCEPTION 'older_than must be at least a minute: younger calls are still running'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    requests := ARRAY(
        SELECT r.request_id FROM monitoring.openai_reservations AS r
        WHERE r.state = 'held' AND r.reserved_at < held_until OR r.refusal IS NOT NULL
        ORDER BY r.day, r.business_key, r.request_id FOR UPDATE SKIP LOCKED);
    PERFORM FROM monitoring.openai_budgets AS b
    WHERE (b.day, b.business_key) IN (
        SELECT r.day, r.business_key FROM monitoring.openai_reservations AS r WHERE r.request_id = ANY (requests))
    ORDER BY b.day, b.business_key FOR UPDATE;
    IF monitoring.book_openai_usage(requests) IS NULL THEN
        booked := requests;
    ELSE
        -- One that the ledger refuses holds up no other.
        FOREACH request IN ARRAY requests LOOP
            refused := monitoring.book_openai_usage(ARRAY[request]);
            IF refused IS NULL THEN
                booked := booked || request;
            ELSE
                UPDATE monitoring.openai_reservations AS r SET refusal = refused
                WHERE r.request_id = request AND r.refusal IS DISTINCT FROM refused;
            END IF;
        END LOOP;
    END IF;
    UPDATE monitoring.openai_budgets AS b
    SET reserved_tokens = b.reserved_tokens - due.tokens, reserved_usd = b.reserved_usd - due.usd
    FROM (
        SELECT r.day, r.business_key,
               sum(CASE r.state WHEN 'held' THEN r.tokens WHEN 'settled' THEN r.actual_tokens ELSE 0 END) AS tokens,
               sum(CASE r.state WHEN 'held' THEN coalesce(r.held_usd, r.cost_usd, 0) ELSE coalesce(r.unbooked_usd, 0) END)
               AS usd
        FROM monitoring.openai_reservations AS r WHERE r.request_id = ANY (booked) GROUP BY r.day, r.business_key
    ) AS due
    WHERE b.day = due.day AND b.business_key = due.business_key;
    UPDATE monitoring.openai_reservations AS r
    SET state = CASE r.state WHEN 'held' THEN 'reaped' ELSE 'settled' END, refusal = NULL, unbooked_usd = NULL,
        settled_at = coalesce(r.settled_at, clock_timestamp()), actual_tokens = coalesce(r.actual_tokens, r.tokens)
    WHERE r.request_id = ANY (booked);
    WITH counted AS (
        DELETE FROM monitoring.openai_refusals_new AS r RETURNING r.*
    )
    INSERT INTO monitoring.openai_refusals AS r (day, business_key, reason, refused_count)
    SELECT c.day, c.business_key, c.reason, sum(c.refused_count) FROM counted AS c
    GROUP BY c.day, c.business_key, c.reason ORDER BY c.day, c.business_key, c.reason
    ON CONFLICT (day, business_key, reason) DO UPDATE SET refused_count = r.refused_count + excluded.refused_count;
    -- A request that comes back after a week is a new one. Until its day is closed, the counter looks up its price here.
    DELETE FROM monitoring.openai_reservations AS r
    WHERE r.state <> 'held' AND r.refusal IS NULL AND r.reserved_at < clock_timestamp() - interval '8 days'
        AND r.day < monitoring.today() - 7;
    RETURN cardinality(booked);
END
$$;
COMMENT ON FUNCTION monitoring.reap_openai_reservations(interval) IS
    'Books reservations that nobody settled at their upper bound, tries again what the ledger refused, and adds up '
    'refusals; returns how many were booked.';
