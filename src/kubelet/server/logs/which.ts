import type { ContainerStatus, Pod } from '../../../kube/index.ts';
import { HttpFailure } from '../reply.ts';

export interface LoggedContainer {
  /** As the runtime knows it. */
  containerId: string;
  /** The number in its log file's name, as far as the status tells. */
  attempt: number;
}

/**
 * Which container's log is meant: the running one, else the last that ran, or the one before with `previous`
 * (upstream: validateContainerLogStatus). Throws HttpFailure 400 with the kubelet's words, which kubectl prints.
 */
export function loggedContainer(pod: Pod, container: string, previous: boolean): LoggedContainer {
  const name = `container ${quote(container)} in pod ${quote(pod.metadata.name ?? '')}`;
  const refuse = (text: string): never => {
    throw new HttpFailure(400, text);
  };
  const status = statusOf(pod, container);
  if (status === undefined) return refuse(`${name} is not available`);
  const restarts = status.restartCount ?? 0;
  const last = idOf(status.lastState?.terminated?.containerID);
  const { running, terminated, waiting } = status.state ?? {};

  if (previous) {
    if (last === undefined) return refuse(`previous terminated ${name} not found`);
    // While the next one waits for its start, the count is still that of the last one.
    const current = idOf(status.containerID);
    return { containerId: last, attempt: current === undefined || current === last ? restarts : restarts - 1 };
  }
  const current = running ? idOf(status.containerID) : idOf(terminated?.containerID);
  if (current !== undefined) return { containerId: current, attempt: restarts };
  if (running === undefined && last !== undefined) return { containerId: last, attempt: restarts };
  if (terminated !== undefined || status.lastState?.terminated !== undefined) return refuse(`${name} is terminated`);
  switch (waiting?.reason) {
    case undefined:
      return refuse(`${name} is waiting to start - no logs yet`);
    case 'ErrImagePull':
      return refuse(`${name} is waiting to start: image can't be pulled`);
    case 'ImagePullBackOff':
      return refuse(`${name} is waiting to start: trying and failing to pull image`);
    default:
      return refuse(`${name} is waiting to start: ${waiting?.reason}`);
  }
}

function statusOf(pod: Pod, container: string): ContainerStatus | undefined {
  const { containerStatuses, initContainerStatuses, ephemeralContainerStatuses } = pod.status ?? {};
  for (const list of [containerStatuses, initContainerStatuses, ephemeralContainerStatuses]) {
    const found = list?.find((s) => s.name === container);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `containerd://<id>` → `<id>`. */
function idOf(containerId: string | undefined): string | undefined {
  const id = containerId?.slice(containerId.indexOf('://') < 0 ? 0 : containerId.indexOf('://') + 3);
  return id === '' ? undefined : id;
}

export function quote(text: string): string {
  return JSON.stringify(text);
}
