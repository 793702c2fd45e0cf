import { errorCode } from '../../../core/index.ts';
import type { ActionContext } from '../actions.ts';
import { findContainer } from '../model.ts';
import type { Step } from '../plan-types.ts';
import { targetOf } from './container.ts';

type Kill = Extract<Step, { do: 'killContainer' }>;
type PreStop = Extract<Step, { do: 'preStop' }>;

/** Every container gets that long between its stop signal and SIGKILL (kuberuntime_container.go, minimumGracePeriodInSeconds). */
const LEAST_GRACE_SECONDS = 2;

/** Tells of the end, runs the hook, sends the stop signal, and SIGKILL at the deadline. */
export async function killContainer(step: Kill, context: ActionContext): Promise<void> {
  const { deps, memory, signal } = context;
  const { runtime, view, clock } = deps;
  memory.killing.set(step.id, step.deadline);
  try {
    await announce(step, step.message, context);
    const left = Math.ceil((step.deadline - clock.monotonic()) / 1000);
    const seconds = Math.max(LEAST_GRACE_SECONDS, left);
    const options = { signal, timeoutMs: seconds * 1000 + 120_000 };
    await view.during(step.id, () => runtime.stopContainer(step.id, seconds, options));
    await view.lookAtContainer(step.id, signal);
  } catch (error) {
    if (errorCode(error) === 'CRI_NOT_FOUND') {
      view.drop(step.id);
      return;
    }
    // A shorter kill may be under way by now; it is the one that counts.
    if (memory.killing.get(step.id) === step.deadline) memory.killing.delete(step.id);
    throw error;
  }
}

/** The first half of an end, for a container that has to wait for others before it is killed. */
export function preStop(step: PreStop, context: ActionContext): Promise<void> {
  return announce(step, `Stopping container ${step.container}`, context);
}

/** Once per container: the event, then the hook for as long as the grace lasts. */
async function announce(step: Kill | PreStop, message: string, context: ActionContext): Promise<void> {
  const { deps, memory, reports, signal } = context;
  const pod = context.pod();
  const container = findContainer(pod, step.container);
  if (memory.preStopped.has(step.id)) return;
  memory.preStopped.add(step.id);
  if (container === undefined) return;
  reports.container(container, 'Normal', 'Killing', message);
  const observed = deps.view.get(pod.metadata.uid as string).containers.find((c) => c.id === step.id);
  const left = step.deadline - deps.clock.monotonic();
  if (!container.spec.lifecycle?.preStop || observed === undefined || left <= 0) return;
  const limit = new AbortController();
  const cancel = deps.clock.after(left, () => limit.abort());
  try {
    await deps.probes.hook(targetOf(container, observed, context), 'preStop', AbortSignal.any([signal, limit.signal]));
  } catch (error) {
    if (signal.aborted) throw error;
    // What the hook said may hold secrets; a hook that is still at work at the deadline is left to itself.
    if (!limit.signal.aborted) reports.container(container, 'Warning', 'FailedPreStopHook', 'PreStopHook failed');
  } finally {
    cancel();
  }
}
