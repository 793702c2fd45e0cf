import { errorCode } from '../../../core/index.ts';
import type { ActionContext } from '../actions.ts';
import { END_RANKS } from '../deps.ts';
import { findContainer } from '../model.ts';
import type { Step } from '../plan-types.ts';
import { targetOf } from './container.ts';

type Kill = Extract<Step, { do: 'killContainer' }>;
type PreStop = Extract<Step, { do: 'preStop' }>;

/** Every container gets that long between its stop signal and SIGKILL (kuberuntime_container.go, minimumGracePeriodInSeconds). */
const LEAST_GRACE_SECONDS = 2;

/** A container that is ready to go is gone by then; one that is not lets the next begin. */
const HOLD_MS = 150;
/** A kill waits half its grace at most, and no longer than this: who is to go at once goes at once. */
const LONGEST_TURN_MS = 3_000;

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
    const stop = () => view.during(step.id, () => runtime.stopContainer(step.id, seconds, options));
    await inTurn(left, context, stop);
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

/**
 * Pods that are as good as gone go first, so that of many the first are gone while the last are only told to go. A kill
 * holds its slot while it costs processor time, not for a grace period, and the grace period counts from the kill: waiting
 * takes nothing from it. Nobody waits for long, whatever the others do.
 */
async function inTurn(grace: number, { deps, signal }: ActionContext, stop: () => Promise<void>): Promise<void> {
  const { limits, clock } = deps;
  const patience = new AbortController();
  const cancel = clock.after(Math.min(LONGEST_TURN_MS, Math.max(0, grace) * 500), () => patience.abort());
  let begun = false;
  const begin = () => {
    begun = true;
    cancel();
    return stop();
  };
  const either = AbortSignal.any([signal, patience.signal]);
  try {
    await limits.end.runBriefly(END_RANKS.kill, begin, { ms: HOLD_MS, clock }, either);
  } catch (error) {
    if (begun || signal.aborted) throw error;
    // Its turn did not come in time.
    await stop();
  } finally {
    cancel();
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
