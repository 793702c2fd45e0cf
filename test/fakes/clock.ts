import { abortError, type Clock } from '../../src/core/index.ts';

/** Time that only moves when told. */
export class FakeClock implements Clock {
  #now: number;
  #mono = 1_000_000;
  #timers: { at: number; fn: () => void }[] = [];

  constructor(now = Date.parse('2026-11-24T10:00:00Z')) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#mono;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.#mono + ms, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((t) => t !== timer);
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError());
      const cancel = this.after(ms, resolve);
      signal?.addEventListener('abort', () => {
        cancel();
        reject(abortError());
      });
    });
  }

  get timers(): number {
    return this.#timers.length;
  }

  /** The time until the next timer; undefined if there is none. */
  get next(): number | undefined {
    return this.#timers.length === 0 ? undefined : Math.min(...this.#timers.map((t) => t.at)) - this.#mono;
  }

  /** Moves on, timer by timer, letting everything that follows from each happen before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#mono + ms;
    await settle();
    for (;;) {
      const due = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      const to = due ? Math.max(due.at, this.#mono) : end;
      this.#now += to - this.#mono;
      this.#mono = to;
      if (!due) break;
      this.#timers = this.#timers.filter((t) => t !== due);
      due.fn();
      await settle();
    }
    await settle();
  }

  /** The wall clock jumps; durations are not touched. */
  jump(ms: number): void {
    this.#now += ms;
  }
}

/** Lets everything run that waits for nothing but its turn, or for a file: on a busy machine that takes a while. */
export async function settle(): Promise<void> {
  for (let calm = 0, turns = 0; calm < 4 && turns < 10_000; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
    const reading = process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'));
    calm = reading ? 0 : calm + 1;
  }
}
