import { type Clock, Coalescer, createBackoff, describeError, isAbort, type Logger } from '../core/index.ts';

/** A piece of work that is repeated until it succeeds and again whenever something it depends on changed. */
export interface Task {
  /** Runs the work now, or once more after the run that is under way. */
  poke(): void;
  /** Resolves when nothing runs. */
  idle(): Promise<void>;
  readonly lastError: string | undefined;
}

export interface TaskOptions {
  /** For the log: what could not be done. */
  what: string;
  work: (signal: AbortSignal) => Promise<void>;
  signal: AbortSignal;
  log: Logger;
  clock: Clock;
}

/** Failures are said once a cause and retried after 1 to 30 s; a success after one is said, too. */
export function createTask({ what, work, signal, log, clock }: TaskOptions): Task {
  const backoff = createBackoff({ initialMs: 1_000, maxMs: 30_000 });
  let lastError: string | undefined;
  let cancel = () => {};
  const coalescer = new Coalescer(async () => {
    if (signal.aborted) return;
    cancel();
    try {
      await work(signal);
      if (lastError !== undefined) log.info(`${what}: works again`);
      lastError = undefined;
      backoff.reset();
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      const text = describeError(error);
      const remedy = (error as { remedy?: unknown }).remedy;
      if (text !== lastError)
        log.warn(`${what}: failed, is tried again`, { error: text, ...(remedy ? { remedy } : {}) });
      lastError = text;
      cancel = clock.after(backoff.next(), () => coalescer.poke());
    }
  });
  return {
    poke: () => coalescer.poke(),
    idle: () => coalescer.idle(),
    get lastError() {
      return lastError;
    },
  };
}
