import type { Clock } from '../../core/index.ts';
import type { EventRecorder } from '../../kube/index.ts';
import { graceSeconds } from './kill-cause.ts';
import { podReference } from './reports.ts';
import type { PodWorker } from './worker.ts';

/** How a pod is put off the node. */
export interface Eviction {
  /** Of its status and event: `Evicted`, `Preempting`. */
  reason: string;
  message: string;
  /** Of the event. */
  annotations?: Readonly<Record<string, string>>;
  /** Seconds from TERM to KILL; the pod's own when left out. */
  graceSeconds?: number;
  /** No event is recorded. */
  silent?: true;
  /** It goes for the sake of others: message of its DisruptionTarget condition. */
  disruption?: string;
}

/** After its grace a pod's end is waited for so long (eviction_manager.go, podCleanupTimeout). */
const PATIENCE_MS = 30_000;

/** Ends the pod as failed; resolves once nothing of it runs any more, or when that takes too long. */
export async function evictPod(
  worker: PodWorker,
  eviction: Eviction,
  deps: { recorder: EventRecorder; clock: Clock; onPodsChanged(handler: () => void): () => void },
  signal: AbortSignal,
): Promise<void> {
  const { reason, message, annotations, graceSeconds: grace, disruption } = eviction;
  if (!eviction.silent) deps.recorder.event(podReference(worker.pod), 'Warning', reason, message, annotations);
  worker.fail({
    reason,
    message,
    rejected: false,
    putOff: true,
    ...(grace === undefined ? {} : { graceSeconds: grace }),
    ...(disruption === undefined ? {} : { disruption }),
  });
  const seconds = grace ?? graceSeconds(worker.pod.spec.terminationGracePeriodSeconds);
  const over = new AbortController();
  const unsubscribe = deps.onPodsChanged(() => {
    if (worker.memory.tornDown) over.abort();
  });
  try {
    await deps.clock.sleep(seconds * 1000 + PATIENCE_MS, AbortSignal.any([signal, over.signal]));
  } catch (error) {
    if (signal.aborted) throw error;
  } finally {
    unsubscribe();
  }
}
