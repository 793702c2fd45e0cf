import type { ContainerState } from '../../../kube/index.ts';

/** The end of a container of which the runtime tells nothing, as kubelets write it: without times. */
export function unwitnessed(exitCode: number, reason: string, message: string): ContainerState {
  const never = null as unknown as string;
  return { terminated: { exitCode, reason, message, startedAt: never, finishedAt: never } };
}

/** It was to be there when the pod ended, and was not. */
export function lost(): ContainerState {
  return unwitnessed(137, 'ContainerStatusUnknown', 'The container could not be located when the pod was terminated');
}
