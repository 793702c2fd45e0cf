import type { Pod } from '../../../kube/index.ts';
import type { Refusal } from '../../admission/index.ts';
import type { PodMemory } from '../memory.ts';
import type { PodReports } from '../reports.ts';
import { resizeMessage } from './messages.ts';
import { allocationIn, allocationOf, isResized, withAllocation } from './size.ts';

/** Resizes came with Kubernetes 1.33; before, nobody could ask for one. */
const SINCE_MINOR = 33;

export interface AllocateDeps {
  serverMinor(): number;
  reports: PodReports;
  /** Undefined: it fits. */
  refuse(pod: Pod): Refusal | undefined;
}

/**
 * The pod as it is to run: with the resources it asks for, if it can have them, else with those it had
 * (kubelet allocation_manager.go, handlePodResourcesResize). Keeps what was decided in `memory.resize`.
 */
export function allocate(before: Pod, asked: Pod, memory: PodMemory, deps: AllocateDeps): Pod {
  if (deps.serverMinor() < SINCE_MINOR || memory.finished) return asked;
  const { pending } = memory.resize;
  if (!isResized(before, asked)) {
    memory.resize.pending = undefined;
    // Resources that are written otherwise, but are the same.
    return asked;
  }
  const generation = asked.metadata.generation ?? 0;
  const refusal = deps.refuse(asked);
  if (refusal === undefined) {
    memory.resize = { generation };
    deps.reports.pod('Normal', 'ResizeStarted', resizeMessage('Pod resize started', asked, generation));
    return asked;
  }
  if (pending?.reason !== refusal.reason || pending.generation !== generation)
    deps.reports.pod(
      'Warning',
      `Resize${refusal.reason}`,
      resizeMessage(`Pod resize ${refusal.reason}`, asked, generation, refusal.message),
    );
  memory.resize.pending = { ...refusal, generation };
  return withAllocation(asked, allocationOf(before));
}

/** After a restart of the agent: a pod whose resize was put off runs with what its status says it was given. */
export function adoptAllocation(pod: Pod, memory: PodMemory): Pod {
  const pending = pod.status?.conditions?.find((c) => c?.type === 'PodResizePending');
  if (pending === undefined) return pod;
  const reason = pending.reason === 'Infeasible' ? 'Infeasible' : 'Deferred';
  const { observedGeneration } = pending as { observedGeneration?: number };
  const generation = observedGeneration ?? pod.metadata.generation ?? 0;
  memory.resize.pending = { reason, message: pending.message ?? '', generation };
  return withAllocation(pod, allocationIn(pod, pod.status));
}
