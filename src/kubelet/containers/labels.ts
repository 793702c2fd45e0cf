import type { Pod } from '../../kube/index.ts';
import type { AnyContainer } from './spec.ts';

export const POD_NAME = 'io.kubernetes.pod.name';
export const POD_NAMESPACE = 'io.kubernetes.pod.namespace';
export const POD_UID = 'io.kubernetes.pod.uid';
export const CONTAINER_NAME = 'io.kubernetes.container.name';
export const CONTAINER_HASH = 'io.kubernetes.container.hash';
const RESTART_COUNT = 'io.kubernetes.container.restartCount';
const TERMINATION_MESSAGE_PATH = 'io.kubernetes.container.terminationMessagePath';
const TERMINATION_MESSAGE_POLICY = 'io.kubernetes.container.terminationMessagePolicy';
const PRE_STOP = 'io.kubernetes.container.preStopHandler';
const DELETION_GRACE = 'io.kubernetes.pod.deletionGracePeriod';
const TERMINATION_GRACE = 'io.kubernetes.pod.terminationGracePeriod';
const CONTAINER_PORTS = 'io.kubernetes.container.ports';

/**
 * Changes exactly when a running container no longer fits its spec: the API lets nothing but the image change. The same
 * number as the original's from 1.31 on (pkg/kubelet/container/helpers.go HashContainer: FNV-1a over Go's print of the
 * JSON's bytes), so that switching agents restarts no container.
 */
export function containerHash(container: Pick<AnyContainer, 'name' | 'image'>): string {
  const json = JSON.stringify({ image: container.image ?? '', name: container.name }).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`([]uint8)[${Buffer.from(json).join(' ')}]`))
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16);
}

function identity(pod: Pod): Record<string, string> {
  return {
    [POD_NAME]: pod.metadata.name ?? '',
    [POD_NAMESPACE]: pod.metadata.namespace ?? '',
    [POD_UID]: pod.metadata.uid ?? '',
  };
}

export function sandboxLabels(pod: Pod): Record<string, string> {
  return { ...pod.metadata.labels, ...identity(pod) };
}

export function containerLabels(pod: Pod, container: AnyContainer): Record<string, string> {
  return { ...identity(pod), [CONTAINER_NAME]: container.name };
}

/** Annotations of a container (kubelet pkg/kubelet/kuberuntime/labels.go): what a restarted agent needs to end it well. */
export function containerAnnotations(pod: Pod, container: AnyContainer, restartCount: number): Record<string, string> {
  const out: Record<string, string> = {
    [CONTAINER_HASH]: containerHash(container),
    [RESTART_COUNT]: String(restartCount),
    [TERMINATION_MESSAGE_PATH]: container.terminationMessagePath ?? '/dev/termination-log',
    [TERMINATION_MESSAGE_POLICY]: container.terminationMessagePolicy ?? 'File',
  };
  const { deletionGracePeriodSeconds } = pod.metadata;
  const { terminationGracePeriodSeconds } = pod.spec;
  if (deletionGracePeriodSeconds !== undefined) out[DELETION_GRACE] = String(deletionGracePeriodSeconds);
  if (terminationGracePeriodSeconds !== undefined) out[TERMINATION_GRACE] = String(terminationGracePeriodSeconds);
  if (container.lifecycle?.preStop) out[PRE_STOP] = JSON.stringify(container.lifecycle.preStop);
  if (container.ports && container.ports.length > 0) out[CONTAINER_PORTS] = JSON.stringify(container.ports);
  return out;
}
