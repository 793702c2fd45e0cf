import { rfc3339 } from '../../../core/index.ts';
import type { ContainerState, ContainerStatus, Pod } from '../../../kube/index.ts';
import type { PodMemory } from '../memory.ts';
import { generations, type ObservedContainer, type PodView, type SpecContainer } from '../model.ts';
import { shouldRestart } from '../restart.ts';
import { removedStatus } from '../restart-all.ts';
import { lost, unwitnessed } from './unwitnessed.ts';

export interface ContainerStatusFacts {
  pod: Pod;
  container: SpecContainer;
  view: PodView;
  memory: PodMemory;
  /** The container's status as written before, for what the runtime no longer has. */
  before: ContainerStatus | undefined;
  /** Minor version of the server: decides which newer fields are sent. */
  serverMinor: number;
  /** Scheme of container ids: `containerd`. */
  runtimeName: string;
  /** The pod is going or has ended: what is not there any more is not waiting for its start. */
  ending: boolean;
  /** All its containers are being removed in order to start anew. */
  restartingAll: boolean;
}

/** One container's status (kubelet pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses). */
export function containerStatusOf(facts: ContainerStatusFacts): ContainerStatus {
  const { container, view, before } = facts;
  const { name } = container.spec;
  const [current, previous] = generations(view, name);
  const status = current ? fromRuntime(facts, current) : unseen(facts);
  if (previous) status.lastState = stateOf(facts, previous);
  else if (current) status.lastState = lastStateBefore(before, status);
  if (current && before && before.restartCount > status.restartCount) status.restartCount = before.restartCount;
  applyWaiting(facts, status, current);
  keepLastWords(status, before);
  addFlags(facts, status, current);
  addNewerFields(facts, status, current);
  return status;
}

/** The termination log is removed with the volumes of an ended pod; what it said was written before. */
function keepLastWords(status: ContainerStatus, before: ContainerStatus | undefined): void {
  for (const state of [status.state, status.lastState]) {
    const ended = state?.terminated;
    if (!ended || ended.message !== undefined) continue;
    const known = [before?.state?.terminated, before?.lastState?.terminated].find(
      (t) => t?.containerID === ended.containerID && t?.message !== undefined,
    );
    if (known?.message !== undefined) ended.message = known.message;
  }
}

/** What was known of the run before, which the runtime no longer has. */
function lastStateBefore(before: ContainerStatus | undefined, status: ContainerStatus): ContainerState {
  const isNew = before?.containerID !== status.containerID;
  const ended = (isNew ? before?.state?.terminated : undefined) ?? before?.lastState?.terminated;
  return ended === undefined ? {} : { terminated: { ...ended } };
}

function fromRuntime(facts: ContainerStatusFacts, current: ObservedContainer): ContainerStatus {
  return {
    name: current.name,
    image: current.image || facts.container.spec.image || '',
    imageID: current.imageRef,
    containerID: `${facts.runtimeName}://${current.id}`,
    restartCount: current.attempt,
    ready: false,
    state: stateOf(facts, current),
    lastState: {},
  };
}

/** Not in the runtime: still to be made, or already removed from it. */
function unseen({ container, before, pod, ending, view, restartingAll }: ContainerStatusFacts): ContainerStatus {
  if (before !== undefined && restartingAll && !before.state?.waiting && container.kind !== 'ephemeral')
    return removedStatus({ ...before }, before);
  if (before?.state?.terminated) return { ...before };
  const hasInit = (pod.spec.initContainers ?? []).length > 0;
  const waiting: ContainerState = { waiting: { reason: hasInit ? 'PodInitializing' : 'ContainerCreating' } };
  const status: ContainerStatus = {
    name: container.spec.name,
    image: container.spec.image ?? '',
    imageID: '',
    restartCount: before?.restartCount ?? 0,
    ready: false,
    state: waiting,
    lastState: before?.lastState ?? {},
  };
  const apps = new Set(pod.spec.containers.map(({ name }) => name));
  if (container.kind === 'init' && !restartingAll && view.containers.some(({ name }) => apps.has(name)))
    status.state = unwitnessed(
      0,
      'Completed',
      'Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally',
    );
  else if (before?.state?.running && !before.lastState?.terminated) {
    // It ran and the runtime knows nothing of it any more.
    if (!ending) status.restartCount++;
    status.lastState = unwitnessed(
      137,
      'ContainerStatusUnknown',
      'The container could not be located when the pod was deleted.  The container used to be Running',
    );
  }
  return status;
}

function stateOf({ runtimeName, before }: ContainerStatusFacts, c: ObservedContainer): ContainerState {
  switch (c.state) {
    case 'running':
      return { running: { startedAt: rfc3339(c.startedAt) } };
    case 'exited':
      return {
        terminated: {
          exitCode: c.exitCode,
          ...(c.reason === '' ? {} : { reason: c.reason }),
          ...(c.message === '' ? {} : { message: c.message }),
          startedAt: rfc3339(c.startedAt),
          finishedAt: rfc3339(c.finishedAt),
          containerID: `${runtimeName}://${c.id}`,
        },
      };
    case 'created':
      return { waiting: { reason: 'ContainerCreating' } };
    case 'unknown':
      return before?.state?.running ? lost() : { waiting: {} };
    default:
      return c.state satisfies never;
  }
}

/** A container that failed to start or is to be restarted shows why it waits; its end moves to lastState. */
function applyWaiting(
  facts: ContainerStatusFacts,
  status: ContainerStatus,
  current: ObservedContainer | undefined,
): void {
  const { container, memory, pod, ending } = facts;
  const reason = memory.waiting.get(container.spec.name);
  if (reason === undefined || ending || status.state?.running) return;
  const ended = current?.state === 'exited';
  if (ended && !shouldRestart(pod, container, current.exitCode)) return;
  if (status.state?.terminated) status.lastState = status.state;
  status.state = {
    waiting: { reason: reason.reason, ...(reason.message === '' ? {} : { message: reason.message }) },
  };
}

function addFlags(facts: ContainerStatusFacts, status: ContainerStatus, current: ObservedContainer | undefined): void {
  const { container, memory } = facts;
  const running = status.state?.running !== undefined;
  const health = current && memory.health.get(current.id);
  switch (container.kind) {
    case 'init':
      status.started = running;
      status.ready = status.state?.terminated?.exitCode === 0;
      return;
    case 'ephemeral':
      status.ready = false;
      return;
    default:
      status.started = running && health?.started === true;
      status.ready = status.started && health?.ready === true;
  }
}

function addNewerFields(
  facts: ContainerStatusFacts,
  status: ContainerStatus,
  current: ObservedContainer | undefined,
): void {
  const { container, serverMinor, memory } = facts;
  const { volumeMounts } = container.spec;
  if (serverMinor >= 33 && current && container.kind !== 'ephemeral') {
    const allocated = container.spec.resources;
    if (allocated?.requests && Object.keys(allocated.requests).length > 0)
      status.allocatedResources = allocated.requests;
    // What runs has what it was last given, which may not be yet what it may have.
    const resources = (memory.actuated.get(current.id) ?? { resources: allocated }).resources;
    status.resources = {
      ...(resources?.limits ? { limits: resources.limits } : {}),
      ...(resources?.requests ? { requests: resources.requests } : {}),
    };
  }
  if (serverMinor >= 33 && current?.user?.linux) status.user = current.user;
  if (serverMinor >= 31 && Array.isArray(volumeMounts) && volumeMounts.length > 0)
    status.volumeMounts = volumeMounts.map((mount) => ({
      name: mount.name,
      mountPath: mount.mountPath,
      ...(mount.readOnly ? { readOnly: true, recursiveReadOnly: recursiveReadOnly(mount) } : {}),
    }));
}

function recursiveReadOnly(mount: object): string {
  const asked = (mount as { recursiveReadOnly?: unknown }).recursiveReadOnly;
  return asked === 'Enabled' ? 'Enabled' : 'Disabled';
}
