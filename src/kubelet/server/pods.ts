import type { CriContainer, RuntimeService } from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { CONTAINER_NAME, POD_UID } from '../containers/labels.ts';
import { findContainer } from '../pods/model.ts';
import { HttpFailure } from './reply.ts';

/** The runtime calls the server makes. */
export type ServerRuntime = Pick<
  RuntimeService,
  | 'exec'
  | 'attach'
  | 'portForward'
  | 'execSync'
  | 'containerStatus'
  | 'listContainers'
  | 'listPodSandboxes'
  | 'listContainerStats'
>;

/** The running container of a pod that a command is meant for. */
export interface ContainerQuery {
  podUid: string;
  container: string;
}

export interface FoundContainer {
  containerId: string;
  sandboxId: string;
}

/**
 * The pod of that name as it should be now: of several (an old one on its way out, its namesake already here) the one
 * that stays. Undefined also when `uid` names another pod.
 */
export function findPod(
  pods: readonly Pod[],
  { namespace, pod: name, uid }: { namespace: string; pod: string; uid?: string },
): Pod | undefined {
  const found = pods.filter((p) => p.metadata.name === name && p.metadata.namespace === namespace);
  const one = found.find((p) => p.metadata.deletionTimestamp === undefined) ?? found.at(-1);
  return uid === undefined ? one : found.find((p) => p.metadata.uid === uid);
}

/** Whether the container's spec asks for a terminal: what an attach must do as well. Throws HttpFailure. */
export function containerTty(pod: Pod, container: string): boolean {
  const spec = findContainer(pod, container)?.spec;
  if (spec === undefined)
    throw new HttpFailure(
      500,
      `container ${container} not found in pod ${pod.metadata.name}_${pod.metadata.namespace}`,
    );
  return spec.tty === true;
}

/** The running container as the runtime has it, the newest if there are several; one list call. */
export async function runningContainer(
  runtime: Pick<ServerRuntime, 'listContainers'>,
  { podUid, container }: ContainerQuery,
): Promise<FoundContainer | undefined> {
  const list = await runtime.listContainers({
    labels: { [POD_UID]: podUid, [CONTAINER_NAME]: container },
  });
  const running = list.filter((c) => c.state === 'CONTAINER_RUNNING');
  const newest = running.reduce<CriContainer | undefined>(
    (best, c) => (best === undefined || c.createdAt > best.createdAt ? c : best),
    undefined,
  );
  return newest && { containerId: newest.id, sandboxId: newest.podSandboxId };
}

/** The newest sandbox of a pod, a ready one first. */
export async function sandboxOf(
  runtime: Pick<ServerRuntime, 'listPodSandboxes'>,
  podUid: string,
): Promise<string | undefined> {
  const list = await runtime.listPodSandboxes({ labels: { [POD_UID]: podUid } });
  const rank = (s: (typeof list)[number]) => (s.state === 'SANDBOX_READY' ? 1 : 0);
  return list.sort((a, b) => rank(b) - rank(a) || b.createdAt - a.createdAt)[0]?.id;
}
