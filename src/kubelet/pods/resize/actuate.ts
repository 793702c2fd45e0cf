import type { Pod } from '../../../kube/index.ts';
import type { PodMemory } from '../memory.ts';
import {
  containersOf,
  latest,
  type ObservedContainer,
  type PodContainer,
  type PodView,
  type SpecContainer,
} from '../model.ts';
import type { PodReports } from '../reports.ts';
import { resizeMessage } from './messages.ts';
import { allocationIn, sameSize, sizeOf, withAllocation } from './size.ts';

/** A running container that is not yet as large as it is to be. */
export interface Growing {
  spec: PodContainer;
  observed: ObservedContainer;
  /** Its resize policy asks for a restart where this resource changes. */
  restarts: boolean;
}

export function growing(pod: Pod, view: PodView, memory: PodMemory): Growing[] {
  return containersOf(pod).flatMap((container) => {
    const observed = latest(view, container.spec.name);
    return (observed && growth(pod, container, observed, memory)) ?? [];
  });
}

/** Undefined: it is as large as it is to be, or does not run. */
export function growth(
  pod: Pod,
  { kind, spec }: SpecContainer,
  observed: ObservedContainer,
  memory: PodMemory,
): Growing | undefined {
  const has = observed.state === 'running' ? memory.actuated.get(observed.id) : undefined;
  if (has === undefined || kind === 'ephemeral') return undefined;
  const wants = sizeOf(pod, spec);
  if (wants === undefined || sameSize(has.size, wants)) return undefined;
  const changed = (['cpu', 'memory'] as const).filter((name) => has.size?.[name] !== wants[name]);
  const policies = Array.isArray(spec.resizePolicy) ? spec.resizePolicy : [];
  const restarts = changed.some((name) =>
    policies.some((p) => p?.resourceName === name && p.restartPolicy === 'RestartContainer'),
  );
  return { spec, observed, restarts: restarts && kind !== 'init' };
}

/**
 * Keeps `memory.actuated` for what runs: a container of an earlier run of the agent has what its status said. Tells
 * when a resize is wholly done.
 */
export function followResize(pod: Pod, view: PodView, memory: PodMemory, reports: PodReports): void {
  for (const observed of view.containers) {
    if (observed.state !== 'running' || memory.actuated.has(observed.id)) continue;
    const spec = containersOf(pod).find(({ spec }) => spec.name === observed.name)?.spec;
    if (spec === undefined) continue;
    const had = withAllocation(pod, allocationIn(pod, statusOf(pod, observed.id) ? pod.status : undefined));
    const before = containersOf(had).find((c) => c.spec.name === observed.name)?.spec ?? spec;
    memory.actuated.set(observed.id, { size: sizeOf(had, before), resources: before.resources });
  }
  const running = new Set(view.containers.filter((c) => c.state === 'running').map((c) => c.id));
  for (const id of memory.actuated.keys()) if (!running.has(id)) memory.actuated.delete(id);
  const { generation } = memory.resize;
  if (generation === undefined || growing(pod, view, memory).length > 0) return;
  const { pending } = memory.resize;
  memory.resize = pending ? { pending } : {};
  reports.pod('Normal', 'ResizeCompleted', resizeMessage('Pod resize completed', pod, generation));
}

function statusOf({ status }: Pod, id: string): boolean {
  return [status?.initContainerStatuses, status?.containerStatuses].some(
    (list) => Array.isArray(list) && list.some((s) => s?.containerID?.endsWith(`://${id}`) && s.resources),
  );
}
