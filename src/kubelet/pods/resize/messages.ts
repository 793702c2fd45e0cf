import type { Pod } from '../../../kube/index.ts';
import { containersOf } from '../model.ts';

/** The text of an event about a resize: what the pod asks for, as JSON (kubelet events/resize.go). */
export function resizeMessage(what: string, pod: Pod, generation: number, error?: string): string {
  const of = (...kinds: string[]) =>
    containersOf(pod)
      .filter(({ kind }) => kinds.includes(kind))
      .map(({ spec: { name, resources } }) => ({ name, resources: resources ?? {} }));
  const init = of('init', 'sidecar');
  const summary = {
    ...(init.length > 0 ? { initContainers: init } : {}),
    containers: of('app'),
    generation,
    ...(error ? { error } : {}),
  };
  return `${what}: ${JSON.stringify(summary)}`;
}
