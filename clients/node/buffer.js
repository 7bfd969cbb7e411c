// Holds what is not written yet: bounded, in order, retried until the database answers.
import { isRefusal } from './transports.js';

const MAX_BATCH = 200;

export class Buffer {
  #tasks = [];
  #running = null;
  #timer = null;
  #failures = 0;

  constructor(transport, { bufferSize, retryMs, maxRetryMs, onError }) {
    this.transport = transport;
    this.bufferSize = bufferSize;
    this.retryMs = retryMs;
    this.maxRetryMs = maxRetryMs;
    this.onError = onError;
    this.counters = { written: 0, dropped: 0, rejected: 0, failedAttempts: 0 };
  }

  get waiting() {
    return this.#tasks.length;
  }

  /** Take a task; false when the buffer is full and it was dropped. */
  add(task) {
    if (this.#tasks.length >= this.bufferSize) {
      this.counters.dropped += 1;
      return false;
    }
    this.#tasks.push(task);
    this.#schedule(0);
    return true;
  }

  /** Try until nothing waits or the time is over; true when nothing waits. */
  async flush(timeoutMs) {
    const end = Date.now() + timeoutMs;
    while (this.#tasks.length > 0) {
      const left = end - Date.now();
      if (left <= 0) return false;
      const isDone = await within(left, this.#drain());
      if (isDone === false) await pause(Math.min(this.#delay(), Math.max(end - Date.now(), 0)));
    }
    return true;
  }

  #delay() {
    return Math.min(this.retryMs * 2 ** Math.min(this.#failures, 10), this.maxRetryMs);
  }

  #schedule(delay) {
    if (this.#timer || this.#running) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#drain();
    }, delay);
    this.#timer.unref?.();
  }

  // One drain at a time; never rejects. False: the database is away, and the rest waits.
  #drain() {
    this.#running ??= this.#writeAll().finally(() => {
      this.#running = null;
      if (this.#tasks.length > 0) this.#schedule(this.#delay());
    });
    return this.#running;
  }

  async #writeAll() {
    while (this.#tasks.length > 0) {
      const batch = nextBatch(this.#tasks);
      try {
        await this.#write(batch);
      } catch (error) {
        this.counters.failedAttempts += 1;
        this.#failures += 1;
        this.onError(error);
        return false;
      }
      this.#failures = 0;
    }
    return true;
  }

  async #write(batch) {
    try {
      await this.#send(batch);
      this.counters.written += batch.length;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (batch.length > 1) {
        // One of them is refused: each alone, so that it takes no other with it.
        for (const task of batch) await this.#write([task]);
        return;
      }
      this.counters.rejected += 1;
      this.onError(error);
    }
    this.#tasks.splice(0, batch.length);
  }

  #send(batch) {
    const [{ table, rpc, values }] = batch;
    return table ? this.transport.insert(table, batch.map((task) => task.values)) : this.transport.rpc(rpc, values);
  }
}

function nextBatch(tasks) {
  const { table } = tasks[0];
  if (!table) return [tasks[0]];
  const end = tasks.findIndex((task, index) => task.table !== table || index >= MAX_BATCH);
  return tasks.slice(0, end < 0 ? tasks.length : end);
}

// The timer is cleared, or it would keep the process alive.
async function within(milliseconds, promise) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds, null);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}
