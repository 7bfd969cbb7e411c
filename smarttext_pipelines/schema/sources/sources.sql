DO $do$
DECLARE
    path CONSTANT text := current_setting('search_path');
    source record;
BEGIN
    -- With nothing but pg_catalog in the path, names and defaults are written out in full.
    PERFORM set_config('search_path', 'pg_catalog', true);
    FOR source IN
        WITH wanted (relation, place, name, kind) AS (VALUES
            {columns}
        ), found AS (
            SELECT w.*, c.relkind, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS base,
                   format('%I.%I', n.nspname, t.typname) AS type, t.typtype, a.attname IS NOT NULL AS is_there,
                   a.attgenerated <> '' AS is_generated,
                   CASE WHEN a.attgenerated = '' AND (a.attnotnull OR w.kind = 'jsonb')
                        THEN pg_get_expr(d.adbin, d.adrelid) END AS standard
            FROM wanted AS w
            JOIN pg_class AS c ON c.oid = to_regclass('public.' || w.relation)
            LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = w.name AND NOT a.attisdropped
            LEFT JOIN pg_type AS t ON t.oid = a.atttypid
            LEFT JOIN pg_namespace AS n ON n.oid = t.typnamespace
            LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        ), converted AS (
            SELECT f.*,
                   CASE WHEN f.kind = 'integer' AND f.base = 'bigint' THEN 'bigint' ELSE f.kind END AS result,
                   CASE WHEN NOT f.is_there THEN format('NULL::%s', f.kind)
                        WHEN f.kind = 'timestamp with time zone' AND f.base = 'timestamp without time zone'
                            THEN format('e.%I AT TIME ZONE ''UTC''', f.name)
                        WHEN f.typtype = 'b' AND (f.base = f.kind OR f.kind = 'integer' AND f.base = 'bigint')
                            THEN format('e.%I', f.name)
                        ELSE format('e.%I::%s', f.name, f.kind) END AS read,
                   CASE WHEN f.kind = 'timestamp with time zone'
                            THEN format('coalesce(r.%I, now())', f.name)
                                || CASE WHEN f.base = 'timestamp without time zone' THEN ' AT TIME ZONE ''UTC''' ELSE '' END
                        -- A code that is no number has no place in such a column.
                        WHEN f.kind = 'text' AND f.base IN ('integer', 'bigint')
                            THEN format('CASE WHEN r.%I ~ ''^[0-9]{1,9}$'' THEN r.%I::%s END', f.name, f.name, f.base)
                        WHEN f.typtype IN ('e', 'd') OR f.kind = 'jsonb' AND f.base <> 'jsonb'
                            THEN format('r.%I::%s', f.name, f.type)
                        ELSE format('r.%I', f.name) END AS written
            FROM found AS f
        )
        SELECT s.relation, s.relkind IN ('r', 'p') AS is_table,
               string_agg(format('%I %s', s.name, s.result), ', ' ORDER BY s.place) AS results,
               string_agg(s.read, ', ' ORDER BY s.place) AS reads,
               string_agg(format('%I %s', s.name, s.kind), ', ' ORDER BY s.place) AS declared,
               string_agg(format('%I', s.name), ', ' ORDER BY s.place) FILTER (WHERE NOT s.is_generated) AS names,
               string_agg(CASE WHEN s.standard IS NULL THEN s.written
                               ELSE format('coalesce(%s, %s)', s.written, s.standard) END, ', ' ORDER BY s.place)
                   FILTER (WHERE NOT s.is_generated) AS writes,
               -- The key of a partitioned table holds what it is partitioned by, so that its id is no key alone.
               EXISTS (SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = 'id'
                       WHERE i.indrelid = to_regclass('public.' || s.relation) AND i.indisunique AND i.indisvalid
                           AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum AND i.indpred IS NULL) AS is_keyed
        FROM converted AS s GROUP BY s.relation, s.relkind
    LOOP
        -- Replaced in its place where that is possible, because a rollup may be reading it.
        BEGIN
            EXECUTE format(
                'CREATE OR REPLACE FUNCTION monitoring.%I() RETURNS TABLE (%s) LANGUAGE sql STABLE %s AS %L',
                'read_' || source.relation, source.results,
                CASE WHEN source.is_table THEN 'PARALLEL SAFE' ELSE 'PARALLEL UNSAFE' END,
                format('SELECT %s FROM public.%I AS e', source.reads, source.relation));
        EXCEPTION WHEN invalid_function_definition THEN
            EXECUTE format('DROP VIEW IF EXISTS monitoring.%I', source.relation);
            EXECUTE format('DROP FUNCTION monitoring.%I()', 'read_' || source.relation);
            EXECUTE format(
                'CREATE FUNCTION monitoring.%I() RETURNS TABLE (%s) LANGUAGE sql STABLE %s AS %L',
                'read_' || source.relation, source.results,
                CASE WHEN source.is_table THEN 'PARALLEL SAFE' ELSE 'PARALLEL UNSAFE' END,
                format('SELECT %s FROM public.%I AS e', source.reads, source.relation));
        END;
        IF to_regclass('monitoring.' || source.relation) IS NULL THEN
            EXECUTE format('CREATE VIEW monitoring.%I AS SELECT * FROM monitoring.%I()',
                           source.relation, 'read_' || source.relation);
        END IF;
        CONTINUE WHEN source.relation = 'businesses';
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION monitoring.%I(rows jsonb) RETURNS bigint'
            ' LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L',
            'add_' || source.relation,
            CASE WHEN source.is_table THEN format(
                'DECLARE added bigint; BEGIN INSERT INTO public.%I (%s) SELECT %s FROM jsonb_to_recordset(rows) AS r (%s)'
                ' %s DO NOTHING; GET DIAGNOSTICS added = ROW_COUNT; RETURN added; END',
                source.relation, source.names, source.writes, source.declared,
                CASE WHEN source.is_keyed THEN 'ON CONFLICT (id)'
                     ELSE format('WHERE NOT EXISTS (SELECT FROM public.%I AS e WHERE e.id = r.id) ON CONFLICT',
                                 source.relation) END)
            ELSE format('BEGIN RAISE EXCEPTION ''public.%s is a view: nothing is written into it'''
                        ' USING ERRCODE = ''feature_not_supported''; END', source.relation) END);
    END LOOP;
    PERFORM set_config('search_path', path, true);
END $do$;
