DO $do$
DECLARE
    relations text := 'public.api_usage';
    part regclass;
BEGIN
    -- A row that is written into a partition itself fires the triggers of the partition only.
    IF NOT EXISTS (
        SELECT FROM (SELECT 'public.api_usage'::regclass AS relid
                     UNION SELECT relid FROM pg_partition_tree('public.api_usage')) AS parts
        WHERE (SELECT count(*) FROM pg_trigger WHERE tgrelid = parts.relid AND tgname LIKE 'smarttext\_count\_%'
                   AND tgenabled = 'O' AND tgfoid = 'monitoring.count_openai_usage()'::regprocedure AND tgqual IS NULL
                   AND tgattr = '') <> 4
    ) THEN
        RETURN;
    END IF;
{take}
    FOR part IN
        SELECT 'public.api_usage'::regclass UNION SELECT relid FROM pg_partition_tree('public.api_usage')
    LOOP
        EXECUTE format($create$
            CREATE OR REPLACE TRIGGER smarttext_count_insert AFTER INSERT ON %1$s
            REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION monitoring.count_openai_usage();
            CREATE OR REPLACE TRIGGER smarttext_count_update AFTER UPDATE ON %1$s
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION monitoring.count_openai_usage();
            CREATE OR REPLACE TRIGGER smarttext_count_delete AFTER DELETE ON %1$s
            REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION monitoring.count_openai_usage();
            CREATE OR REPLACE TRIGGER smarttext_count_truncate AFTER TRUNCATE ON %1$s
            FOR EACH STATEMENT EXECUTE FUNCTION monitoring.count_openai_usage();
            ALTER TABLE %1$s ENABLE TRIGGER smarttext_count_insert, ENABLE TRIGGER smarttext_count_update,
                ENABLE TRIGGER smarttext_count_delete, ENABLE TRIGGER smarttext_count_truncate;
        $create$, part);
    END LOOP;
    PERFORM monitoring.recount_openai_usage();
END $do$
