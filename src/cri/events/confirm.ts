import { errorCode, isAbort } from '../../core/index.ts';
import type { RuntimeService } from '../types.ts';

export interface ConfirmOptions {
  runtime: Pick<RuntimeService, 'containerStatus' | 'podSandboxStatus'>;
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  signal: AbortSignal;
}

/** Milliseconds between looks; together about 1.6 s, after which the event is passed on as it is. */
const PAUSES = [0, 4, 8, 15, 30, 60, 120, 250, 500, 600];

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
        if (state !== 'CONTAINER_RUNNING') return 'container';
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
