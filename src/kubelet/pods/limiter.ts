import { abortError, type Clock, orAbort } from '../../core/index.ts';

interface Waiter {
  rank: number;
  order: number;
  give: () => void;
}

/**
 * Bounds how many heavy runtime calls run at once and serves the most urgent waiter first (lowest rank, then oldest).
 * Few at a time finish as soon as all at once, and half of the pods are ready in half the time.
 */
export class Limiter {
  readonly #slots: number;
  #free: number;
  #idle: (() => void)[] = [];
  #count = 0;
  readonly #waiting: Waiter[] = [];

  constructor(slots: number) {
    this.#slots = slots;
    this.#free = slots;
  }

  async run<T>(rank: number, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#acquire(rank, signal);
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  /** The same, but the slot is given back after `ms` at the latest, while the work goes on: it only waits by then. */
  async runBriefly<T>(
    rank: number,
    work: () => Promise<T>,
    { ms, clock }: { ms: number; clock: Clock },
    signal: AbortSignal,
  ): Promise<T> {
    let running: Promise<T> | undefined;
    const hold = async () => {
      running = work();
      const pause = new AbortController();
      await Promise.race([running.catch(() => {}), clock.sleep(ms, pause.signal).catch(() => {})]);
      pause.abort();
    };
    await this.run(rank, hold, signal);
    return running as Promise<T>;
  }

  /** Resolves when nothing runs; rejects by the signal. */
  idle(signal: AbortSignal): Promise<void> {
    if (this.#free === this.#slots) return Promise.resolve();
    return orAbort(new Promise<void>((resolve) => this.#idle.push(resolve)), signal);
  }

  #acquire(rank: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(abortError());
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        const at = this.#waiting.indexOf(waiter);
        if (at >= 0) this.#waiting.splice(at, 1);
        reject(abortError());
      };
      const waiter: Waiter = {
        rank,
        order: this.#count++,
        give: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  #release(): void {
    let best = 0;
    for (let i = 1; i < this.#waiting.length; i++) {
      const [a, b] = [this.#waiting[i] as Waiter, this.#waiting[best] as Waiter];
      if (a.rank < b.rank || (a.rank === b.rank && a.order < b.order)) best = i;
    }
    const [next] = this.#waiting.splice(best, 1);
    if (next) next.give();
    else if (++this.#free === this.#slots) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
