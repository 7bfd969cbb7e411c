import { randomUUID } from 'node:crypto';
import { Buffer } from './buffer.js';
import { overPg, overSupabase } from './transports.js';

export { OpenAIBudgetError, wrapOpenAI } from './openai.js';

const FAILED = Symbol('failed');

/** Make the functions of the application's `lib/monitoring.js` over a database. See index.d.ts. */
export function createMonitoring(options) {
  const { supabase, pg, waitUntil, bufferSize = 1000, retryMs = 200, maxRetryMs = 10_000 } = options;
  if (!supabase === !pg) throw new TypeError('createMonitoring: give either supabase or pg');
  const onError = quietly(options.onError ?? logCode);
  const transport = pg ? overPg(pg) : overSupabase(supabase);
  const buffer = new Buffer(transport, { bufferSize, retryMs, maxRetryMs, onError });
  const flush = (timeoutMs = 5000) => buffer.flush(timeoutMs);

  function keep(task) {
    const isKept = buffer.add(task);
    if (isKept && waitUntil) quietly(waitUntil)(flush());
    return isKept;
  }

  async function track(table, makeRow) {
    try {
      const row = { id: randomUUID(), ...makeRow(), created_at: new Date().toISOString() };
      JSON.stringify(row); // what cannot be written is known here, not in the batch
      return keep({ table, values: row }) ? row : null;
    } catch (error) {
      buffer.counters.rejected += 1;
      onError(error);
      return null;
    }
  }

  async function ask(name, values, otherwise) {
    try {
      return await transport.rpc(name, values);
    } catch (error) {
      onError(error);
      return otherwise;
    }
  }

  async function days(table, businessId, startDate, endDate) {
    try {
      return await transport.days(table, businessId, startDate, endDate ?? new Date().toISOString().slice(0, 10));
    } catch (error) {
      onError(error);
      return null;
    }
  }

  return {
    trackSmsEvent: (event) => track('sms_events', () => smsRow(event)),
    trackOpenAIUsage: (usage) => track('api_usage', () => usageRow(usage)),
    trackOwnerAlert: (alert) => track('owner_alerts', () => alertRow(alert)),
    async checkOpenAIUsageLimit(businessId) {
      const decision = await ask('check_openai_usage_limit', { business_id: businessId ?? null }, null);
      return decision ? !decision.allowed : false;
    },
    reserveOpenAIUsage({ businessId, tokens, requestId, endpoint = 'chat', model, costEstimate } = {}) {
      const values = { business_id: businessId ?? null, tokens: Math.ceil(tokens), request_id: requestId, endpoint,
        model: model ?? null, cost_estimate: costEstimate ?? null };
      return ask('reserve_openai_usage', values, { allowed: false, reason: 'unavailable' });
    },
    // A settlement is kept like an event: repeating it is harmless.
    async settle({ requestId, actualTokens, cost } = {}) {
      if (!(actualTokens >= 0)) return false;
      return keep({ rpc: 'settle_openai_usage',
        values: { request_id: requestId, actual_tokens: Math.ceil(actualTokens), cost: cost ?? null } });
    },
    cancel: async ({ requestId } = {}) => keep({ rpc: 'cancel_openai_usage', values: { request_id: requestId } }),
    resetDailyOpenAIUsage: async () => (await ask('reset_daily_openai_usage', {}, FAILED)) !== FAILED,
    getSmsFailureRate: (businessId, startDate, endDate) => days('sms_failure_rates', businessId, startDate, endDate),
    getOpenAIUsage: (businessId, startDate, endDate) => days('openai_daily_usage', businessId, startDate, endDate),
    getDailyStats: (businessId, startDate, endDate) => days('daily_stats', businessId, startDate, endDate),
    flush,
    counters: () => ({ ...buffer.counters, waiting: buffer.waiting })
  };
}

function smsRow({ messageSid, from, to, businessId, status, errorCode, errorMessage, requestId, bodyLength, payload }) {
  return {
    message_sid: messageSid ?? null, from_number: from ?? null, to_number: to ?? null, business_id: businessId ?? null,
    status: status ?? null, error_code: errorCode ?? null, error_message: errorMessage ?? null,
    request_id: requestId ?? null, body_length: bodyLength ?? null, payload: payload ?? {}
  };
}

function usageRow({ service = 'openai', endpoint, businessId, tokensUsed, costEstimate, model, requestId, metadata }) {
  return {
    service, endpoint: endpoint ?? null, business_id: businessId ?? null, tokens_used: tokensUsed ?? null,
    cost_estimate: costEstimate ?? null, model: model ?? null, request_id: requestId ?? null, metadata: metadata ?? null
  };
}

function alertRow({ businessId, ownerPhone, customerPhone, alertType, messageContent, detectionSource, messageSid,
  delivered = true, errorMessage }) {
  return {
    business_id: businessId ?? null, owner_phone: ownerPhone ?? null, customer_phone: customerPhone ?? null,
    alert_type: alertType ?? null, message_content: messageContent ?? null, detection_source: detectionSource ?? null,
    message_sid: messageSid ?? null, delivered, error_message: errorMessage ?? null
  };
}

// A database's message may quote the row, and a row holds telephone numbers: only the code is logged.
function logCode(error) {
  console.error(`smarttext-monitoring: ${error?.code ?? error?.name ?? 'error'}`);
}

function quietly(call) {
  return (value) => {
    try {
      call(value);
    } catch {
      // The caller's own function must not fail the caller's request.
    }
  };
}
