-- The counter follows the ledger: one statement-level trigger for each operation on public.api_usage. It never makes
-- the statement of a writer fail: odd days count as nothing, as they do in monitoring.spend, and odd costs as unknown.
-- "rows of …" is written by guardrail/__init__.py: day, business_id, tokens and usd of each row of OpenAI usage.

DO $do$
BEGIN
    -- A statement under way may still run the trigger as it was: what that called goes with the next migrate.
    IF EXISTS (SELECT FROM pg_proc WHERE oid = to_regprocedure('monitoring.count_openai_usage()')
                   AND strpos(prosrc, 'reset_date_zone') > 0) THEN
        DROP FUNCTION IF EXISTS monitoring.usage_day(date, timestamptz, text), monitoring.usage_usd(numeric);
    END IF;
END $do$;

CREATE OR REPLACE FUNCTION monitoring.usage_day(
    reset_date date, created_at timestamptz, zone text, reset_date_zone text
) RETURNS date LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Where reset_date holds days of another zone, the time says the reporting day if it is one that is reported.
    RETURN CASE WHEN reset_date_zone <> zone AND created_at >= '2000-01-01 00:00+00'
                     AND created_at < '2101-01-01 00:00+00' THEN (created_at AT TIME ZONE zone)::date
                WHEN reset_date IS NOT NULL THEN reset_date
                WHEN created_at BETWEEN '0002-01-01' AND '9990-01-01' THEN (created_at AT TIME ZONE zone)::date END;
END
$$;
COMMENT ON FUNCTION monitoring.usage_day(date, timestamptz, text, text) IS
    'Reporting day of a row of api_usage, by the two zones of monitoring.installation.';

-- For a ledger whose times have no zone: they are of UTC, whatever the zone of the session that writes.
CREATE OR REPLACE FUNCTION monitoring.usage_day(
    reset_date date, created_at timestamp, zone text, reset_date_zone text
) RETURNS date LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN monitoring.usage_day($1, $2 AT TIME ZONE 'UTC', $3, $4);
END
$$;
COMMENT ON FUNCTION monitoring.usage_day(date, timestamp, text, text) IS
    'Reporting day of a row of api_usage whose time has no zone.';

CREATE OR REPLACE FUNCTION monitoring.counted_usd(
    cost numeric, tokens numeric, endpoint text, model text, request_id text, usage_id text, day date
) RETURNS numeric LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    upper_bound numeric;
BEGIN
    -- NaN compares greater than every number.
    IF $1 > 0 AND $1 < 10000000000000 THEN
        RETURN $1;
    ELSIF $2 IS NULL OR $2 <= 0 OR $3 = 'daily_reset' THEN
        RETURN 0;
    END IF;
    IF $5 IS NOT NULL AND $6 = monitoring.usage_id($5)::text THEN
        SELECT CASE WHEN $2 <= r.tokens THEN r.held_usd ELSE ceil(r.held_usd * $2 / r.tokens * 1000000) * 0.000001 END
        INTO upper_bound FROM monitoring.openai_reservations AS r
        WHERE r.request_id = $5 AND r.day = $7 AND r.tokens > 0;
        IF upper_bound IS NOT NULL THEN
            RETURN upper_bound;
        END IF;
    END IF;
    RETURN monitoring.upper_usd($4, $2, $7);
END
$$;
COMMENT ON FUNCTION monitoring.counted_usd(numeric, numeric, text, text, text, text, date) IS
    'USD that a row of api_usage counts against the limit: its cost; where it names none that can be (NULL, 0, negative, '
    'NaN, infinite) its reservation''s, else its tokens at the upper list price. Without tokens nothing.';

CREATE OR REPLACE FUNCTION monitoring.openai_ledger(first date)
RETURNS TABLE (day date, business_id uuid, tokens numeric, usd numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.day, r.business_id, sum(r.tokens), sum(r.usd) FROM ({rows of monitoring.api_usage since $1}) AS r
    GROUP BY r.day, r.business_id
$$;
COMMENT ON FUNCTION monitoring.openai_ledger(date) IS
    'What the ledger holds from a day on, as the counter counts it, by reporting day and business.';

CREATE OR REPLACE FUNCTION monitoring.count_openai_usage() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    open_from CONSTANT date := monitoring.today() - 7;
    days date[];
    businesses uuid[];
    tokens numeric[];
    usd numeric[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(c.day), array_agg(c.business_id), array_agg(c.tokens), array_agg(c.usd)
        INTO days, businesses, tokens, usd
        FROM (
            SELECT n.day, n.business_id, sum(n.tokens) AS tokens, sum(n.usd) AS usd
            FROM ({rows of new_rows since open_from}) AS n GROUP BY 1, 2 ORDER BY 1, 2
        ) AS c
        WHERE c.tokens <> 0 OR c.usd <> 0;
    ELSIF TG_OP = 'TRUNCATE' THEN
        SELECT array_agg(c.day), array_agg(c.business_id), array_agg(c.tokens), array_agg(c.usd)
        INTO days, businesses, tokens, usd
        FROM (
            -- Of a partitioned ledger only a part may be gone.
            SELECT b.day, b.business_id, coalesce(u.tokens, 0) - b.used_tokens AS tokens,
                   coalesce(u.usd, 0) - b.used_usd AS usd
            FROM monitoring.openai_budgets AS b
            LEFT JOIN monitoring.openai_ledger(open_from) AS u
                ON u.day = b.day AND u.business_id IS NOT DISTINCT FROM b.business_id
            WHERE b.day >= open_from ORDER BY b.day, b.business_id
        ) AS c
        WHERE c.tokens <> 0 OR c.usd <> 0;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(c.day), array_agg(c.business_id), array_agg(c.tokens), array_agg(c.usd)
        INTO days, businesses, tokens, usd
        FROM (
            SELECT o.day, o.business_id, -sum(o.tokens) AS tokens, -sum(o.usd) AS usd
            FROM ({rows of old_rows since open_from}) AS o GROUP BY 1, 2 ORDER BY 1, 2
        ) AS c
        WHERE c.tokens <> 0 OR c.usd <> 0;
    ELSE
        SELECT array_agg(c.day), array_agg(c.business_id), array_agg(c.tokens), array_agg(c.usd)
        INTO days, businesses, tokens, usd
        FROM (
            SELECT r.day, r.business_id, sum(r.tokens) AS tokens, sum(r.usd) AS usd FROM (
                SELECT n.day, n.business_id, n.tokens, n.usd FROM ({rows of new_rows since open_from}) AS n
                UNION ALL
                SELECT o.day, o.business_id, -o.tokens, -o.usd FROM ({rows of old_rows since open_from}) AS o
            ) AS r
            GROUP BY 1, 2 ORDER BY 1, 2
        ) AS c
        WHERE c.tokens <> 0 OR c.usd <> 0;
    END IF;
    IF days IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO monitoring.ledger_rewrites (business_id, day, operation, tokens_change, usd_change)
        SELECT c.business, c.day, TG_OP, c.tokens, c.usd
        FROM unnest(businesses, days, tokens, usd) AS c (business, day, tokens, usd);
    END IF;
    PERFORM monitoring.open_openai_budgets(days, businesses);
    -- In the order of day and business: unordered, writers of several businesses deadlocked.
    PERFORM FROM monitoring.openai_budgets AS b
    JOIN unnest(days, businesses) AS c (day, business) ON b.day = c.day
        AND b.business_key = coalesce(c.business, '00000000-0000-0000-0000-000000000000')
    ORDER BY b.day, b.business_key FOR UPDATE OF b;
    WITH counted AS (
        UPDATE monitoring.openai_budgets AS b
        SET used_tokens = b.used_tokens + c.tokens, used_usd = b.used_usd + c.usd
        FROM unnest(days, businesses, tokens, usd) AS c (day, business, tokens, usd)
        WHERE b.day = c.day AND b.business_key = coalesce(c.business, '00000000-0000-0000-0000-000000000000')
        RETURNING b.*
    )
    INSERT INTO monitoring.budget_crossings (business_id, day, unit, threshold_percent, used, allowed)
    SELECT counted.business_id, counted.day, u.unit, t.percent, u.used, u.allowed
    FROM counted
    CROSS JOIN LATERAL (VALUES
        ('tokens', counted.used_tokens, counted.limit_tokens + counted.granted_tokens),
        ('usd', counted.used_usd, counted.limit_usd + counted.granted_usd)
    ) AS u (unit, used, allowed)
    JOIN monitoring.budget_thresholds AS t ON u.used * 100 >= u.allowed * t.percent AND u.used > 0
    ORDER BY counted.day, counted.business_key, u.unit, t.percent
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION monitoring.count_openai_usage() IS
    'Adds what a statement changed in the ledger to the counters of its businesses; days older than 7 are closed.';

CREATE OR REPLACE FUNCTION monitoring.recount_openai_usage() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- The caller keeps writers of api_usage out.
    UPDATE monitoring.openai_budgets AS b SET used_tokens = 0, used_usd = 0
    WHERE b.day >= monitoring.today() - 7;
    INSERT INTO monitoring.openai_budgets AS b (business_id, day, used_tokens, used_usd, limit_tokens, limit_usd)
    SELECT u.business_id, u.day, u.tokens, u.usd, l.limit_tokens, l.limit_usd
    FROM monitoring.openai_ledger(monitoring.today() - 7) AS u, LATERAL monitoring.openai_limit(u.business_id) AS l
    WHERE u.tokens <> 0 OR u.usd <> 0
    ON CONFLICT (day, business_key) DO UPDATE SET used_tokens = excluded.used_tokens, used_usd = excluded.used_usd;
$$;
COMMENT ON FUNCTION monitoring.recount_openai_usage() IS 'Recounts the ledger of the open days.';

CREATE OR REPLACE FUNCTION monitoring.recount_at_new_prices() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE public.api_usage IN SHARE ROW EXCLUSIVE MODE;
    PERFORM monitoring.recount_openai_usage();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION monitoring.recount_at_new_prices() IS 'What names no cost counts at the prices as they are now.';
CREATE OR REPLACE TRIGGER recount_at_new_prices AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
ON monitoring.openai_prices FOR EACH STATEMENT EXECUTE FUNCTION monitoring.recount_at_new_prices();
