import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { createMonitoring, OpenAIBudgetError, wrapOpenAI } from '../index.js';

const { default: pgModule } = await import(process.env.SMARTTEXT_NODE_PG ?? 'pg');
const pool = new pgModule.Pool({ connectionString: process.env.SMARTTEXT_NODE_DATABASE_URL, max: 4 });
const db = createMonitoring({ pg: pool, onError: () => {}, retryMs: 5, maxRetryMs: 20 });
const CHAT = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }], max_tokens: 30 };
const USAGE = { prompt_tokens: 9, completion_tokens: 21, total_tokens: 30,
  prompt_tokens_details: { cached_tokens: 4 }, completion_tokens_details: { reasoning_tokens: 12 } };

after(() => pool.end());

/** A client as the SDK's: methods that need their own `this`, and streams that are iterated. */
class Calls {
  #answer;
  asked = [];
  constructor(answer) { this.#answer = answer; }
  async create(body) {
    this.asked.push(body);
    return this.#answer(body);
  }
}
const streamOf = (parts) => ({ controller: {}, iterator: async function* () { yield* parts; },
  [Symbol.asyncIterator]() { return this.iterator(); } });
const client = (answer) => {
  const calls = new Calls(answer);
  return { calls, chat: { completions: calls }, responses: calls };
};
async function booked(model) {
  assert.equal(await db.flush(), true);
  const text = 'SELECT endpoint, tokens_used, cost_estimate::float AS usd FROM public.api_usage WHERE model = $1';
  return (await pool.query(text, [model])).rows;
}
const held = async () => Number((await pool.query(
  'SELECT coalesce(sum(reserved_tokens), 0) AS n FROM monitoring.openai_budgets WHERE business_id IS NULL')).rows[0].n);

test('a call is reserved before and settled after it, with a cost by its cached and reasoning tokens', async () => {
  let during;
  const openai = client(async () => { during = await held(); return { id: 'x', usage: USAGE }; });
  const costOf = ({ usage }) => usage.prompt_tokens_details.cached_tokens * 0.01
    + usage.completion_tokens_details.reasoning_tokens * 0.1;
  const wrapped = wrapOpenAI(openai, { db, costOf });
  assert.equal((await wrapped.chat.completions.create({ ...CHAT, model: 'w1' })).id, 'x');
  assert.ok(during >= 30, 'reserved while it is made');
  assert.deepEqual(await booked('w1'), [{ endpoint: 'chat', tokens_used: 30, usd: 1.24 }]);
  assert.equal(await held(), 0);
});

test('a stream is settled by its last part, which who did not ask for it does not see', async () => {
  const parts = [{ choices: [{ delta: { content: 'a' } }], usage: null }, { choices: [], usage: USAGE }];
  const openai = client(() => streamOf(parts));
  for (const [model, options, count] of [['w2', undefined, 1], ['w3', { include_usage: true }, 2]]) {
    const wrapped = wrapOpenAI(openai, { db });
    const seen = [];
    const body = { ...CHAT, model, stream: true, stream_options: options };
    for await (const part of await wrapped.chat.completions.create(body)) seen.push(part);
    assert.equal(seen.length, count);
    assert.equal(openai.calls.asked.at(-1).stream_options.include_usage, true);
    assert.equal((await booked(model))[0].tokens_used, 30);
  }
});

test('responses are settled, streamed or not', async () => {
  const usage = { input_tokens: 5, output_tokens: 6, total_tokens: 11 };
  const openai = client((body) => body.stream
    ? streamOf([{ type: 'response.created', response: { usage: null } }, { type: 'response.completed', response: { usage } }])
    : { usage });
  const wrapped = wrapOpenAI(openai, { db });
  await wrapped.responses.create({ model: 'w4', input: 'hello', max_output_tokens: 20 });
  const stream = await wrapped.responses.create({ model: 'w4', input: 'hello', max_output_tokens: 20, stream: true });
  const seen = [];
  for await (const part of stream) seen.push(part.type);
  assert.deepEqual(seen, ['response.created', 'response.completed']);
  assert.deepEqual((await booked('w4')).map((row) => [row.endpoint, row.tokens_used]),
    [['responses', 11], ['responses', 11]]);
});

test('a call that OpenAI refused is given back, and one without an answer stays reserved', async () => {
  const fails = (status) => wrapOpenAI(client(() => { throw Object.assign(new Error('no'), { status }); }), { db });
  await assert.rejects(fails(400).chat.completions.create({ ...CHAT, model: 'w5' }), { status: 400 });
  assert.equal(await db.flush(), true);
  assert.equal(await held(), 0);
  await assert.rejects(fails(undefined).chat.completions.create({ ...CHAT, model: 'w5' }), { message: 'no' });
  assert.ok(await held() > 30);
  assert.deepEqual(await booked('w5'), []);
});

test('what the budget refuses is not called', async () => {
  const openai = client(() => ({ usage: USAGE }));
  const wrapped = wrapOpenAI(openai, { db });
  const over = { ...CHAT, max_tokens: 5000 };
  await assert.rejects(wrapped.chat.completions.create(over), (error) =>
    error instanceof OpenAIBudgetError && error.status === 429 && error.code === 'limit_tokens');
  const away = createMonitoring({ pg: { query: async () => { throw new Error('away'); } }, onError: () => {} });
  await assert.rejects(wrapOpenAI(openai, { db: away }).responses.create({ model: 'm', input: '' }), { code: 'unavailable' });
  assert.throws(() => wrapped.chat.completions.stream({}), /use create/);
  assert.throws(() => wrapOpenAI(openai, {}), /give db/);
  assert.equal(openai.calls.asked.length, 0);
});
