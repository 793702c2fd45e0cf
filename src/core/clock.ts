/** Time as a port, so that backoffs, leases and deadlines can be tested without waiting. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. Boards without a clock chip start in the past and jump. */
  now(): number;
  /** Milliseconds that never jump; for durations and deadlines. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with an AbortError as soon as `signal` fires. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `fn` once after `ms`. The returned function cancels it. A timer never keeps the process alive. */
  after(ms: number, fn: () => void): () => void;
}

/** Node counts timers in 32 bits: a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Calls `fn` after `ms`, however many years that is; `keep` lets the timer keep the process alive. */
function startTimer(ms: number, fn: () => void, keep: boolean): () => void {
  const arm = (left: number): NodeJS.Timeout => {
    const now = Math.min(left, LONGEST_TIMER_MS);
    const made = setTimeout(() => {
      if (left > now) timer = arm(left - now);
      else fn();
    }, now);
    return keep ? made : made.unref();
  };
  let timer = arm(ms);
  return () => clearTimeout(timer);
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError());
      const onAbort = () => {
        cancel();
        reject(abortError());
      };
      const cancel = startTimer(
        ms,
        () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        true,
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
  after: (ms, fn) => startTimer(ms, fn, false),
};

/** The error of every wait that was cut short by its signal. */
export function abortError(): Error {
  return new DOMException('The operation was aborted', 'AbortError');
}

/** Ends one asker's wait, with an AbortError, when its signal fires; the work itself goes on for whoever shares it. */
export function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortError());
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** RFC 3339 with seconds, as metav1.Time is written. */
export function rfc3339(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** RFC 3339 with microseconds, as metav1.MicroTime (lease renewTime) is written. */
export function rfc3339Micro(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000Z`;
}
