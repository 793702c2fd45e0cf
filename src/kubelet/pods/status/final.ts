import type { ContainerStatus, Pod, PodStatus } from '../../../kube/index.ts';
import { lost } from './unwitnessed.ts';

/** Of the messages of all containers together, and so of each (kubelet pkg/kubelet/container/runtime.go). */
const MAX_MESSAGES = 12 * 1024;

/**
 * The last status of a pod of which nothing runs any more and nothing will: containers nobody can tell of count as
 * failed, as does a pod that never got to an end of its own (kubelet status_manager.go, TerminatePod).
 */
export function finalStatus(pod: Pod, before: PodStatus | undefined, status: PodStatus): PodStatus {
  const init = status.initContainerStatuses ?? [];
  const known = init.findLastIndex((s) => !s.state?.waiting || s.lastState?.terminated);
  return {
    ...status,
    ...(init.length === 0
      ? {}
      : { initContainerStatuses: init.map((s, i) => (i <= Math.max(0, known) ? ended(s) : s)) }),
    ...(wasInitialized(pod, before) ? { containerStatuses: (status.containerStatuses ?? []).map(ended) } : {}),
  };
}

function ended(status: ContainerStatus): ContainerStatus {
  if (status.state?.terminated) return status;
  return { ...status, state: lost() };
}

function wasInitialized(pod: Pod, before: PodStatus | undefined): boolean {
  const specs = pod.spec.initContainers ?? [];
  const last = specs.at(-1);
  if (last === undefined) return true;
  if (before?.containerStatuses?.some((s) => s.lastState?.terminated || !s.state?.waiting)) return true;
  const status = before?.initContainerStatuses?.find((s) => s.name === last.name);
  if (last.restartPolicy === 'Always') return status?.state?.running !== undefined && status.started === true;
  return [status?.state?.terminated, status?.lastState?.terminated].some((t) => t?.exitCode === 0);
}

/** Cuts messages so that all of a pod's together stay within what the server keeps. In place. */
export function boundMessages(statuses: readonly ContainerStatus[]): void {
  const each = Math.floor(MAX_MESSAGES / Math.max(1, statuses.length));
  for (const { state, lastState } of statuses)
    for (const ended of [state?.terminated, lastState?.terminated]) {
      if (ended?.message === undefined || ended.message.length <= each / 4) continue;
      const bytes = Buffer.from(ended.message);
      // A character that is cut in the middle goes wholly.
      if (bytes.length > each) ended.message = bytes.toString('utf8', 0, each).replace(/\uFFFD$/, '');
    }
}
