/** A growing pause as a value: `next()` gives the pause in milliseconds and grows it, `reset()` starts over. */
export interface Backoff {
  next(): number;
  reset(): void;
  /** How many times `next()` was called since the last reset. */
  readonly attempts: number;
}

export interface BackoffOptions {
  initialMs: number;
  maxMs: number;
  /** Growth per try; 2 when left out. */
  factor?: number;
  /** Share of the pause that is random, 0 to 1; keeps a fleet from knocking in step. 0.2 when left out. */
  jitter?: number;
  /** A number in [0, 1); Math.random when left out. */
  random?: () => number;
}

export function createBackoff(options: BackoffOptions): Backoff {
  const { initialMs, maxMs, factor = 2, jitter = 0.2, random = Math.random } = options;
  let attempts = 0;
  return {
    next() {
      const base = Math.min(maxMs, initialMs * factor ** Math.min(attempts, 60));
      attempts++;
      return Math.round(base * (1 + jitter * random()));
    },
    reset() {
      attempts = 0;
    },
    get attempts() {
      return attempts;
    },
  };
}
