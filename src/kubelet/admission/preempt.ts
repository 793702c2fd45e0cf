import { AgentError } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import { qosClassOf } from '../containers/qos.ts';
import { isCriticalPod } from '../containers/spec.ts';
import { type Shortage, usedBy } from './fit.ts';

/** Amounts still to be freed, by resource name. */
type Needs = ReadonlyMap<string, number>;

/** True if the one pod may push the other off the node (pkg/kubelet/types, Preemptable). */
function mayPreempt(pod: Pod, other: Pod): boolean {
  if (isCriticalPod(pod) && !isCriticalPod(other)) return true;
  const [a, b] = [pod.spec.priority, other.spec.priority];
  return typeof a === 'number' && typeof b === 'number' && a > b;
}

/**
 * The pods that have to go for a critical pod to have its place (pkg/kubelet/preemption): as few as possible and best
 * effort ones first, then burstable, then guaranteed; of those that free as much the one that asks for least. Throws
 * `PREEMPTION` in upstream's words if all that may go would not free enough.
 */
export function podsToPreempt(pod: Pod, active: readonly Pod[], shortages: readonly Shortage[]): Pod[] {
  const needs: Needs = new Map(shortages.map((s) => [s.resource, s.requested - (s.capacity - s.used)]));
  const candidates = active.filter((other) => mayPreempt(pod, other));
  const of = (qos: string) => candidates.filter((other) => qosClassOf(other) === qos);
  const [guaranteed, burstable, bestEffort] = [of('Guaranteed'), of('Burstable'), of('BestEffort')];
  const unmet = less(needs, candidates);
  if (unmet.size > 0) throw notEnough(unmet);
  const first = choose(guaranteed, less(needs, [...bestEffort, ...burstable]));
  const second = choose(burstable, less(needs, [...bestEffort, ...first]));
  const third = choose(bestEffort, less(needs, [...second, ...first]));
  return [...third, ...second, ...first];
}

/** By repeatedly taking the pod that comes nearest to what is still needed. */
function choose(pods: readonly Pod[], needs: Needs): Pod[] {
  const left = [...pods];
  const chosen: Pod[] = [];
  let open = needs;
  while (open.size > 0) {
    let best: Pod | undefined;
    let bestDistance = Number.POSITIVE_INFINITY;
    for (const pod of left) {
      const distance = distanceOf(pod, open);
      if (best === undefined || distance < bestDistance || (distance === bestDistance && isSmaller(pod, best))) {
        best = pod;
        bestDistance = distance;
      }
    }
    if (best === undefined) throw notEnough(open);
    chosen.push(best);
    left.splice(left.indexOf(best), 1);
    open = less(open, [best]);
  }
  return chosen;
}

/** How much of each need the pod would leave unmet, each need counting the same. */
function distanceOf(pod: Pod, needs: Needs): number {
  let sum = 0;
  for (const [resource, need] of needs) {
    const left = need - requestOf(pod, resource);
    if (left > 0) sum += (left / need) ** 2;
  }
  return sum;
}

function less(needs: Needs, pods: readonly Pod[]): Needs {
  const left = new Map<string, number>();
  for (const [resource, need] of needs) {
    const rest = pods.reduce((sum, pod) => sum - requestOf(pod, resource), need);
    if (rest > 0) left.set(resource, rest);
  }
  return left;
}

function requestOf(pod: Pod, resource: string): number {
  return resource === 'pods' ? 1 : (usedBy(pod).get(resource) ?? 0);
}

function isSmaller(a: Pod, b: Pod): boolean {
  for (const resource of ['memory', 'cpu']) {
    const difference = requestOf(a, resource) - requestOf(b, resource);
    if (difference !== 0) return difference < 0;
  }
  return true;
}

function notEnough(needs: Needs): AgentError {
  const list = [...needs].map(([resource, amount]) => `(res: ${resource}, q: ${amount}), `).join('');
  return new AgentError({
    code: 'PREEMPTION',
    message: `preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [${list}]`,
  });
}
