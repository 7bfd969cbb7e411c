import { randomUUID } from 'node:crypto';

/** A call that was not made, because the budget is used up or could not be asked. */
export class OpenAIBudgetError extends Error {
  constructor(decision) {
    super(`the OpenAI budget refuses (${decision.reason})`);
    Object.assign(this, { name: 'OpenAIBudgetError', status: 429, code: decision.reason, decision });
  }
}

/** Reserve before each call of chat.completions and responses, and settle after it. See index.d.ts. */
export function wrapOpenAI(openai, settings = {}) {
  if (!settings.db?.reserveOpenAIUsage) throw new TypeError('wrapOpenAI: give db, which createMonitoring returned');
  const guarded = (calls, endpoint) => calls && overlay(calls, {
    create: (body, ...rest) => call(calls, 'create', endpoint, settings, body, rest),
    parse: (body, ...rest) => call(calls, 'parse', endpoint, settings, body, rest),
    stream: refuse('stream'),
    runTools: refuse('runTools')
  });
  return overlay(openai, {
    chat: openai.chat && overlay(openai.chat, { completions: guarded(openai.chat.completions, 'chat') }),
    responses: guarded(openai.responses, 'responses'),
    withOptions: (options) => wrapOpenAI(openai.withOptions(options), settings)
  });
}

async function call(calls, method, endpoint, settings, body, rest) {
  const { db, businessId = null } = settings;
  const requestId = randomUUID();
  const tokens = bound(body, settings);
  const decision = await db.reserveOpenAIUsage({ businessId, tokens, requestId, endpoint, model: body.model });
  if (!decision?.allowed) throw new OpenAIBudgetError(decision ?? { allowed: false, reason: 'unavailable' });
  // A call whose use is not known, such as a stream that broke, is left alone: its upper bound is booked later.
  const settle = (usage) => {
    const actualTokens = usage?.total_tokens;
    return db.settle({ requestId, actualTokens, cost: priced(settings, body.model, usage) });
  };
  const hidesUsage = endpoint === 'chat' && body.stream && !body.stream_options?.include_usage;
  const asked = hidesUsage ? { ...body, stream_options: { ...body.stream_options, include_usage: true } } : body;
  let answer;
  try {
    answer = await calls[method](asked, ...rest);
  } catch (error) {
    // OpenAI refused it, so nothing was used; after anything else that is not known.
    if (error?.status >= 400 && error.status < 500) await db.cancel({ requestId });
    throw error;
  }
  if (!body.stream) {
    await settle(answer?.usage);
    return answer;
  }
  const iterator = () => watched(answer, settle, hidesUsage);
  return overlay(answer, { iterator, [Symbol.asyncIterator]: iterator }, { binds: false });
}

/** Give the parts of a stream on, and settle when its usage comes, which is with the last one. */
async function* watched(stream, settle, hidesUsage) {
  for await (const part of stream) {
    const usage = part.usage ?? part.response?.usage;
    if (usage) await settle(usage);
    if (!(hidesUsage && part.usage && part.choices?.length === 0)) yield part;
  }
}

/** Tokens that a call can use at most: a token is a byte of text or more, and the answer has the length asked for. */
function bound(body, { maxOutputTokens = 4096, estimate }) {
  if (estimate) return estimate(body);
  const said = [body.messages, body.input, body.instructions, body.tools, body.response_format, body.text];
  const asked = body.max_completion_tokens ?? body.max_tokens ?? body.max_output_tokens ?? maxOutputTokens;
  return Buffer.byteLength(JSON.stringify(said)) + asked * (body.n ?? 1);
}

function priced({ costOf }, model, usage) {
  try {
    return (usage && costOf?.({ model, usage })) ?? null;
  } catch {
    return null;
  }
}

function refuse(name) {
  return () => {
    throw new TypeError(`wrapOpenAI: ${name}() would pass the budget by; use create({ ..., stream: true })`);
  };
}

/** An object with other properties; its methods keep their own `this`, since private fields do not pass a Proxy. */
function overlay(target, others, { binds = true } = {}) {
  return new Proxy(target, {
    get(_, name) {
      if (Object.hasOwn(others, name)) return others[name];
      const value = Reflect.get(target, name, target);
      return binds && typeof value === 'function' ? value.bind(target) : value;
    }
  });
}
