// How rows and calls reach PostgreSQL. A row carries its id, so that writing it twice is writing it once.

/** A refusal of this row; a missing right or table is mended by somebody, and worth a retry like an outage. */
const REFUSAL = /^(22|23|P0|PGRST1)/;

export function isRefusal(error) {
  return REFUSAL.test(String(error?.code ?? ''));
}

/** Over a `pg` Pool or Client. */
export function overPg(pg) {
  return {
    async insert(table, rows) {
      const columns = Object.keys(rows[0]).join(', ');
      await pg.query(
        `INSERT INTO public.${table} (${columns}) SELECT ${columns}
         FROM jsonb_populate_recordset(NULL::public.${table}, $1::jsonb) ON CONFLICT (id) DO NOTHING`,
        [JSON.stringify(rows)]
      );
    },
    async rpc(name, values) {
      const given = Object.entries(values);
      const list = given.map(([key], index) => `${key} => $${index + 1}`).join(', ');
      const text = `SELECT to_jsonb(answer) AS answer FROM public.${name}(${list}) AS answer`;
      return (await pg.query(text, given.map(([, value]) => value))).rows[0].answer;
    },
    // As JSON, dates and numbers look as PostgREST shows them.
    async days(table, businessId, first, last) {
      const text = `SELECT to_jsonb(t) AS day FROM public.${table} AS t
        WHERE business_id = $1 AND date BETWEEN $2 AND $3 ORDER BY date`;
      return (await pg.query(text, [businessId, first, last])).rows.map((row) => row.day);
    }
  };
}

/** Over a supabase-js client made with the service key. */
export function overSupabase(supabase) {
  return {
    async insert(table, rows) {
      const { error } = await supabase.from(table).upsert(rows, { onConflict: 'id', ignoreDuplicates: true });
      if (error) throw error;
    },
    async rpc(name, values) {
      const { data, error } = await supabase.rpc(name, values);
      if (error) throw error;
      return data;
    },
    async days(table, businessId, first, last) {
      const { data, error } = await supabase.from(table).select('*').eq('business_id', businessId)
        .gte('date', first).lte('date', last).order('date');
      if (error) throw error;
      return data;
    }
  };
}
