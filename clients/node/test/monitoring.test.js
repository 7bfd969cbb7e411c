import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { createMonitoring } from '../index.js';

const { default: pgModule } = await import(process.env.SMARTTEXT_NODE_PG ?? 'pg');
const pool = new pgModule.Pool({ connectionString: process.env.SMARTTEXT_NODE_DATABASE_URL, max: 16 });
const QUIET = { onError: () => {}, retryMs: 5, maxRetryMs: 20 };
const BUSINESS = process.env.SMARTTEXT_NODE_BUSINESS;
const text = (requestId) => ({ from: '+15550000001', to: '+15550000002', businessId: BUSINESS, status: 'sent',
  messageSid: `SM-${requestId}`, requestId, bodyLength: 5, payload: { price: null } });
const count = async (requestId) =>
  Number((await pool.query('SELECT count(*) FROM public.sms_events WHERE request_id = $1', [requestId])).rows[0].count);

after(() => pool.end());

test('a row has every value under the names of lib/monitoring.js', async () => {
  const monitoring = createMonitoring({ pg: pool, ...QUIET });
  await monitoring.trackSmsEvent(text('names'));
  await monitoring.trackOwnerAlert({ businessId: BUSINESS, ownerPhone: '+15550000003', customerPhone: '+15550000002',
    alertType: 'urgent_message', messageContent: 'call back', detectionSource: 'keyword', messageSid: 'SM9' });
  await monitoring.trackOpenAIUsage({ endpoint: 'chat', businessId: null, tokensUsed: 7, costEstimate: 0.5, model: 'm' });
  assert.equal(await monitoring.flush(), true);
  const sms = (await pool.query("SELECT * FROM public.sms_events WHERE request_id = 'names'")).rows[0];
  assert.deepEqual([sms.message_sid, sms.from_number, sms.to_number, sms.business_id, sms.status, sms.body_length],
    ['SM-names', '+15550000001', '+15550000002', BUSINESS, 'sent', 5]);
  const alert = (await pool.query('SELECT * FROM public.owner_alerts')).rows[0];
  assert.deepEqual([alert.alert_type, alert.detection_source, alert.delivered], ['urgent_message', 'keyword', true]);
  const usage = (await pool.query("SELECT * FROM public.api_usage WHERE model = 'm'")).rows[0];
  assert.deepEqual([usage.service, usage.tokens_used, Number(usage.cost_estimate)], ['openai', 7, 0.5]);
});

test('64 concurrent reservations never pass the limit', async () => {
  const monitoring = createMonitoring({ pg: pool, ...QUIET });
  const decisions = await Promise.all(Array.from({ length: 64 }, (_, i) =>
    monitoring.reserveOpenAIUsage({ businessId: BUSINESS, tokens: 100, requestId: `crowd-${i}`, model: 'gpt-4o-mini' })));
  assert.equal(decisions.filter((decision) => decision.allowed).length, 10);
  assert.ok(decisions.every((decision) => decision.allowed || decision.reason === 'limit_tokens'));
  assert.equal(await monitoring.checkOpenAIUsageLimit(BUSINESS), true);
  for (const i of decisions.keys()) if (decisions[i].allowed)
    await monitoring.settle({ requestId: `crowd-${i}`, actualTokens: 60 });
  assert.equal(await monitoring.flush(), true);
  const { rows } = await pool.query("SELECT sum(tokens_used) FROM public.api_usage WHERE request_id LIKE 'crowd-%'");
  assert.equal(Number(rows[0].sum), 600);
  assert.equal(await monitoring.checkOpenAIUsageLimit(BUSINESS), false);
});

test('an answer that was lost writes the row once', async () => {
  let isLost = true;
  const pg = { async query(...given) {
    const answer = await pool.query(...given);
    if (isLost) { isLost = false; throw Object.assign(new Error('reset'), { code: 'ECONNRESET' }); }
    return answer;
  } };
  const monitoring = createMonitoring({ pg, ...QUIET });
  await monitoring.trackSmsEvent(text('lost'));
  assert.equal(await monitoring.flush(), true);
  assert.equal(await count('lost'), 1);
  const { written, rejected, failedAttempts } = monitoring.counters();
  assert.deepEqual([written, rejected, failedAttempts], [1, 0, 1]);
});

test('while the database is away nothing is thrown, the buffer keeps its size, and the rest is counted', async () => {
  let isAway = true;
  const pg = { query: async (...given) => {
    if (isAway) throw Object.assign(new Error('away'), { code: 'ECONNREFUSED' });
    return pool.query(...given);
  } };
  const monitoring = createMonitoring({ pg, ...QUIET, bufferSize: 3 });
  const kept = await Promise.all([1, 2, 3, 4, 5].map(() => monitoring.trackSmsEvent(text('away'))));
  assert.equal(kept.filter(Boolean).length, 3);
  assert.deepEqual(await monitoring.reserveOpenAIUsage({ tokens: 1, requestId: 'a' }),
    { allowed: false, reason: 'unavailable' });
  assert.equal(await monitoring.checkOpenAIUsageLimit(BUSINESS), false);
  assert.equal(await monitoring.flush(30), false);
  isAway = false;
  assert.equal(await monitoring.flush(), true);
  assert.equal(await count('away'), 3);
  assert.equal(monitoring.counters().dropped, 2);
});

test('a refused row takes no other with it', async () => {
  const monitoring = createMonitoring({ pg: pool, ...QUIET });
  await Promise.all([text('mixed'), { ...text('mixed'), businessId: 'no uuid' }, text('mixed')].map(monitoring.trackSmsEvent));
  assert.equal(await monitoring.flush(), true);
  assert.equal(await count('mixed'), 2);
  assert.deepEqual([monitoring.counters().written, monitoring.counters().rejected], [2, 1]);
});

test('days are read as PostgREST shows them, and an outage is null', async () => {
  await pool.query("INSERT INTO public.daily_stats (id, business_id, date, messages_sent) "
    + "VALUES (gen_random_uuid(), $1, '2026-03-01', 4), (gen_random_uuid(), $1, '2026-03-03', 5)", [BUSINESS]);
  const monitoring = createMonitoring({ pg: pool, ...QUIET });
  const days = await monitoring.getDailyStats(BUSINESS, '2026-02-28', '2026-03-02');
  assert.deepEqual(days.map((day) => [day.date, day.messages_sent]), [['2026-03-01', 4]]);
  assert.deepEqual(await monitoring.getSmsFailureRate(BUSINESS, '2026-03-01', '2026-03-02'), []);
  assert.deepEqual(await monitoring.getOpenAIUsage(BUSINESS, '2026-03-01', '2026-03-02'), []);
  assert.equal(await monitoring.resetDailyOpenAIUsage(), true);
  const away = createMonitoring({ pg: { query: async () => { throw new Error('away'); } }, ...QUIET });
  assert.equal(await away.getDailyStats(BUSINESS, '2026-03-01'), null);
  assert.equal(await away.resetDailyOpenAIUsage(), false);
});

test('over supabase-js a row is written once, and a decision is the same', async () => {
  const told = [];
  const supabase = {
    from: (table) => ({ upsert: async (rows, options) => {
      told.push([table, rows.length, options]);
      return { error: told.length === 1 ? { code: '57P03', message: 'starting' } : null };
    } }),
    rpc: async (name, values) => ({ data: { allowed: true, name, values }, error: null })
  };
  const monitoring = createMonitoring({ supabase, ...QUIET });
  await monitoring.trackSmsEvent(text('supabase'));
  assert.equal(await monitoring.flush(), true);
  const once = ['sms_events', 1, { onConflict: 'id', ignoreDuplicates: true }];
  assert.deepEqual(told, [once, once]);
  const decision = await monitoring.reserveOpenAIUsage({ tokens: 1.2, requestId: 'r' });
  assert.deepEqual([decision.allowed, decision.values.tokens, decision.values.business_id], [true, 2, null]);
});

test('what is no event at all is counted, not thrown', async () => {
  const monitoring = createMonitoring({ pg: pool, ...QUIET });
  const circle = {}; circle.self = circle;
  assert.equal(await monitoring.trackSmsEvent(undefined), null);
  assert.equal(await monitoring.trackSmsEvent({ ...text('circle'), payload: circle }), null);
  assert.equal(await monitoring.settle(undefined), false);
  assert.equal(monitoring.counters().rejected, 2);
});
