import { type Clock, Coalescer, createBackoff, describeError, type Logger } from '../../core/index.ts';

/**
 * Gives the function that asks for a list of what the runtime holds. It is tried until the runtime has answered; asked
 * for again meanwhile, it lists once more, and cuts a pause short.
 */
export function createRelisting(options: {
  list(): Promise<void>;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}): () => void {
  const { list, clock, log, signal } = options;
  const pauses = createBackoff({ initialMs: 500, maxMs: 30_000 });
  let cutPause: () => void = () => {};
  const loop = new Coalescer(async () => {
    if (signal.aborted) return;
    try {
      await list();
      pauses.reset();
    } catch (error) {
      log.warn('the container runtime could not be listed', { error: describeError(error) });
      const pause = new AbortController();
      cutPause = () => pause.abort();
      await clock.sleep(pauses.next(), AbortSignal.any([signal, pause.signal])).catch(() => {});
      loop.poke();
    }
  });
  return () => {
    cutPause();
    loop.poke();
  };
}
