import type { PodStatus, ResourceRequirements } from '../../kube/index.ts';
import type { PodVolumes } from '../materials.ts';
import type { KillCause } from './kill-cause.ts';
import type { Size } from './resize/size.ts';

/** Why a container waits, as its status says it: `ImagePullBackOff` and the like. */
export interface WaitingReason {
  reason: string;
  message: string;
}

/** A pod that failed as a whole: rejected at admission, deadline exceeded, evicted. */
export interface PodFailure extends WaitingReason {
  /** It never ran: its status has neither containers nor conditions. */
  rejected: boolean;
  /** It is ended for a reason outside of it: containers that then exit with 0 make it a success. */
  putOff?: boolean;
  /** Seconds its containers get to end; the pod's own when left out. */
  graceSeconds?: number;
  /** It was put off for the sake of others: message of its DisruptionTarget condition. */
  disruption?: string;
}

/** CrashLoopBackOff of one container. Times are monotonic milliseconds. */
export interface BackoffEntry {
  /** The definition it counts for. */
  of: string;
  /** A container that ran that long before it ended crashes for the first time again. */
  settledMs: number;
  delayMs: number;
  updatedAt: number;
}

/** A step that failed `failures` times in a row and waits until `at` (monotonic milliseconds). */
export interface Retry {
  at: number;
  failures: number;
  /** The runtime was not there: tried at once when it is back. */
  runtimeAway: boolean;
}

/**
 * `absent`: not tried in this run of the agent, though an earlier one may have left them mounted. `since` (monotonic
 * milliseconds): when the pod began to wait for them, or an event last said so.
 */
export type VolumeState =
  | { state: 'absent' }
  | { state: 'ready'; volumes: PodVolumes }
  | { state: 'failed'; since: number };

/** An image in the runtime: what it is known by, and the user it asks for. */
export interface ImageHandle {
  ref: string;
  uid?: number | undefined;
  username?: string | undefined;
  /** Of the image volumes the container mounts, by volume name. */
  volumes?: ReadonlyMap<string, string> | undefined;
}

/** What a container was found to be by its probes and hooks; by container id, since a restart starts over. */
export interface Health {
  /** Startup probe passed or none there, postStart done. */
  started: boolean;
  ready: boolean;
  /** Set when it has to be ended: what found so. */
  unhealthy?: KillCause;
}

/**
 * What a worker knows beyond the API object and the runtime. Plain data: the planner and the status read it, only the
 * worker writes it. All maps are keyed by container name or id and pruned with the pod, so its size is bounded.
 */
export interface PodMemory {
  /** Milliseconds since the epoch: `status.startTime`. */
  startTime: number;
  /** Monotonic counterpart of startTime, for activeDeadlineSeconds. */
  activeSince: number;
  admitted: boolean;
  failure: PodFailure | undefined;
  /** Reached Succeeded or Failed: never started again. */
  finished: boolean;
  volumes: VolumeState;
  /** The pod changed in a way that its volumes show (labels, annotations). */
  volumesOutdated: boolean;
  /** Volumes unmounted and cgroup removed after the end. */
  tornDown: boolean;
  waiting: Map<string, WaitingReason>;
  crash: Map<string, BackoffEntry>;
  /** By container name: the image to make the next container from. */
  images: Map<string, ImageHandle>;
  health: Map<string, Health>;
  /** By container id: monotonic deadline after which the runtime sends SIGKILL. */
  killing: Map<string, number>;
  /** Ids of containers whose end was told of and whose preStop hook was run, or is being run. */
  preStopped: Set<string>;
  /** Steps that failed, by {@link retryKey}: not begun again before their time. */
  retries: Map<string, Retry>;
  /** By container id: what a running container was last given. */
  actuated: Map<string, { size: Size | undefined; resources: ResourceRequirements | undefined }>;
  resize: Resizing;
  status: PodStatus | undefined;
}

/** How far a change of the pod's resources has come. */
export interface Resizing {
  /** It asks for what it can't have. */
  pending?: { reason: string; message: string; generation: number } | undefined;
  /** Allowed and not yet wholly done: the generation that asked for it. */
  generation?: number;
  /** Why the last try failed. */
  error?: string | undefined;
}

export function newMemory(startTime: number, activeSince: number): PodMemory {
  return {
    startTime,
    activeSince,
    admitted: false,
    failure: undefined,
    finished: false,
    volumes: { state: 'absent' },
    volumesOutdated: false,
    tornDown: false,
    waiting: new Map(),
    crash: new Map(),
    images: new Map(),
    health: new Map(),
    killing: new Map(),
    preStopped: new Set(),
    retries: new Map(),
    actuated: new Map(),
    resize: {},
    status: undefined,
  };
}
