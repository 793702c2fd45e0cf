import { planCleanup } from './plan-cleanup.ts';
import { planEnding } from './plan-ending.ts';
import { planRunning } from './plan-running.ts';
import { emptyPlan, type Plan, type PlanInput, retryKey, stepKey, wake } from './plan-types.ts';

/**
 * What to do next for a pod: a pure function of its spec, what the runtime holds, the worker's memory and the time. It
 * is called after every happening, so it never thinks ahead further than the next steps; everything it returns may
 * run at once. Rules: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go (computePodActions).
 */
export function planPod(input: PlanInput): Plan {
  const plan = emptyPlan();
  checkDeadline(input, plan);
  if (input.ending !== undefined) planEnding(input, plan, input.ending);
  else planRunning(input, plan);
  planCleanup(input, plan);
  plan.steps = plan.steps.filter((step) => {
    if (input.inFlight.has(stepKey(step))) return false;
    const at = input.memory.retries.get(retryKey(step))?.at ?? 0;
    if (at > input.now) wake(plan, at);
    return at <= input.now;
  });
  return plan;
}

/** activeDeadlineSeconds counts from the pod's startTime, whatever its containers did meanwhile. */
function checkDeadline({ pod, memory, now, ending }: PlanInput, plan: Plan): void {
  const seconds = pod.spec.activeDeadlineSeconds;
  if (typeof seconds !== 'number' || memory.failure || memory.finished || ending) return;
  const at = memory.activeSince + seconds * 1000;
  if (now < at) {
    wake(plan, at);
    return;
  }
  plan.failure = {
    reason: 'DeadlineExceeded',
    message: 'Pod was active on the node longer than the specified deadline',
    rejected: false,
  };
}
