import { containersOf, generations } from './model.ts';
import type { RuntimeView } from './runtime-view.ts';
import type { PodWorker } from './worker.ts';

/** The worker of `namespace/name`; the one not on its way out if there are two of that name. */
export function workerByName(workers: Iterable<PodWorker>, namespace: string, name: string): PodWorker | undefined {
  let found: PodWorker | undefined;
  for (const worker of workers) {
    const { metadata } = worker.pod;
    if (metadata.namespace !== namespace || metadata.name !== name) continue;
    if (found === undefined || found.ending) found = worker;
  }
  return found;
}

/** The runtime's id of a container, or of the one before it. */
export function containerIdIn(
  view: RuntimeView,
  uid: string,
  container: string,
  options: { previous?: boolean } = {},
): string | undefined {
  return generations(view.get(uid), container)[options.previous ? 1 : 0]?.id;
}

/** The images that pods with work left are made of, as their specs name them. */
export function* wantedImages(workers: Iterable<PodWorker>): Iterable<string> {
  for (const { pod, memory } of workers) {
    if (memory.finished) continue;
    for (const { spec } of containersOf(pod)) if (typeof spec.image === 'string') yield spec.image;
    for (const volume of pod.spec.volumes ?? []) {
      const { image } = volume as { image?: { reference?: string } };
      if (typeof image?.reference === 'string') yield image.reference;
    }
  }
}

/** The log of each running container, by its runtime id. */
export function* runningLogs(view: RuntimeView): Iterable<{ containerId: string; path: string }> {
  for (const { uid } of view.pods())
    for (const { id, state, logPath } of view.get(uid).containers)
      if (state === 'running') yield { containerId: id, path: logPath };
}
