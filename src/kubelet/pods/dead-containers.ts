import { describeError, type Logger } from '../../core/index.ts';
import type { RuntimeService } from '../../cri/types.ts';
import type { LogLinks } from './files.ts';
import type { RuntimeView } from './runtime-view.ts';
import type { PodWorker } from './worker.ts';

/**
 * Removes the containers of pods that have ended for good, with what they wrote: for a disk that is short. Statuses keep
 * what they said; logs stay until the pod is deleted.
 */
export async function removeDeadContainers(
  workers: Iterable<PodWorker>,
  deps: { runtime: RuntimeService; view: RuntimeView; links: LogLinks; log: Logger },
  signal: AbortSignal,
): Promise<void> {
  const { runtime, view, links, log } = deps;
  for (const { uid, pod, memory } of [...workers]) {
    if (!memory.finished || !memory.tornDown) continue;
    const { name = '', namespace = '' } = pod.metadata;
    for (const container of view.get(uid).containers) {
      if (container.state !== 'exited') continue;
      try {
        await runtime.removeContainer(container.id, { signal });
        view.drop(container.id);
        await links.remove({ pod: name, namespace, container: container.name, id: container.id });
      } catch (error) {
        if (signal.aborted) throw error;
        log.debug('a dead container could not be removed', { pod: name, error: describeError(error) });
      }
    }
  }
}
