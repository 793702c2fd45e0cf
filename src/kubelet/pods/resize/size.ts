import type { Pod, PodStatus, ResourceRequirements } from '../../../kube/index.ts';
import { effectiveLimits, requestsOf } from '../../containers/resources.ts';
import { specOf } from '../../containers/spec.ts';
import { containersOf, type PodContainer } from '../model.ts';

/** What a container may use, in a form that can be compared: `500/1000` for half a core asked for, one at most. */
export interface Size {
  cpu: string;
  memory: string;
}

/** Undefined if its quantities can't be read. */
export function sizeOf(pod: Pod, container: PodContainer): Size | undefined {
  try {
    const requests = requestsOf(container);
    const limits = effectiveLimits(pod, container);
    const of = (name: string) => `${requests.get(name) ?? 0}/${limits.get(name) ?? 0}`;
    return { cpu: of('cpu'), memory: of('memory') };
  } catch {
    return undefined;
  }
}

export function sameSize(a: Size | undefined, b: Size | undefined): boolean {
  return a?.cpu === b?.cpu && a?.memory === b?.memory;
}

/** Resources of a pod by container name, and of the pod as a whole under the empty name. */
export type Allocation = ReadonlyMap<string, ResourceRequirements | undefined>;

export function allocationOf(pod: Pod): Allocation {
  const containers = containersOf(pod).map(({ spec }) => [spec.name, spec.resources] as const);
  return new Map([['', specOf(pod).resources], ...containers]);
}

/** What a status says its containers were last given; the spec's where it says nothing. */
export function allocationIn(pod: Pod, status: PodStatus | undefined): Allocation {
  const said = new Map<string, ResourceRequirements | undefined>(allocationOf(pod));
  for (const list of [status?.initContainerStatuses, status?.containerStatuses])
    for (const { name, resources } of Array.isArray(list) ? list : [])
      if (resources && said.has(name)) said.set(name, resources);
  return said;
}

/** The pod with those resources instead of the ones its spec asks for. */
export function withAllocation(pod: Pod, allocation: Allocation): Pod {
  const give = <T extends PodContainer>(container: T): T =>
    withResources(container, allocation.has(container.name) ? allocation.get(container.name) : container.resources);
  const { initContainers } = pod.spec;
  return {
    ...pod,
    spec: {
      ...withResources(specOf(pod), allocation.get('')),
      containers: pod.spec.containers.map(give),
      ...(initContainers ? { initContainers: initContainers.map(give) } : {}),
    } as Pod['spec'],
  };
}

function withResources<T extends { resources?: unknown }>(of: T, resources: ResourceRequirements | undefined): T {
  const { resources: _, ...rest } = of;
  return (resources === undefined ? rest : { ...rest, resources }) as T;
}

/** True if a resize was asked for between these versions of a pod. */
export function isResized(before: Pod, after: Pod): boolean {
  if (JSON.stringify(specOf(before).resources) !== JSON.stringify(specOf(after).resources)) return true;
  const old = new Map(containersOf(before).map(({ spec }) => [spec.name, spec]));
  return containersOf(after).some(({ spec }) => {
    const known = old.get(spec.name);
    // Most versions of a pod share no objects, but nearly all are written alike.
    if (known === undefined || JSON.stringify(known.resources) === JSON.stringify(spec.resources)) return false;
    return !sameSize(sizeOf(before, known), sizeOf(after, spec));
  });
}
