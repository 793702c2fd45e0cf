import type { Pod } from '../../kube/index.ts';
import type { PodFailure, PodMemory } from './memory.ts';
import type { PodContainer, PodView } from './model.ts';

/** One thing to do for a pod. Steps of one plan may all run at once; each has a key and is never begun twice. */
export type Step =
  | { do: 'prepareVolumes' }
  | { do: 'pullImage'; container: string }
  | { do: 'createSandbox'; attempt: number }
  | { do: 'stopSandbox'; id: string }
  | { do: 'removeSandbox'; id: string }
  /** `existing`: a container that was made but never started. */
  | { do: 'startContainer'; container: string; attempt: number; sandboxId: string; existing?: string }
  /** `deadline`: monotonic milliseconds at which SIGKILL follows. */
  | { do: 'killContainer'; container: string; id: string; deadline: number; message: string }
  /** Of a container whose turn to be killed is yet to come; `deadline` ends the hook, too. */
  | { do: 'preStop'; container: string; id: string; deadline: number }
  /** Running containers get what they may use now. */
  | { do: 'resize' }
  | { do: 'removeContainer'; id: string }
  /** Unmount the volumes, remove the cgroup. */
  | { do: 'tearDown' }
  /** Nothing of the pod runs any more: tell the API server. */
  | { do: 'confirmGone' };

export function stepKey(step: Step): string {
  switch (step.do) {
    case 'pullImage':
    case 'startContainer':
      return `${step.do}:${step.container}`;
    case 'killContainer':
      // A shorter deadline is a new step: `kubectl delete --now` after a plain delete.
      return `${step.do}:${step.id}:${step.deadline}`;
    case 'preStop':
    case 'stopSandbox':
    case 'removeSandbox':
    case 'removeContainer':
      return `${step.do}:${step.id}`;
    default:
      return step.do;
  }
}

/** True if a step of that kind, about whatever container or sandbox, is among these keys. */
export function isUnderWay(inFlight: ReadonlySet<string>, step: Step['do']): boolean {
  for (const key of inFlight) if (key === step || key.startsWith(`${step}:`)) return true;
  return false;
}

/** What a step's failures are counted under: a kill with another deadline is the same kill. */
export function retryKey(step: Step): string {
  return step.do === 'killContainer' ? `${step.do}:${step.id}` : stepKey(step);
}

/** A pod that is to go: deleted in the API, gone from its source, or never known. */
export interface Ending {
  /** Monotonic milliseconds at which its containers are killed. */
  deadline: number;
  /** The API object is there and waits for our confirmation. */
  confirm: boolean;
  /** Our confirmation was accepted, or there is no object: the rest may be removed. */
  gone: boolean;
}

export interface PlanInput {
  pod: Pod;
  view: PodView;
  memory: PodMemory;
  /** Keys of the steps that run now. */
  inFlight: ReadonlySet<string>;
  ending: Ending | undefined;
  /** What a container made from this spec now would carry as {@link ObservedContainer.hash}. */
  hashOf: (container: PodContainer) => string;
  /** Dead containers kept of each name behind the newest one; negative: all. One when left out. */
  olderKept?: number;
  /** Monotonic milliseconds. */
  now: number;
}

export interface Plan {
  steps: Step[];
  /** Monotonic time at which to plan anew though nothing happened. */
  wakeAt: number | undefined;
  /** No container of the pod will be started again. */
  finished: boolean;
  /** The pod has just failed as a whole. */
  failure: PodFailure | undefined;
  /** Containers that wait in CrashLoopBackOff, with the pause they are in. */
  crashing: { container: string; delayMs: number }[];
  /** Nothing is left of an ending pod. */
  done: boolean;
}

export function emptyPlan(): Plan {
  return { steps: [], wakeAt: undefined, finished: false, failure: undefined, crashing: [], done: false };
}

export function wake(plan: Plan, at: number): void {
  if (plan.wakeAt === undefined || at < plan.wakeAt) plan.wakeAt = at;
}
