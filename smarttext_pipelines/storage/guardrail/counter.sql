-- The counter follows the ledger: one statement-level trigger for each operation on public.api_usage. It never makes
-- the statement of a writer fail: odd days and costs count as nothing, as they do in monitoring.spend.

DO $do$
BEGIN
    -- A statement under way may still run the trigger as it was: what that called goes with the next migrate.
    IF EXISTS (SELECT FROM pg_proc WHERE oid = to_regprocedure('monitoring.count_openai_usage()')
                   AND strpos(prosrc, 'reset_date_zone') > 0) THEN
        DROP FUNCTION IF EXISTS monitoring.usage_day(date, timestamptz, text);
    END IF;
END $do$;

CREATE OR REPLACE FUNCTION monitoring.usage_day(
    reset_date date, created_at timestamptz, zone text, reset_date_zone text
) RETURNS date LANGUAGE sql STABLE AS $$
    -- Where reset_date holds days of another zone, the time says the reporting day if it is one that is reported.
    SELECT CASE WHEN reset_date_zone <> zone AND created_at >= '2000-01-01 00:00+00'
                     AND created_at < '2101-01-01 00:00+00' THEN (created_at AT TIME ZONE zone)::date
                WHEN reset_date IS NOT NULL THEN reset_date
                WHEN created_at BETWEEN '0002-01-01' AND '9990-01-01' THEN (created_at AT TIME ZONE zone)::date END
$$;
COMMENT ON FUNCTION monitoring.usage_day(date, timestamptz, text, text) IS
    'Reporting day of a row of api_usage, by the two zones of monitoring.installation.';

CREATE OR REPLACE FUNCTION monitoring.usage_usd(cost_estimate numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN abs(cost_estimate) < 10000000000000 THEN cost_estimate ELSE 0 END
$$;
COMMENT ON FUNCTION monitoring.usage_usd(numeric) IS 'Cost that is counted: not NaN, not infinite, NULL is nothing.';

CREATE OR REPLACE FUNCTION monitoring.count_openai_usage() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    zone CONSTANT text := (SELECT reporting_timezone FROM monitoring.installation);
    date_zone CONSTANT text := (SELECT reset_date_zone FROM monitoring.installation);
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
            SELECT monitoring.usage_day(n.reset_date, n.created_at, zone, date_zone) AS day, n.business_id,
                   sum(coalesce(n.tokens_used, 0)::numeric) AS tokens, sum(monitoring.usage_usd(n.cost_estimate)) AS usd
            FROM new_rows AS n WHERE n.service = 'openai' GROUP BY 1, 2 ORDER BY 1, 2
        ) AS c
        WHERE c.day >= open_from AND (c.tokens <> 0 OR c.usd <> 0);
    ELSIF TG_OP = 'TRUNCATE' THEN
        SELECT array_agg(c.day), array_agg(c.business_id), array_agg(c.tokens), array_agg(c.usd)
        INTO days, businesses, tokens, usd
        FROM (SELECT b.day, b.business_id, -b.used_tokens AS tokens, -b.used_usd AS usd
              FROM monitoring.openai_budgets AS b ORDER BY b.day, b.business_id) AS c
        WHERE c.day >= open_from AND (c.tokens <> 0 OR c.usd <> 0);
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(c.day), array_agg(c.business_id), array_agg(c.tokens), array_agg(c.usd)
        INTO days, businesses, tokens, usd
        FROM (
            SELECT monitoring.usage_day(o.reset_date, o.created_at, zone, date_zone) AS day, o.business_id,
                   -sum(coalesce(o.tokens_used, 0)::numeric) AS tokens,
                   -sum(monitoring.usage_usd(o.cost_estimate)) AS usd
            FROM old_rows AS o WHERE o.service = 'openai' GROUP BY 1, 2 ORDER BY 1, 2
        ) AS c
        WHERE c.day >= open_from AND (c.tokens <> 0 OR c.usd <> 0);
    ELSE
        SELECT array_agg(c.day), array_agg(c.business_id), array_agg(c.tokens), array_agg(c.usd)
        INTO days, businesses, tokens, usd
        FROM (
            SELECT r.day, r.business_id, sum(r.tokens) AS tokens, sum(r.usd) AS usd FROM (
                SELECT monitoring.usage_day(n.reset_date, n.created_at, zone, date_zone) AS day, n.business_id,
                       coalesce(n.tokens_used, 0)::numeric AS tokens, monitoring.usage_usd(n.cost_estimate) AS usd
                FROM new_rows AS n WHERE n.service = 'openai'
                UNION ALL
                SELECT monitoring.usage_day(o.reset_date, o.created_at, zone, date_zone), o.business_id,
                       -coalesce(o.tokens_used, 0)::numeric, -monitoring.usage_usd(o.cost_estimate)
                FROM old_rows AS o WHERE o.service = 'openai'
            ) AS r
            GROUP BY 1, 2 ORDER BY 1, 2
        ) AS c
        WHERE c.day >= open_from AND (c.tokens <> 0 OR c.usd <> 0);
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
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    -- The caller keeps writers of api_usage out.
    UPDATE monitoring.openai_budgets AS b SET used_tokens = 0, used_usd = 0
    WHERE b.day >= monitoring.today() - 7;
    INSERT INTO monitoring.openai_budgets AS b (business_id, day, used_tokens, used_usd, limit_tokens, limit_usd)
    SELECT u.business_id, u.day, u.tokens, u.usd, l.limit_tokens, l.limit_usd
    FROM (
        SELECT monitoring.usage_day(u.reset_date, u.created_at, i.reporting_timezone, i.reset_date_zone) AS day,
               u.business_id,
               sum(coalesce(u.tokens_used, 0)::numeric) AS tokens, sum(monitoring.usage_usd(u.cost_estimate)) AS usd
        FROM public.api_usage AS u, monitoring.installation AS i
        WHERE u.service = 'openai'
            AND (u.reset_date >= monitoring.today() - 7 OR u.created_at >= monitoring.today() - 9)
        GROUP BY 1, 2
    ) AS u, LATERAL monitoring.openai_limit(u.business_id) AS l
    WHERE u.day >= monitoring.today() - 7 AND (u.tokens <> 0 OR u.usd <> 0)
    ON CONFLICT (day, business_key) DO UPDATE SET used_tokens = excluded.used_tokens, used_usd = excluded.used_usd;
$$;
COMMENT ON FUNCTION monitoring.recount_openai_usage() IS 'Counts the ledger of the open days anew.';
