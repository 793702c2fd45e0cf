import { abortError } from './clock.ts';

/** Bounds how many run at once; the waiting ones are served in order. */
export class Semaphore {
  #free: number;
  readonly #waiting: { give: () => void }[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  /** Waits for a slot; the returned function gives it back (calling it twice is harmless). */
  async acquire(signal?: AbortSignal): Promise<() => void> {
    if (signal?.aborted) throw abortError();
    if (this.#free > 0) this.#free--;
    else
      await new Promise<void>((resolve, reject) => {
        const entry = {
          give: () => {
            signal?.removeEventListener('abort', onAbort);
            resolve();
          },
        };
        const onAbort = () => {
          const at = this.#waiting.indexOf(entry);
          if (at >= 0) this.#waiting.splice(at, 1);
          reject(abortError());
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        this.#waiting.push(entry);
      });
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#waiting.shift();
      if (next) next.give();
      else this.#free++;
    };
  }

  async run<T>(fn: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const release = await this.acquire(signal);
    try {
      return await fn();
    } finally {
      release();
    }
  }
}

/**
 * Runs `work` never twice at once and at least once after the last `poke`: many pokes while it runs become one more
 * run. The level-triggered heart of every reconciler here.
 */
export class Coalescer {
  #running = false;
  #dirty = false;
  #idle: (() => void)[] = [];
  readonly #work: () => Promise<void>;

  /** `work` must handle its own errors; a rejection is swallowed so that one bad round can't end the loop. */
  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  poke(): void {
    this.#dirty = true;
    if (!this.#running) void this.#loop();
  }

  /** Resolves when nothing runs and nothing is pending. */
  idle(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async #loop(): Promise<void> {
    this.#running = true;
    while (this.#dirty) {
      this.#dirty = false;
      try {
        await this.#work();
      } catch {
        // See the constructor; a throw before the first await is one, too.
      }
      // Work that waits for nothing and pokes itself must not keep everything else of the process from its turn.
      if (this.#dirty) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#running = false;
    for (const done of this.#idle.splice(0)) done();
  }
}
