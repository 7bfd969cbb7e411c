CREATE OR REPLACE FUNCTION public.reserve_openai_usage(
    business_id uuid, tokens bigint, request_id text, endpoint text DEFAULT 'chat', model text DEFAULT NULL,
    cost_estimate numeric DEFAULT NULL,
    OUT allowed boolean, OUT reason text, OUT used numeric, OUT "limit" numeric, OUT remaining numeric,
    OUT reset_at timestamptz
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    key CONSTANT uuid := coalesce($1, '00000000-0000-0000-0000-000000000000');
    today CONSTANT date := monitoring.today();
    -- Zero is what somebody writes who knows no price.
    cost CONSTANT numeric := CASE WHEN $6 > 0 THEN $6 ELSE monitoring.upper_usd($5, $2, today) END;
    seen record;
    earlier text;
BEGIN
    IF $2 IS NULL OR $2 < 0 OR $2 > 2147483647 THEN
        RAISE EXCEPTION 'tokens must be from 0 to 2147483647' USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce($3, '') = '' OR length($3) > 200 THEN
        RAISE EXCEPTION 'request_id must have 1 to 200 characters' USING ERRCODE = 'invalid_parameter_value';
    ELSIF $6 < 0 OR NOT $6 < 1000000000000 THEN
        RAISE EXCEPTION 'cost_estimate must be from 0 to 999999999999 USD' USING ERRCODE = 'invalid_parameter_value';
    ELSIF $4 = 'daily_reset' THEN
        RAISE EXCEPTION 'the endpoint daily_reset marks a reset' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    allowed := false;
    LOOP
        -- Who is refused has only read: he takes no lock, and nobody waits for him.
        SELECT b.day, b.used_tokens, b.limit_tokens + b.granted_tokens AS tokens,
               CASE WHEN b.limit_tokens IS NOT NULL
                    THEN greatest(b.limit_tokens + b.granted_tokens - b.used_tokens - b.reserved_tokens, 0)
               END AS remaining,
               CASE WHEN b.used_tokens + b.reserved_tokens + $2 > b.limit_tokens + b.granted_tokens THEN 'limit_tokens'
                    WHEN b.used_usd + b.reserved_usd + cost > b.limit_usd + b.granted_usd THEN 'limit_usd' END AS reason,
               (today + 1)::timestamp AT TIME ZONE i.reporting_timezone AS reset_at
        INTO seen
        FROM monitoring.installation AS i
        LEFT JOIN monitoring.openai_budgets AS b ON b.day = today AND b.business_key = key;
        EXIT WHEN seen.reason IS NOT NULL;
        IF seen.day IS NULL THEN
            IF $1 IS NOT NULL AND NOT EXISTS (SELECT FROM public.businesses AS b WHERE b.id = $1) THEN
                RAISE EXCEPTION 'there is no such business' USING ERRCODE = 'foreign_key_violation';
            END IF;
            PERFORM monitoring.open_openai_budgets(ARRAY[today], ARRAY[$1]);
            CONTINUE;
        END IF;
        UPDATE monitoring.openai_budgets AS b
        SET reserved_tokens = b.reserved_tokens + $2, reserved_usd = b.reserved_usd + cost
        WHERE b.day = today AND b.business_key = key
            AND (b.limit_tokens IS NULL OR b.used_tokens + b.reserved_tokens + $2 <= b.limit_tokens + b.granted_tokens)
            AND (b.limit_usd IS NULL OR b.used_usd + b.reserved_usd + cost <= b.limit_usd + b.granted_usd);
        allowed := FOUND;
        EXIT WHEN allowed;
    END LOOP;
    used := seen.used_tokens;
    "limit" := seen.tokens;
    -- greatest() ignores NULL, and what is not limited has no remainder.
    IF seen.remaining IS NOT NULL THEN
        remaining := greatest(seen.remaining - CASE WHEN allowed THEN $2 ELSE 0 END, 0);
    END IF;
    reset_at := seen.reset_at;
    IF allowed THEN
        INSERT INTO monitoring.openai_reservations
            (request_id, business_id, day, tokens, cost_usd, held_usd, endpoint, model, state, reserved_at)
        VALUES ($3, $1, today, $2, $6, cost, coalesce($4, 'chat'), $5, 'held', clock_timestamp())
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN;
        END IF;
        UPDATE monitoring.openai_budgets AS b
        SET reserved_tokens = b.reserved_tokens - $2, reserved_usd = b.reserved_usd - cost
        WHERE b.day = today AND b.business_key = key;
        remaining := seen.remaining;
    END IF;
    SELECT r.state INTO earlier FROM monitoring.openai_reservations AS r WHERE r.request_id = $3;
    IF FOUND THEN
        allowed := earlier = 'held';
        reason := CASE WHEN NOT allowed THEN 'already_' || earlier END;
        RETURN;
    END IF;
    reason := seen.reason;
    INSERT INTO monitoring.openai_refusals_new AS r (day, business_key, reason, slot, refused_count)
    VALUES (today, key, seen.reason, pg_catalog.pg_backend_pid() % 1000, 1)
    ON CONFLICT (day, business_key, reason, slot) DO UPDATE SET refused_count = r.refused_count + 1;
END
$$;
COMMENT ON FUNCTION public.reserve_openai_usage(uuid, bigint, text, text, text, numeric) IS
    'Admits a call that costs at most so many tokens (and USD), or refuses it; once per request_id.';

