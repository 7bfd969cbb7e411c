-- What callers use: check, reserve, settle, reset. SECURITY DEFINER with an empty search_path, so the caller needs no
-- right on a table. Columns are always qualified, so arguments may have the names that callers like to write.

CREATE OR REPLACE FUNCTION monitoring.reporting_day(at timestamptz) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT (at AT TIME ZONE installation.reporting_timezone)::date FROM monitoring.installation
$$;
COMMENT ON FUNCTION monitoring.reporting_day(timestamptz) IS 'Reporting day of an instant.';

CREATE OR REPLACE FUNCTION monitoring.today() RETURNS date
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    SELECT (clock_timestamp() AT TIME ZONE installation.reporting_timezone)::date FROM monitoring.installation
$$;
COMMENT ON FUNCTION monitoring.today() IS 'The reporting day that it is now; every function here asks this one.';

CREATE OR REPLACE FUNCTION monitoring.openai_limit(
    business uuid, OUT limit_tokens bigint, OUT limit_usd numeric
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT l.limit_tokens, l.limit_usd FROM monitoring.openai_limits AS l
    WHERE (l.scope, l.name) IN (('business', business::text), ('default', ''))
        OR l.scope = 'unattributed' AND business IS NULL
        OR l.scope = 'plan' AND l.name = (SELECT b.subscription_tier FROM public.businesses AS b WHERE b.id = business)
    ORDER BY array_position(ARRAY['business', 'unattributed', 'plan', 'default'], l.scope) LIMIT 1
$$;
COMMENT ON FUNCTION monitoring.openai_limit(uuid) IS 'Daily limit of a business; the most specific row wins.';

CREATE OR REPLACE FUNCTION monitoring.open_openai_budgets(days date[], businesses uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO monitoring.openai_budgets (business_id, day, limit_tokens, limit_usd)
    SELECT wanted.business, wanted.day, l.limit_tokens, l.limit_usd
    FROM unnest(days, businesses) AS wanted (day, business), LATERAL monitoring.openai_limit(wanted.business) AS l
    WHERE NOT EXISTS (
        SELECT FROM monitoring.openai_budgets AS b
        WHERE b.day = wanted.day
            AND b.business_key = coalesce(wanted.business, '00000000-0000-0000-0000-000000000000'))
    ORDER BY wanted.day, wanted.business
    ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION monitoring.open_openai_budgets(date[], uuid[]) IS 'Creates the counters that are missing.';

CREATE OR REPLACE FUNCTION public.check_openai_usage_limit(
    business_id uuid,
    OUT allowed boolean, OUT reason text, OUT used numeric, OUT "limit" numeric, OUT remaining numeric,
    OUT reset_at timestamptz
) LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    WITH today AS MATERIALIZED (SELECT monitoring.today() AS day),
    budget AS (
        SELECT b.used_tokens, b.used_usd, b.reserved_tokens, b.reserved_usd,
               b.limit_tokens + b.granted_tokens AS tokens, b.limit_usd + b.granted_usd AS usd
        FROM monitoring.openai_budgets AS b, today
        WHERE b.day = today.day AND b.business_key = coalesce($1, '00000000-0000-0000-0000-000000000000')
        UNION ALL
        SELECT 0, 0, 0, 0, l.limit_tokens, l.limit_usd FROM monitoring.openai_limit($1) AS l
    )
    SELECT why.reason IS NULL, why.reason, b.used_tokens, b.tokens,
           CASE WHEN b.tokens IS NOT NULL THEN greatest(b.tokens - b.used_tokens - b.reserved_tokens, 0) END,
           (today.day + 1)::timestamp AT TIME ZONE i.reporting_timezone
    FROM budget AS b, today, monitoring.installation AS i, LATERAL (
        SELECT CASE WHEN b.used_tokens + b.reserved_tokens >= b.tokens THEN 'limit_tokens'
                    WHEN b.used_usd + b.reserved_usd >= b.usd THEN 'limit_usd' END AS reason) AS why
    LIMIT 1
$$;
COMMENT ON FUNCTION public.check_openai_usage_limit(uuid) IS
    'What a business has used today, in tokens, and whether anything is left; reserves nothing.';

CREATE OR REPLACE FUNCTION public.reserve_openai_usage(
    business_id uuid, tokens bigint, request_id text, endpoint text DEFAULT 'chat', model text DEFAULT NULL,
    cost_estimate numeric DEFAULT NULL,
    OUT allowed boolean, OUT reason text, OUT used numeric, OUT "limit" numeric, OUT remaining numeric,
    OUT reset_at timestamptz
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    key CONSTANT uuid := coalesce($1, '00000000-0000-0000-0000-000000000000');
    cost CONSTANT numeric := coalesce($6, 0);
    today CONSTANT date := monitoring.today();
    seen record;
    earlier text;
BEGIN
    IF $2 IS NULL OR $2 < 0 OR $2 > 2147483647 THEN
        RAISE EXCEPTION 'tokens must be from 0 to 2147483647' USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce($3, '') = '' OR length($3) > 200 THEN
        RAISE EXCEPTION 'request_id must have 1 to 200 characters' USING ERRCODE = 'invalid_parameter_value';
    ELSIF cost < 0 OR NOT cost < 1000000000000 THEN
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
            (request_id, business_id, day, tokens, cost_usd, endpoint, model, state, reserved_at)
        VALUES ($3, $1, today, $2, $6, coalesce($4, 'chat'), $5, 'held', clock_timestamp())
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

CREATE OR REPLACE FUNCTION public.settle_openai_usage(
    request_id text, actual_tokens bigint, cost numeric DEFAULT NULL, OUT settled boolean, OUT reason text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    held monitoring.openai_reservations;
    row_id CONSTANT uuid := md5('smarttext:openai:' || $1)::uuid;
BEGIN
    IF $2 < 0 OR $2 > 2147483647 THEN
        RAISE EXCEPTION 'actual_tokens must be from 0 to 2147483647' USING ERRCODE = 'invalid_parameter_value';
    ELSIF $3 < 0 OR NOT $3 < 1000000000000 THEN
        RAISE EXCEPTION 'cost must be from 0 to 999999999999 USD' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT r.* INTO held FROM monitoring.openai_reservations AS r WHERE r.request_id = $1 FOR UPDATE;
    -- Given back by somebody who thought that it was not admitted, while another asked again under the same id and called.
    settled := held.state IN ('held', 'reaped') OR held.state = 'cancelled' AND $2 IS NOT NULL;
    IF settled IS NOT TRUE THEN
        settled := false;
        reason := CASE WHEN held.state IS NULL THEN 'unknown_request' ELSE 'already_' || held.state END;
        RETURN;
    END IF;
    UPDATE monitoring.openai_reservations AS r
    SET state = CASE WHEN $2 IS NULL THEN 'cancelled' ELSE 'settled' END,
        settled_at = clock_timestamp(), actual_tokens = $2
    WHERE r.request_id = $1;
    IF held.state = 'held' THEN
        UPDATE monitoring.openai_budgets AS b
        SET reserved_tokens = b.reserved_tokens - held.tokens,
            reserved_usd = b.reserved_usd - coalesce(held.cost_usd, 0)
        WHERE b.day = held.day AND b.business_key = held.business_key;
    END IF;
    IF held.state = 'reaped' AND $2 IS NULL THEN
        DELETE FROM public.api_usage AS u WHERE u.id = row_id;
    ELSIF held.state = 'reaped' THEN
        -- The reaper booked the upper bound; now the truth is known.
        UPDATE public.api_usage AS u SET tokens_used = $2, cost_estimate = $3 WHERE u.id = row_id;
    ELSIF $2 IS NOT NULL THEN
        -- The trigger on api_usage counts it; nothing else may.
        INSERT INTO public.api_usage
            (id, service, endpoint, business_id, tokens_used, cost_estimate, model, reset_date, request_id)
        VALUES (row_id, 'openai', held.endpoint, held.business_id, $2, $3, held.model, held.day, $1)
        ON CONFLICT DO NOTHING;
    END IF;
END
$$;
COMMENT ON FUNCTION public.settle_openai_usage(text, bigint, numeric) IS
    'Books what an admitted call really used, once; NULL tokens give the reservation back because no call was made.';

-- Without a default: a call without arguments is another function, which the application may replace.
DO $do$
BEGIN
    IF EXISTS (SELECT FROM pg_proc
               WHERE oid = to_regprocedure('public.reset_daily_openai_usage(uuid)') AND pronargdefaults > 0) THEN
        DROP FUNCTION public.reset_daily_openai_usage(uuid);
    END IF;
END $do$;

CREATE OR REPLACE FUNCTION public.reset_daily_openai_usage(business_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO monitoring.openai_resets (business_id, day)
    VALUES ($1, monitoring.today()) ON CONFLICT DO NOTHING;
$$;
COMMENT ON FUNCTION public.reset_daily_openai_usage(uuid) IS
    'Notes that the day of a business was opened; touches no usage and hands out no allowance.';

CREATE OR REPLACE FUNCTION monitoring.reap_openai_reservations(older_than interval DEFAULT '15 minutes') RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    requests text[];
BEGIN
    requests := ARRAY(
        SELECT r.request_id FROM monitoring.openai_reservations AS r
        WHERE r.state = 'held' AND r.reserved_at < clock_timestamp() - older_than
        ORDER BY r.day, r.business_key, r.request_id FOR UPDATE SKIP LOCKED);
    PERFORM FROM monitoring.openai_budgets AS b
    WHERE (b.day, b.business_key) IN (
        SELECT r.day, r.business_key FROM monitoring.openai_reservations AS r WHERE r.request_id = ANY (requests))
    ORDER BY b.day, b.business_key FOR UPDATE;
    UPDATE monitoring.openai_budgets AS b
    SET reserved_tokens = b.reserved_tokens - due.tokens, reserved_usd = b.reserved_usd - due.usd
    FROM (
        SELECT r.day, r.business_key, sum(r.tokens) AS tokens, sum(coalesce(r.cost_usd, 0)) AS usd
        FROM monitoring.openai_reservations AS r WHERE r.request_id = ANY (requests) GROUP BY r.day, r.business_key
    ) AS due
    WHERE b.day = due.day AND b.business_key = due.business_key;
    INSERT INTO public.api_usage
        (id, service, endpoint, business_id, tokens_used, cost_estimate, model, reset_date, request_id)
    SELECT md5('smarttext:openai:' || r.request_id)::uuid, 'openai', r.endpoint, r.business_id, r.tokens, r.cost_usd,
           r.model, r.day, r.request_id
    FROM monitoring.openai_reservations AS r WHERE r.request_id = ANY (requests)
    ON CONFLICT DO NOTHING;
    UPDATE monitoring.openai_reservations AS r
    SET state = 'reaped', settled_at = clock_timestamp(), actual_tokens = r.tokens
    WHERE r.request_id = ANY (requests);
    WITH counted AS (
        DELETE FROM monitoring.openai_refusals_new AS r RETURNING r.*
    )
    INSERT INTO monitoring.openai_refusals AS r (day, business_key, reason, refused_count)
    SELECT c.day, c.business_key, c.reason, sum(c.refused_count) FROM counted AS c
    GROUP BY c.day, c.business_key, c.reason ORDER BY c.day, c.business_key, c.reason
    ON CONFLICT (day, business_key, reason) DO UPDATE SET refused_count = r.refused_count + excluded.refused_count;
    -- A request that comes back after a week is a new one.
    DELETE FROM monitoring.openai_reservations AS r
    WHERE r.state <> 'held' AND r.reserved_at < clock_timestamp() - interval '8 days';
    RETURN cardinality(requests);
END
$$;
COMMENT ON FUNCTION monitoring.reap_openai_reservations(interval) IS
    'Books reservations that nobody settled at their upper bound, and adds up refusals; returns how many were booked.';
