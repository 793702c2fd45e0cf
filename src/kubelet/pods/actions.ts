import type { Pod } from '../../kube/index.ts';
import { removeContainer, startContainer } from './actions/container.ts';
import { pullImage } from './actions/image.ts';
import { killContainer, preStop } from './actions/kill.ts';
import { resizeContainers } from './actions/resize.ts';
import { createSandbox, removeSandbox, stopSandbox } from './actions/sandbox.ts';
import { prepareVolumes, tearDown } from './actions/volumes.ts';
import type { WorkerDeps } from './deps.ts';
import type { PodMemory } from './memory.ts';
import type { Ending, Step } from './plan-types.ts';
import type { PodReports } from './reports.ts';

/** What an action works with; it changes memory and view, never the plan. */
export interface ActionContext {
  deps: WorkerDeps;
  /** The newest version of the pod. */
  pod(): Pod;
  memory: PodMemory;
  ending(): Ending | undefined;
  reports: PodReports;
  /** Something of the pod's ending is decided: the worker looks again. */
  gone(): void;
  signal: AbortSignal;
  /** Fires at once when the agent stops, where {@link signal} leaves a begun start the time to end. */
  stopping: AbortSignal;
}

/** Performs one step. Throws if it has to be tried again later. */
export async function perform(step: Step, context: ActionContext): Promise<void> {
  switch (step.do) {
    case 'prepareVolumes':
      return prepareVolumes(context);
    case 'pullImage':
      return pullImage(step.container, context);
    case 'createSandbox':
      return createSandbox(step.attempt, context);
    case 'stopSandbox':
      return stopSandbox(step.id, context);
    case 'removeSandbox':
      return removeSandbox(step.id, context);
    case 'startContainer':
      return startContainer(step, context);
    case 'killContainer':
      return killContainer(step, context);
    case 'resize':
      return resizeContainers(context);
    case 'preStop':
      return preStop(step, context);
    case 'removeContainer':
      return removeContainer(step.id, context);
    case 'tearDown':
      return tearDown(context);
    case 'confirmGone': {
      const { deps, signal } = context;
      await deps.writer.flush(context.pod().metadata.uid as string, signal);
      await deps.writer.confirmGone(context.pod(), signal);
      context.gone();
      return;
    }
    default:
      step satisfies never;
  }
}
