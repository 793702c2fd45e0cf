import type { ContainerStatus, Pod } from '../../../kube/index.ts';
import { containersOf, type SpecContainer } from '../model.ts';
import { shouldRestart } from '../restart.ts';
import { RESTARTING } from '../restart-all.ts';

export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

interface Counts {
  pendingInit: number;
  pendingSidecars: number;
  failedInit: number;
  running: number;
  waiting: number;
  stopped: number;
  succeeded: number;
  unknown: number;
}

/**
 * A pod's phase from its container statuses (kubelet pkg/kubelet/kubelet_pods.go, getPhase). `terminal`: no container
 * will be started again whatever the restart policy says.
 */
export function phaseOf(pod: Pod, statuses: ReadonlyMap<string, ContainerStatus>, terminal: boolean): Phase {
  const n: Counts = {
    pendingInit: 0,
    pendingSidecars: 0,
    failedInit: 0,
    running: 0,
    waiting: 0,
    stopped: 0,
    succeeded: 0,
    unknown: 0,
  };
  for (const container of containersOf(pod)) count(pod, container, statuses.get(container.spec.name), n);
  if (n.failedInit > 0) return 'Failed';
  if (n.pendingInit > 0 || n.waiting > 0) return 'Pending';
  if (n.pendingSidecars > 0 && !anyAppStarted(pod, statuses)) return 'Pending';
  if (n.running > 0 && n.unknown === 0) return 'Running';
  if (n.running > 0 || n.stopped === 0 || n.unknown > 0) return 'Pending';
  const allWell = n.stopped === n.succeeded;
  if (terminal) return allWell ? 'Succeeded' : 'Failed';
  const ended = pod.spec.containers.every((spec) => {
    const status = statuses.get(spec.name);
    const ended = status?.state?.terminated ?? status?.lastState?.terminated;
    return ended !== undefined && !comesBack(pod, { kind: 'app', spec }, ended);
  });
  if (!ended) return 'Running';
  return allWell ? 'Succeeded' : 'Failed';
}

/** By its policy, or since the whole pod begins anew. */
function comesBack(pod: Pod, container: SpecContainer, ended: { exitCode: number; reason?: string }): boolean {
  return ended.reason === RESTARTING || shouldRestart(pod, container, ended.exitCode);
}

function count(pod: Pod, container: SpecContainer, status: ContainerStatus | undefined, n: Counts): void {
  const state = status?.state ?? {};
  switch (container.kind) {
    case 'ephemeral':
      return;
    case 'init': {
      const ended = state.terminated ?? (state.waiting ? status?.lastState?.terminated : undefined);
      if (ended === undefined) n.pendingInit++;
      else if (ended.exitCode !== 0 && !comesBack(pod, container, ended)) n.failedInit++;
      return;
    }
    case 'sidecar':
      if (state.running) {
        n.running++;
        if (status?.started !== true) n.pendingSidecars++;
      } else if (!state.terminated && !status?.lastState?.terminated) {
        n.pendingSidecars++;
      }
      return;
    case 'app':
      if (state.running) n.running++;
      else if (state.terminated) {
        n.stopped++;
        if (state.terminated.exitCode === 0) n.succeeded++;
      } else if (state.waiting) {
        if (status?.lastState?.terminated) n.stopped++;
        else n.waiting++;
      } else n.unknown++;
      return;
    default:
      container.kind satisfies never;
  }
}

/** True if an app container runs or has run: the pod was initialized once. */
export function anyAppStarted(pod: Pod, statuses: ReadonlyMap<string, ContainerStatus>): boolean {
  return pod.spec.containers.some((spec) => {
    const status = statuses.get(spec.name);
    return (
      status !== undefined &&
      (status.started === true ||
        !!status.state?.running ||
        !!status.state?.terminated ||
        !!status.lastState?.terminated)
    );
  });
}
