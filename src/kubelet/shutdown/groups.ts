import type { Pod } from '../../kube/index.ts';

/** How long pods of this priority and above, up to the next group's, may take to end. */
export interface ShutdownGroup {
  readonly priority: number;
  readonly seconds: number;
}

const SYSTEM_CRITICAL = 2_000_000_000;

export interface ShutdownSettings {
  /** Milliseconds; for all pods, of which the critical ones keep the last part. */
  gracePeriodMs: number;
  criticalPodsMs: number;
  byPriority: readonly ShutdownGroup[];
}

/** Lowest priority first; empty: a shutdown is not delayed (kubelet nodeshutdown_manager.go, migrateConfig). */
export function shutdownGroups({ gracePeriodMs, criticalPodsMs, byPriority }: ShutdownSettings): ShutdownGroup[] {
  if (byPriority.length > 0) return [...byPriority].sort((a, b) => a.priority - b.priority);
  if (gracePeriodMs <= 0 || criticalPodsMs > gracePeriodMs) return [];
  return [
    { priority: 0, seconds: Math.floor((gracePeriodMs - criticalPodsMs) / 1_000) },
    { priority: SYSTEM_CRITICAL, seconds: Math.floor(criticalPodsMs / 1_000) },
  ];
}

/** Which pods end with which group: each with the highest that is not above it, those below all with the lowest. */
export function podsByGroup(
  groups: readonly ShutdownGroup[],
  pods: readonly Pod[],
): { group: ShutdownGroup; pods: Pod[] }[] {
  const out = groups.map((group) => ({ group, pods: [] as Pod[] }));
  for (const pod of pods) {
    const priority = pod.spec.priority ?? 0;
    const own = out.findLast(({ group }) => group.priority <= priority) ?? out[0];
    own?.pods.push(pod);
  }
  return out;
}
