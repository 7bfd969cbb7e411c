"""Functions that the application has under the same name: ours replace them, and its script can restore them.

The application's schema script runs at any time, so its ``CREATE OR REPLACE`` always meets the very signature that it
knows, with the names of its arguments, and none of our overloads answers the same call. They return what the
application's return (PL/pgSQL's void is an empty text, SQL's is NULL). People's comments stay.
"""

_FUNCTIONS = """
DO $do$
DECLARE
    -- PostgREST calls a function by the names of its arguments: an adopted one keeps them.
    arguments text := coalesce(pg_get_function_arguments(to_regprocedure('public.update_daily_stats(uuid, date)')),
                               'business_id_param uuid, date_param date');
    stats CONSTANT text := format($create$
CREATE OR REPLACE FUNCTION public.update_daily_stats(%s) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    INSERT INTO monitoring.rollup_requests (row_day, business_id, reason)
    VALUES (coalesce($2, (now() AT TIME ZONE (SELECT reporting_timezone FROM monitoring.installation))::date),
            $1, 'update_daily_stats()');
END $$ $create$, arguments);
    reset CONSTANT text := $create$
CREATE OR REPLACE FUNCTION public.reset_daily_openai_usage() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    INSERT INTO monitoring.openai_resets (business_id, day)
    VALUES (NULL, monitoring.today()) ON CONFLICT DO NOTHING;
END $$ $create$;
    each record;
BEGIN
    FOR each IN SELECT * FROM (VALUES
        ('public.update_daily_stats(uuid, date)', stats, 'Asks for a rollup of the day; a sensor serves it.'),
        ('public.reset_daily_openai_usage()', reset,
         'Notes that the day was opened; touches no usage and hands out no allowance.')
    ) AS v (signature, definition, comment)
    LOOP
        BEGIN
            EXECUTE each.definition;
        EXCEPTION WHEN invalid_function_definition OR wrong_object_type THEN  -- it returned something else
            EXECUTE format('DROP ROUTINE %s', each.signature);
            EXECUTE each.definition;
        END;
        IF obj_description(each.signature::regprocedure, 'pg_proc') IS NULL THEN
            EXECUTE format('COMMENT ON FUNCTION %s IS %L', each.signature, each.comment);
        END IF;
    END LOOP;
END $do$;
"""


def application_function_statements() -> list[str]:
    """Return the statements that replace the application's functions with ours."""
    return [_FUNCTIONS]
