-- What callers use: check here, reserve, settle, cancel and reset in the next files. SECURITY DEFINER, so the caller needs no
-- right on a table.
-- pg_temp is last in every search_path: unnamed it would come before pg_catalog, and a caller's type pg_temp.date
-- would run its CHECK with the owner's rights. Columns are always qualified, so arguments may have the names that
-- callers like to write.

CREATE OR REPLACE FUNCTION monitoring.reporting_day(at timestamptz) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (at AT TIME ZONE installation.reporting_timezone)::date FROM monitoring.installation
$$;
COMMENT ON FUNCTION monitoring.reporting_day(timestamptz) IS 'Reporting day of an instant.';

CREATE OR REPLACE FUNCTION monitoring.usage_date(at timestamptz) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (at AT TIME ZONE coalesce(i.reset_date_zone, i.reporting_timezone))::date FROM monitoring.installation AS i
$$;
COMMENT ON FUNCTION monitoring.usage_date(timestamptz) IS
    'What reset_date says of usage at an instant: as the application fills it, where it made the table.';

CREATE OR REPLACE FUNCTION monitoring.usage_time(at timestamptz, day date) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- A call at midnight is reported a little later than its day was chosen.
    SELECT CASE WHEN monitoring.reporting_day(at) = day THEN at
                ELSE day::timestamp AT TIME ZONE i.reporting_timezone END FROM monitoring.installation AS i
$$;
COMMENT ON FUNCTION monitoring.usage_time(timestamptz, date) IS
    'The instant, or the first one of the reporting day where it lies outside.';

CREATE OR REPLACE FUNCTION monitoring.today() RETURNS date
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (clock_timestamp() AT TIME ZONE installation.reporting_timezone)::date FROM monitoring.installation
$$;
COMMENT ON FUNCTION monitoring.today() IS 'The reporting day that it is now; every function here asks this one.';

CREATE OR REPLACE FUNCTION monitoring.openai_limit(
    business uuid, OUT limit_tokens bigint, OUT limit_usd numeric
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT l.limit_tokens, l.limit_usd FROM monitoring.openai_limits AS l
    WHERE (l.scope, l.name) IN (('business', business::text), ('default', ''))
        OR l.scope = 'unattributed' AND business IS NULL
        OR l.scope = 'plan' AND l.name = (
            SELECT b.subscription_tier FROM monitoring.businesses AS b WHERE b.id = business)
    ORDER BY array_position(ARRAY['business', 'unattributed', 'plan', 'default'], l.scope) LIMIT 1
$$;
COMMENT ON FUNCTION monitoring.openai_limit(uuid) IS 'Daily limit of a business; the most specific row wins.';

CREATE OR REPLACE FUNCTION monitoring.open_openai_budgets(days date[], businesses uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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

CREATE OR REPLACE FUNCTION monitoring.priced_model(model text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT regexp_replace(regexp_replace(lower($1), '^([^/]*/)*(openai:)?', ''), '^(ft:[^:]+):(.|\n)*$', '\1')
$$;
COMMENT ON FUNCTION monitoring.priced_model(text) IS
    'The name of a model without the prefix of a provider and the name of a fine-tune, with the date of its version.';

CREATE OR REPLACE FUNCTION monitoring.upper_usd(model text, tokens numeric, day date) RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest($2, 0) * 0.000000001 * coalesce(
        (SELECT p.upper_nano_usd_per_token FROM monitoring.openai_prices AS p
         WHERE p.valid_from <= $3 AND p.model IN (
            $1, monitoring.priced_model($1),
            regexp_replace(monitoring.priced_model($1), '-20[0-9]{2}-?[0-9]{2}-?[0-9]{2}$', ''))
         ORDER BY length(p.model) DESC, p.valid_from DESC LIMIT 1),
        (SELECT p.upper_nano_usd_per_token FROM monitoring.openai_prices AS p
         WHERE p.model = '*' AND p.valid_from <= $3 ORDER BY p.valid_from DESC LIMIT 1),
        (SELECT max(p.upper_nano_usd_per_token) FROM monitoring.openai_prices AS p), 0)
$$;
COMMENT ON FUNCTION monitoring.upper_usd(text, numeric, date) IS
    'Tokens at the upper list price of their model on that day; of an unknown model at the price of *.';

CREATE OR REPLACE FUNCTION public.check_openai_usage_limit(
    business_id uuid,
    OUT allowed boolean, OUT reason text, OUT used numeric, OUT "limit" numeric, OUT remaining numeric,
    OUT reset_at timestamptz
) LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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

