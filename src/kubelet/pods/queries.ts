import { containersOf } from './model.ts';
import type { RuntimeView } from './runtime-view.ts';
import type { PodWorker } from './worker.ts';

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
