import type { Pod } from '../../kube/index.ts';
import { type Amounts, amountOf, podRequests } from '../containers/resources.ts';

export interface Shortage {
  resource: string;
  requested: number;
  used: number;
  capacity: number;
}

/** In the order in which upstream looks at them. */
const BASE = ['cpu', 'memory', 'ephemeral-storage'];

/** Requests of a pod that was admitted; one that can't be read uses nothing, since it can't run either. */
export function usedBy(pod: Pod): Amounts {
  try {
    return podRequests(pod);
  } catch {
    return new Map();
  }
}

/** Extended resources belong to device plugins; one the node does not offer may be the cluster's own business. */
function isExtended(name: string): boolean {
  return name.includes('/') && !name.includes('kubernetes.io/') && !name.startsWith('requests.');
}

/**
 * All that the pod asks for and the node has not left, in upstream's order. Throws `QUANTITY_INVALID` if the pod's own
 * requests can't be read.
 */
export function shortages(pod: Pod, active: readonly Pod[], allocatable: Readonly<Record<string, string>>): Shortage[] {
  const found: Shortage[] = [];
  const capacity = (name: string) =>
    allocatable[name] === undefined ? 0 : amountOf(name, allocatable[name] as string);
  const pods = capacity('pods');
  if (allocatable.pods !== undefined && active.length + 1 > pods)
    found.push({ resource: 'pods', requested: 1, used: active.length, capacity: pods });
  const requests = [...podRequests(pod)].filter(([, amount]) => amount > 0);
  if (requests.length === 0) return found;
  const used: Amounts = new Map();
  for (const other of active)
    for (const [name, amount] of usedBy(other)) used.set(name, (used.get(name) ?? 0) + amount);
  const rank = (name: string) => (BASE.includes(name) ? BASE.indexOf(name) : BASE.length);
  requests.sort(([a], [b]) => rank(a) - rank(b));
  for (const [resource, requested] of requests) {
    // Of a node that has not told its resources yet nothing can be said; refusing would be for good.
    const unknown = allocatable[resource] === undefined && (isExtended(resource) || BASE.includes(resource));
    if (unknown) continue;
    const have = capacity(resource);
    const taken = used.get(resource) ?? 0;
    if (requested > have - taken) found.push({ resource, requested, used: taken, capacity: have });
  }
  return found;
}
