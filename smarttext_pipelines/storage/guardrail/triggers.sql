DO $do$
DECLARE
    relations text := 'public.api_usage';
BEGIN
    IF (SELECT count(*) FROM pg_trigger
        WHERE tgrelid = 'public.api_usage'::regclass AND tgname LIKE 'smarttext\_count\_%' AND tgenabled = 'O'
            AND tgfoid = 'monitoring.count_openai_usage()'::regprocedure AND tgqual IS NULL AND tgattr = '') = 4 THEN
        RETURN;
    END IF;
{take}
    CREATE OR REPLACE TRIGGER smarttext_count_insert AFTER INSERT ON public.api_usage
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION monitoring.count_openai_usage();
    CREATE OR REPLACE TRIGGER smarttext_count_update AFTER UPDATE ON public.api_usage
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION monitoring.count_openai_usage();
    CREATE OR REPLACE TRIGGER smarttext_count_delete AFTER DELETE ON public.api_usage
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION monitoring.count_openai_usage();
    CREATE OR REPLACE TRIGGER smarttext_count_truncate AFTER TRUNCATE ON public.api_usage
    FOR EACH STATEMENT EXECUTE FUNCTION monitoring.count_openai_usage();
    ALTER TABLE public.api_usage ENABLE TRIGGER smarttext_count_insert, ENABLE TRIGGER smarttext_count_update,
        ENABLE TRIGGER smarttext_count_delete, ENABLE TRIGGER smarttext_count_truncate;
    PERFORM monitoring.recount_openai_usage();
END $do$
