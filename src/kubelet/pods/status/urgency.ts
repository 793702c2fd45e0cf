import type { ContainerStatus, PodStatus } from '../../../kube/index.ts';

/** Waiting reasons that only say that the start is under way. */
const ON_THE_WAY = new Set(['ContainerCreating', 'PodInitializing']);

/** True if somebody waits for this change: phase, readiness, an exit, a restart, a reason to wait. */
export function isUrgent(before: PodStatus | undefined, after: PodStatus): boolean {
  if (before?.phase !== after.phase) return (before?.phase ?? 'Pending') !== after.phase;
  if (before?.reason !== after.reason) return true;
  if (readyOf(before) !== readyOf(after)) return readyOf(before) !== undefined;
  const lists = ['initContainerStatuses', 'containerStatuses', 'ephemeralContainerStatuses'] as const;
  return lists.some((list) => {
    const old = new Map((before?.[list] ?? []).map((s) => [s.name, keyOf(s)]));
    return (after[list] ?? []).some((s) => {
      const key = keyOf(s);
      return key !== '' && key !== old.get(s.name);
    });
  });
}

function readyOf(status: PodStatus | undefined): string | undefined {
  return status?.conditions?.find((c) => c?.type === 'Ready')?.status;
}

function keyOf(status: ContainerStatus): string {
  const { waiting, terminated, running } = status.state ?? {};
  if (terminated) return `terminated ${status.containerID}`;
  if (waiting) return ON_THE_WAY.has(waiting.reason ?? '') ? '' : `waiting ${waiting.reason}`;
  return running && status.restartCount > 0 ? `running ${status.containerID}` : '';
}
