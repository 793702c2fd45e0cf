import { errorCode, isAbort } from '../../core/index.ts';
import type { RuntimeService } from '../types.ts';

export interface ConfirmOptions {
  runtime: Pick<RuntimeService, 'containerStatus' | 'podSandboxStatus'>;
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  signal: AbortSignal;
}

/**
 * Milliseconds between looks, together 2 s, after which the event is passed on as it is. CRI writes the exit to disk
 * first, which takes 10 to 30 ms here and several times that on a card.
 */
const PAUSES = [0, 5, 5, 5, 10, 10, 10, 15, 15, 15, 20, 20, 30, 40, 50, 100, 150, 300, 500, 700];

/**
 * Waits until CRI itself has taken note of an exit. containerd's TaskExit goes to CRI's own bookkeeping and to us at
 * the same moment: whoever looks at once still finds the container running, and nothing would tell him later. Says what
 * the id was: a sandbox's exit comes the same way.
 */
export async function confirmExit(id: string, options: ConfirmOptions): Promise<'container' | 'sandbox' | 'gone'> {
  const { runtime, sleep, signal } = options;
  let sandbox = false;
  for (const pause of PAUSES) {
    if (pause > 0) await sleep(pause, signal);
    try {
      if (!sandbox) {
        const { state } = await runtime.containerStatus(id, { signal, timeoutMs: 5_000 });
        // Still "created": it was over before StartContainer had come to its end.
        if (state === 'CONTAINER_EXITED' || state === 'CONTAINER_UNKNOWN') return 'container';
        continue;
      }
      const { state } = await runtime.podSandboxStatus(id, { signal, timeoutMs: 5_000 });
      if (state !== 'SANDBOX_READY') return 'sandbox';
    } catch (error) {
      if (isAbort(error)) throw error;
      if (errorCode(error) !== 'CRI_NOT_FOUND') return sandbox ? 'sandbox' : 'container';
      if (sandbox) return 'gone';
      sandbox = true;
    }
  }
  return sandbox ? 'sandbox' : 'container';
}
