import type { CriContainerStatus } from '../../cri/types.ts';
import type { Container, EphemeralContainer, Pod } from '../../kube/index.ts';

/** The four ways a container takes part in a pod; `sidecar` is an init container with restartPolicy Always. */
export type ContainerKind = 'init' | 'sidecar' | 'app' | 'ephemeral';

/** Container-level restart rules of Kubernetes 1.34 and later. */
export interface RestartRule {
  action?: string;
  exitCodes?: { operator?: string; values?: number[] };
}
export type PodContainer = (Container | EphemeralContainer) & { restartPolicyRules?: RestartRule[] };

export interface SpecContainer {
  kind: ContainerKind;
  spec: PodContainer;
}

/** All containers of a pod in the order in which they may start. */
export function containersOf(pod: Pod): SpecContainer[] {
  const init = (pod.spec.initContainers ?? []).map(
    (spec): SpecContainer => ({ kind: spec.restartPolicy === 'Always' ? 'sidecar' : 'init', spec }),
  );
  const app = pod.spec.containers.map((spec): SpecContainer => ({ kind: 'app', spec }));
  const ephemeral = (pod.spec.ephemeralContainers ?? []).map((spec): SpecContainer => ({ kind: 'ephemeral', spec }));
  return [...init, ...app, ...ephemeral];
}

export function findContainer(pod: Pod, name: string): SpecContainer | undefined {
  return containersOf(pod).find((c) => c.spec.name === name);
}

/** `spec.containers{main}`: how events name a container. */
export function fieldPathOf(container: SpecContainer): string {
  const list = {
    init: 'initContainers',
    sidecar: 'initContainers',
    app: 'containers',
    ephemeral: 'ephemeralContainers',
  };
  return `spec.${list[container.kind]}{${container.spec.name}}`;
}

/** A container as the runtime has it. Times in milliseconds since the epoch, 0 = not yet. */
export interface ObservedContainer {
  id: string;
  name: string;
  /** 0 for the first start, then the restart count. */
  attempt: number;
  sandboxId: string;
  state: 'created' | 'running' | 'exited' | 'unknown';
  /** What the container was made from; see the materials' `containerHash`. */
  hash: string | undefined;
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  /** Monotonic time of the exit: the wall clock of a board may jump between an exit and the restart. */
  exitedAt: number;
  exitCode: number;
  reason: string;
  message: string;
  image: string;
  imageRef: string;
  logPath: string;
  annotations: Record<string, string>;
  /**
   * Its start was cut off because the agent that asked for it died: it never ran, though the runtime has it as failed.
   * To be removed and made again as if it had not been there.
   */
  cutOff: boolean;
  user?: CriContainerStatus['user'];
}

export interface ObservedSandbox {
  id: string;
  attempt: number;
  ready: boolean;
  createdAt: number;
  /** Empty for pods on the host's network. */
  ips: readonly string[];
  hostNetwork: boolean;
  /** Its address is of a subnet the node no longer has: to be made anew. */
  stale: boolean;
}

/** What the runtime holds of one pod; both lists newest first. */
export interface PodView {
  sandboxes: readonly ObservedSandbox[];
  containers: readonly ObservedContainer[];
}

export const emptyView: PodView = { sandboxes: [], containers: [] };

/** The containers of that name that ran or may still, newest first. */
export function generations(view: PodView, name: string): ObservedContainer[] {
  return view.containers.filter((c) => c.name === name && !c.cutOff);
}

/** The newest of them, in that sandbox if one is given. */
export function latest(view: PodView, name: string, sandboxId?: string): ObservedContainer | undefined {
  return view.containers.find(
    (c) => c.name === name && !c.cutOff && (sandboxId === undefined || c.sandboxId === sandboxId),
  );
}

export function isAlive(container: ObservedContainer): boolean {
  return container.state === 'running' || container.state === 'unknown';
}
