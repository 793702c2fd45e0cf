import type { CriContainerStatus, PodSandbox, PodSandboxStatus } from '../../cri/types.ts';
import { CONTAINER_HASH, CONTAINER_NAME } from '../containers/labels.ts';
import type { ObservedContainer, ObservedSandbox } from './model.ts';

const STATES = {
  CONTAINER_CREATED: 'created',
  CONTAINER_RUNNING: 'running',
  CONTAINER_EXITED: 'exited',
  CONTAINER_UNKNOWN: 'unknown',
} as const;

const ms = (nanoseconds: number): number => Math.floor(nanoseconds / 1e6);

/** `now`: wall and monotonic milliseconds, to place an exit on the monotonic clock. */
export function observedContainer(
  status: CriContainerStatus,
  sandboxId: string,
  now: { wall: number; monotonic: number },
): ObservedContainer {
  const finishedAt = ms(status.finishedAt);
  return {
    id: status.id,
    name: status.labels[CONTAINER_NAME] || status.metadata.name,
    attempt: status.metadata.attempt,
    sandboxId,
    state: STATES[status.state] ?? 'unknown',
    hash: status.annotations[CONTAINER_HASH],
    createdAt: ms(status.createdAt),
    startedAt: ms(status.startedAt),
    finishedAt,
    exitedAt: finishedAt === 0 ? 0 : now.monotonic - Math.max(0, now.wall - finishedAt),
    exitCode: status.exitCode,
    reason:
      status.reason || (status.state === 'CONTAINER_EXITED' ? (status.exitCode === 0 ? 'Completed' : 'Error') : ''),
    message: status.message,
    image: status.image.userSpecifiedImage || status.image.image,
    imageRef: status.imageRef || status.imageId || '',
    logPath: status.logPath,
    annotations: status.annotations,
    cutOff: status.state === 'CONTAINER_EXITED' && status.startedAt <= 0 && /context canceled/.test(status.message),
    ...(status.user ? { user: status.user } : {}),
  };
}

export function observedSandbox(sandbox: PodSandboxStatus | PodSandbox): ObservedSandbox {
  const network = 'network' in sandbox ? sandbox.network : undefined;
  const linux = 'linux' in sandbox ? sandbox.linux : undefined;
  const addresses = [network?.ip, ...(network?.additionalIps ?? []).map((a) => a.ip)];
  return {
    id: sandbox.id,
    attempt: sandbox.metadata.attempt,
    ready: sandbox.state === 'SANDBOX_READY',
    createdAt: ms(sandbox.createdAt),
    ips: addresses.filter((ip): ip is string => typeof ip === 'string' && ip !== ''),
    hostNetwork: linux?.namespaces?.options?.network === 'NODE',
    stale: false,
  };
}
