import type { Pod } from '../../kube/index.ts';
import { podRequests } from '../containers/resources.ts';
import type { StarvedResource } from './signals.ts';

/** What one pod uses of a resource: bytes, inodes or processes; undefined if that isn't known. */
export type UsageOf = (pod: Pod) => number | undefined;

/**
 * The pods in the order in which they have to go (pkg/kubelet/eviction/helpers.go): those whose use nobody knows, those
 * that use more than they asked for, the less important, those furthest above their requests. Processes can't be asked
 * for: there only importance and number count.
 */
export function rankForEviction(pods: readonly Pod[], resource: StarvedResource, usageOf: UsageOf): Pod[] {
  const ranked = pods.map((pod) => {
    const usage = usageOf(pod);
    const request = requestOf(pod, resource);
    // Upstream measures inodes against nothing for "exceeds", then sorts them by what is above the bytes asked for.
    const exceeds = usage === undefined || usage > (resource === 'inodes' ? 0 : request);
    const above = usage === undefined ? Number.POSITIVE_INFINITY : usage - (resource === 'pids' ? 0 : request);
    return { pod, unknown: usage === undefined, exceeds, above, priority: pod.spec.priority ?? 0 };
  });
  const first = (a: boolean, b: boolean) => Number(b) - Number(a);
  ranked.sort((a, b) => {
    if (resource !== 'pids') {
      const order = first(a.unknown, b.unknown) || first(a.exceeds, b.exceeds);
      if (order !== 0) return order;
    }
    if (a.priority !== b.priority) return a.priority - b.priority;
    return a.above === b.above ? 0 : a.above > b.above ? -1 : 1;
  });
  return ranked.map(({ pod }) => pod);
}

function requestOf(pod: Pod, resource: StarvedResource): number {
  const name = resource === 'memory' ? 'memory' : 'ephemeral-storage';
  try {
    return podRequests(pod).get(name) ?? 0;
  } catch {
    return 0;
  }
}
