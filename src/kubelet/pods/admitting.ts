import { describeError, type Logger } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { Shortage } from '../admission/index.ts';
import { isStaticPod } from '../containers/spec.ts';
import type { PodMaterials } from '../materials.ts';
import type { Eviction } from './evict.ts';
import { makeRoom } from './preempt.ts';
import type { RuntimeView } from './runtime-view.ts';
import type { PodWorker } from './worker.ts';

export interface AdmittingOptions {
  workers: ReadonlyMap<string, PodWorker>;
  /** Of what is left of pods nobody knows. */
  orphans: ReadonlyMap<string, PodWorker>;
  view: RuntimeView;
  materials: Pick<PodMaterials, 'admit'>;
  /** Resolves once nothing of the pod runs any more, or when that takes too long. */
  evict(podUid: string, eviction: Eviction, signal: AbortSignal): Promise<void>;
  log: Logger;
  signal: AbortSignal;
}

/** Decides of pods that came whether they may begin. */
export interface Admitting {
  /** In one go for all that come together, the oldest first: who fits is not to depend on the order of a list. */
  soon(): void;
  now(): void;
  /** The pods that have a place on this node, or for which others make one, but for that one. */
  othersThan(pod: Pod): Pod[];
}

export function createAdmitting(options: AdmittingOptions): Admitting {
  const { workers, orphans, view, materials, log, signal } = options;
  /** Uids of critical pods that others make place for. */
  const preempting = new Set<string>();
  let due = false;

  function now(): void {
    const waiting = [...workers.values()].filter((w) => !w.memory.admitted && !w.memory.finished);
    // Pods that have a sandbox were admitted by an earlier run; they are not asked again.
    for (const worker of waiting) if (view.get(worker.uid).sandboxes.length > 0) worker.admit();
    for (const worker of waiting.sort((a, b) => createdAt(a) - createdAt(b)))
      if (!worker.memory.admitted && !worker.ending && !preempting.has(worker.uid) && !namesakeEnds(worker))
        decide(worker);
  }

  function decide(worker: PodWorker): void {
    const active = othersThan(worker.pod);
    try {
      const answer = materials.admit(worker.pod, active);
      if (answer.admitted) worker.admit();
      else if (answer.shortages) preempt(worker, active, answer.shortages);
      else worker.reject(answer.reason, answer.message);
    } catch (error) {
      log.error('a pod could not be admitted', { pod: worker.pod.metadata.name, error: describeError(error) });
      worker.reject('UnexpectedAdmissionError', describeError(error));
    }
  }

  /** Until the others are gone the pod holds its place and does not begin. */
  function preempt(worker: PodWorker, active: readonly Pod[], shortages: readonly Shortage[]): void {
    preempting.add(worker.uid);
    void makeRoom(worker.pod, { active, shortages }, (uid, eviction) => options.evict(uid, eviction, signal))
      .then(
        () => worker.admit(),
        (error: unknown) => {
          if (signal.aborted) return;
          const why = `Unexpected error while attempting to recover from admission failure: ${describeError(error)}`;
          worker.reject('UnexpectedAdmissionError', why);
        },
      )
      .finally(() => preempting.delete(worker.uid));
  }

  /** A manifest that changed is another pod of the same name: it waits for the end of the one before. */
  function namesakeEnds(worker: PodWorker): boolean {
    if (!isStaticPod(worker.pod)) return false;
    const { namespace, name } = worker.pod.metadata;
    return [...workers.values(), ...orphans.values()].some(
      ({ uid, pod }) => uid !== worker.uid && pod.metadata.name === name && pod.metadata.namespace === namespace,
    );
  }

  function othersThan({ metadata: { uid } }: Pod): Pod[] {
    return [...workers.values()]
      .filter((w) => w.uid !== uid && (w.memory.admitted || preempting.has(w.uid)) && w.active)
      .map((w) => w.pod);
  }

  return {
    now,
    othersThan,
    soon() {
      if (due) return;
      due = true;
      queueMicrotask(() => {
        due = false;
        if (view.synced) now();
      });
    },
  };
}

function createdAt({ pod }: PodWorker): number {
  return Date.parse(pod.metadata.creationTimestamp ?? '') || 0;
}
