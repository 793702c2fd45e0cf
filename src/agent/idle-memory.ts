import type { Clock } from '../core/index.ts';

/** After so long without anything happening. */
const QUIET_MS = 15_000;

/**
 * Gives memory back after a burst. V8 collects when it allocates, so a board that has just started forty pods and falls
 * silent would keep the garbage of that for hours. `poke` at everything that happens; the collection runs once it stays
 * quiet. Needs `--expose-gc`, which the build sets; without it this does nothing.
 */
export function createIdleMemory(clock: Clock): { poke(): void; stop(): void } {
  const collect = (globalThis as { gc?: (options: { type: 'major'; flavor: 'last-resort' }) => void }).gc;
  let cancel: (() => void) | undefined;
  let last = 0;
  const arm = (ms: number) => {
    cancel = clock.after(ms, () => {
      const left = last + QUIET_MS - clock.monotonic();
      cancel = undefined;
      if (left > 0) arm(left);
      else collect?.({ type: 'major', flavor: 'last-resort' });
    });
  };
  return {
    poke() {
      last = clock.monotonic();
      if (collect !== undefined && cancel === undefined) arm(QUIET_MS);
    },
    stop() {
      cancel?.();
      cancel = undefined;
    },
  };
}
