import type { Pod } from '../../kube/index.ts';
import { podsToPreempt, type Shortage } from '../admission/index.ts';
import type { Eviction } from './evict.ts';

/** What the pods that have to go are told (pkg/kubelet/preemption). */
const PREEMPTED: Eviction = {
  reason: 'Preempting',
  message: 'Preempted in order to admit critical pod',
  disruption: 'Pod was preempted by Kubelet to accommodate a critical pod.',
};

/**
 * Makes place for a critical pod; resolves when that is there, or the time of those that had to go is over. Throws
 * `PREEMPTION` if they could not make enough.
 */
export async function makeRoom(
  pod: Pod,
  input: { active: readonly Pod[]; shortages: readonly Shortage[] },
  evict: (podUid: string, eviction: Eviction) => Promise<void>,
): Promise<void> {
  const victims = podsToPreempt(pod, input.active, input.shortages);
  await Promise.all(victims.map((victim) => evict(victim.metadata.uid as string, PREEMPTED)));
}
