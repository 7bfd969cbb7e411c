"""What adoption does to the types and the key of the application's tables; the first time, and after a way down."""

WIDEN_USAGE = """
DO $$
BEGIN
    -- numeric(10,6) to numeric(18,6) changes the catalog only; anything else that was chosen here stays.
    IF (SELECT format_type(atttypid, atttypmod) FROM pg_attribute
        WHERE attrelid = 'public.api_usage'::regclass AND attname = 'cost_estimate') = 'numeric(10,6)' THEN
        IF to_regclass('public.openai_daily_usage') IS NOT NULL THEN
            BEGIN  -- The old view depends on the column; its readers must not miss it until migrate comes to its end.
                CREATE OR REPLACE VIEW public.openai_daily_usage AS
                SELECT business_id, day AS date, sum(tokens_used)::bigint AS total_tokens, sum(cost_usd) AS total_cost
                FROM monitoring.spend WHERE service = 'openai' GROUP BY business_id, day;
            EXCEPTION WHEN invalid_table_definition THEN
                DROP VIEW public.openai_daily_usage;
            END;
        END IF;
        ALTER TABLE public.api_usage ALTER COLUMN cost_estimate TYPE numeric(18, 6);
    END IF;
END $$;
"""
"""Widen the cost of ``api_usage`` where it is as the application's author made it."""

WIDEN_STATS = """
ALTER TABLE public.daily_stats
    ALTER COLUMN openai_tokens_used TYPE bigint,
    ALTER COLUMN openai_cost_estimate TYPE numeric(38, 6)
"""
"""Widen the sums of ``daily_stats``."""

SET_ASIDE = """
INSERT INTO monitoring.daily_stats_adopted (id, business_id, date, "row")
SELECT id, business_id, date, to_jsonb(s) FROM public.daily_stats AS s
ON CONFLICT (id) DO UPDATE SET business_id = excluded.business_id, date = excluded.date, "row" = excluded."row",
    adopted_at = excluded.adopted_at;
DELETE FROM public.daily_stats AS s
USING (
    SELECT id, row_number() OVER (PARTITION BY business_id, date ORDER BY updated_at DESC NULLS LAST, id) AS place
    FROM public.daily_stats
) AS repeated
WHERE repeated.id = s.id AND repeated.place > 1;
DO $$
DECLARE old record;
BEGIN
    -- Several rows without business could exist for one date, because the old key told NULLs apart.
    FOR old IN
        SELECT i.indexrelid::regclass AS name, c.conname
        FROM pg_index AS i LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid AND c.contype = 'u'
        WHERE i.indrelid = 'public.daily_stats'::regclass AND i.indisunique AND i.indnkeyatts = 2
            AND (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
                 WHERE attrelid = i.indrelid AND attnum = ANY (i.indkey)) = ARRAY['business_id', 'date']
    LOOP
        IF old.conname IS NOT NULL THEN
            EXECUTE format('ALTER TABLE public.daily_stats DROP CONSTRAINT %I', old.conname);
        ELSE
            EXECUTE format('DROP INDEX %s', old.name);
        END IF;
    END LOOP;
END $$;
CREATE UNIQUE INDEX daily_stats_business_id_date_key ON public.daily_stats (business_id, date) NULLS NOT DISTINCT;
"""
"""Copy every row of ``daily_stats``, keep one for each business and date, and make its key treat NULLs as equal."""
