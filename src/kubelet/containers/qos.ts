import type { Pod } from '../../kube/index.ts';
import { limitsOf, parseAmounts, requestsOf } from './resources.ts';
import { type AnyContainer, isCriticalPod, isSidecar, specOf } from './spec.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const COUNTED = ['cpu', 'memory'] as const;

/** The pod's QoS class (kubelet pkg/apis/core/v1/helper/qos): what its spec says, unless its status was set already. */
export function qosClassOf(pod: Pod): QosClass {
  const known = pod.status?.qosClass;
  if (known === 'Guaranteed' || known === 'Burstable' || known === 'BestEffort') return known;
  const level = specOf(pod).resources;
  if (level?.requests || level?.limits) {
    const limits = parseAmounts(level.limits);
    return classify([[new Map([...limits, ...parseAmounts(level.requests)]), limits]]);
  }
  return classify(
    [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].map((c) => [requestsOf(c), limitsOf(c)]),
  );
}

function classify(pairs: [Map<string, number>, Map<string, number>][]): QosClass {
  let any = false;
  let guaranteed = true;
  for (const [requests, limits] of pairs) {
    for (const name of COUNTED) {
      const request = requests.get(name) ?? 0;
      const limit = limits.get(name) ?? 0;
      if (request > 0 || limit > 0) any = true;
      if (limit === 0 || request !== limit) guaranteed = false;
    }
  }
  return !any ? 'BestEffort' : guaranteed ? 'Guaranteed' : 'Burstable';
}

/**
 * oom_score_adj of a container: -997 guaranteed, 1000 best effort, between them by the share of the memory it asked for
 * (kubelet pkg/kubelet/qos/policy.go). `memoryCapacity` in bytes.
 */
export function oomScoreAdj(pod: Pod, container: AnyContainer, memoryCapacity: number): number {
  if (isCriticalPod(pod) && pod.spec.priorityClassName === 'system-node-critical') return -997;
  const qos = qosClassOf(pod);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const score = (bytes: number) => 1000 - Math.floor((1000 * bytes) / Math.max(1, memoryCapacity));
  let adj = score(requestsOf(container).get('memory') ?? 0);
  if (isSidecar(container) && pod.spec.initContainers?.some((c) => c.name === container.name)) {
    const least = Math.min(...pod.spec.containers.map((c) => requestsOf(c).get('memory') ?? 0));
    adj = Math.min(adj, score(Number.isFinite(least) ? least : 0));
  }
  return Math.min(999, Math.max(3, adj));
}
