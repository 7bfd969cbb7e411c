/** What `createMonitoring` needs of a `pg` Pool. */
export interface PgLike {
  query(text: string, values?: unknown[]): Promise<{ rows: any[] }>;
}

export interface Options {
  /** A supabase-js client made with the service key. Give this or `pg`. */
  supabase?: { from(table: string): any; rpc(name: string, values: object): any };
  /** A `pg` Pool. A Client works where nothing else uses it. */
  pg?: PgLike;
  /** Of a serverless platform: keeps the function alive until what it was given is written. */
  waitUntil?: (promise: Promise<unknown>) => void;
  /** Events held while the database is away, 1000 by default; more are dropped and counted. */
  bufferSize?: number;
  /** Milliseconds before the first retry, doubled up to `maxRetryMs`. */
  retryMs?: number;
  maxRetryMs?: number;
  /** Receives every error; may quote personal data. By default the error's code is logged. */
  onError?: (error: unknown) => void;
}

export interface SmsEvent {
  messageSid?: string | null; from: string; to: string; businessId?: string | null; status: string;
  errorCode?: string | null; errorMessage?: string | null; requestId?: string | null; bodyLength?: number | null;
  payload?: object;
}

export interface OpenAIUsage {
  endpoint: string; businessId?: string | null; tokensUsed: number; costEstimate?: number | null;
  model?: string | null; requestId?: string | null; service?: string; metadata?: object | null;
}

export interface OwnerAlert {
  businessId: string; ownerPhone: string; customerPhone: string; alertType: string; messageContent: string;
  detectionSource?: string | null; messageSid?: string | null; delivered?: boolean; errorMessage?: string | null;
}

export interface Decision {
  allowed: boolean;
  /** limit_tokens or limit_usd; `unavailable` where the database could not be asked. */
  reason?: string | null;
  used?: number; limit?: number; remaining?: number; reset_at?: string;
}

export interface Counters {
  written: number;
  /** Refused by a full buffer. */
  dropped: number;
  /** Refused by the database. */
  rejected: number;
  failedAttempts: number;
  waiting: number;
}

/** No function throws or rejects. Those that track resolve to the row, or to null where it was not kept. */
export interface Monitoring {
  trackSmsEvent(event: SmsEvent): Promise<object | null>;
  trackOpenAIUsage(usage: OpenAIUsage): Promise<object | null>;
  trackOwnerAlert(alert: OwnerAlert): Promise<object | null>;
  /** True when the budget is used up; false also where the database could not be asked. */
  checkOpenAIUsageLimit(businessId?: string | null): Promise<boolean>;
  reserveOpenAIUsage(request: {
    businessId?: string | null; tokens: number; requestId: string; endpoint?: string; model?: string | null;
    costEstimate?: number | null;
  }): Promise<Decision>;
  /** True when the settlement is kept to be written. */
  settle(result: { requestId: string; actualTokens: number; cost?: number | null }): Promise<boolean>;
  cancel(request: { requestId: string }): Promise<boolean>;
  /** True when it is noted that the day began. */
  resetDailyOpenAIUsage(): Promise<boolean>;
  /** Rows of sms_failure_rates of these days (YYYY-MM-DD, until today in UTC by default); null: not known. */
  getSmsFailureRate(businessId: string, startDate: string, endDate?: string | null): Promise<any[] | null>;
  /** Rows of openai_daily_usage. */
  getOpenAIUsage(businessId: string, startDate: string, endDate?: string | null): Promise<any[] | null>;
  /** Rows of daily_stats. */
  getDailyStats(businessId: string, startDate: string, endDate?: string | null): Promise<any[] | null>;
  /** Write what waits; true when nothing waits any more. Five seconds by default. */
  flush(timeoutMs?: number): Promise<boolean>;
  counters(): Counters;
}

export function createMonitoring(options: Options): Monitoring;

export interface Guard {
  /** What `createMonitoring` returned. */
  db: Pick<Monitoring, 'reserveOpenAIUsage' | 'settle' | 'cancel'>;
  businessId?: string | null;
  /** Length of an answer whose length the call does not limit, 4096 by default. */
  maxOutputTokens?: number;
  /** Tokens that a call can use at most; by default the bytes of what is sent, and the length of the answer. */
  estimate?: (body: any) => number;
  /** Cost in USD by OpenAI's `usage`, with its cached and reasoning tokens; null, as without it, is unpriced. */
  costOf?: (call: { model: string; usage: any }) => number | null;
}

/** Rejects `create` and `parse` in place of a call that the budget refuses; `status` is 429. */
export class OpenAIBudgetError extends Error {
  status: 429;
  /** limit_tokens, limit_usd or unavailable. */
  code: string;
  decision: Decision;
}

/** The client of the `openai` package, whose calls of chat.completions and responses are reserved and settled. */
export function wrapOpenAI<T extends object>(openai: T, guard: Guard): T;
