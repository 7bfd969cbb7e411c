-- Our own prices. Rows that somebody added for another model stay, and a trigger recounts.
DO $do$
DECLARE
    relations text := 'public.api_usage';
BEGIN
    IF NOT EXISTS (
        SELECT FROM (VALUES
            {prices}
        ) AS v (model, valid_from, price)
        LEFT JOIN monitoring.openai_prices AS p ON p.model = v.model AND p.valid_from = v.valid_from
        WHERE p.upper_nano_usd_per_token IS DISTINCT FROM v.price
    ) THEN
        RETURN;
    END IF;
{take}
    INSERT INTO monitoring.openai_prices AS p (model, valid_from, upper_nano_usd_per_token)
    VALUES
            {prices}
    ON CONFLICT (model, valid_from) DO UPDATE SET upper_nano_usd_per_token = excluded.upper_nano_usd_per_token;
END $do$
