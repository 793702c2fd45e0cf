import type { Clock } from '../../core/index.ts';
import { isStatus } from '../../kube/index.ts';

const PAUSES_MS = [100, 300, 1_150];

/**
 * Asks for something of a pod again while the server forbids it: its authorizer learns of a pod that was just bound, of
 * what that names, of its claim's volume, a moment after we do.
 */
export async function onceAllowed<T>(ask: () => Promise<T>, clock: Clock, signal?: AbortSignal): Promise<T> {
  for (const pause of PAUSES_MS)
    try {
      return await ask();
    } catch (error) {
      if (!isStatus(error, 403)) throw error;
      await clock.sleep(pause, signal);
    }
  return ask();
}
