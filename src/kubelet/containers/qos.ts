import type { Pod } from '../../kube/index.ts';
import { limitsOf, parseAmounts, podRequests, requestsOf } from './resources.ts';
import { type AnyContainer, isCriticalPod, isSidecar, specOf } from './spec.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const COUNTED = ['cpu', 'memory'] as const;

/**
 * The pod's QoS class (kubelet pkg/apis/core/v1/helper/qos): what its spec says, unless its status was set already. One
 * whose amounts can't be read gets nothing, and is not admitted anyway.
 */
export function qosClassOf(pod: Pod): QosClass {
  const known = pod.status?.qosClass;
  if (known === 'Guaranteed' || known === 'Burstable' || known === 'BestEffort') return known;
  try {
    return computed(pod);
  } catch {
    return 'BestEffort';
  }
}

function computed(pod: Pod): QosClass {
  const level = specOf(pod).resources;
  if (level !== undefined) {
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
  const shared = unclaimedMemory(pod);
  const score = (bytes: number) => 1000 - Math.floor((1000 * (bytes + shared)) / Math.max(1, memoryCapacity));
  let adj = score(requestsOf(container).get('memory') ?? 0);
  if (isSidecar(container) && pod.spec.initContainers?.some((c) => c.name === container.name)) {
    const least = Math.min(...pod.spec.containers.map((c) => requestsOf(c).get('memory') ?? 0));
    adj = Math.min(adj, score(Number.isFinite(least) ? least : 0));
  }
  return Math.min(999, Math.max(3, adj));
}

/** What a pod asks for as a whole and none of its containers claims: each gets an equal share. */
function unclaimedMemory(pod: Pod): number {
  const asked = parseAmounts(specOf(pod).resources?.requests).get('memory') ?? 0;
  if (asked === 0) return 0;
  const { containers, initContainers = [] } = pod.spec;
  const inner = podRequests({ ...pod, spec: { containers, initContainers } }).get('memory') ?? 0;
  return Math.max(0, Math.floor((asked - inner) / Math.max(1, containers.length + initContainers.length)));
}
