import { errorCode, isAbort } from '../../core/index.ts';
import type { RuntimeService } from '../types.ts';

export interface ConfirmOptions {
  runtime: Pick<RuntimeService, 'containerStatus' | 'podSandboxStatus'>;
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  signal: AbortSignal;
}

/**
 * Milliseconds before each look, together 2 s, after which the event is passed on as it is. CRI writes the exit to disk
 * first, which takes 10 to 30 ms on a PC and several times that on a card; looking sooner only keeps it from doing so,
 * and forty pods that end at once would cost a second of processor time in looks alone.
 */
const PAUSES = [25, 15, 20, 30, 40, 60, 100, 150, 250, 500, 800];

/**
 * Waits until CRI itself has taken note of an exit. containerd's TaskExit goes to CRI's own bookkeeping and to us at
 * the same moment: whoever looks at once still finds the container running, and nothing would tell him later. Says what
 * the id was: a sandbox's exit comes the same way.
 */
export async function confirmExit(id: string, options: ConfirmOptions): Promise<'container' | 'sandbox' | 'gone'> {
  const { runtime, sleep, signal } = options;
  const call = { signal, timeoutMs: 5_000 };
  let what: 'container' | 'sandbox' = 'container';
  for (const pause of PAUSES) {
    await sleep(pause, signal);
    try {
      if (what === 'container') {
        const found = await runtime.containerStatus(id, call).catch(unlessNotFound);
        // Still "created": it was over before StartContainer had come to its end.
        if (found?.state === 'CONTAINER_EXITED' || found?.state === 'CONTAINER_UNKNOWN') return what;
        if (found !== undefined) continue;
        what = 'sandbox';
      }
      const found = await runtime.podSandboxStatus(id, call).catch(unlessNotFound);
      if (found === undefined) return 'gone';
      if (found.state !== 'SANDBOX_READY') return what;
    } catch (error) {
      if (isAbort(error)) throw error;
      return what;
    }
  }
  return what;
}

function unlessNotFound(error: unknown): undefined {
  if (errorCode(error) !== 'CRI_NOT_FOUND') throw error;
}
