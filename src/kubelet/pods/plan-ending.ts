import { graceSeconds } from './kill-cause.ts';
import { containersOf, isAlive, type ObservedContainer } from './model.ts';
import { type Ending, isUnderWay, type Plan, type PlanInput, stepKey, wake } from './plan-types.ts';

/** What a container gets at least between SIGTERM and SIGKILL when the others used up the grace (upstream: 2 s). */
const LEAST_GRACE_MS = 2_000;

/** Kill, stop the sandbox, tear down, confirm: each once the one before is wholly done. */
export function planEnding(input: PlanInput, plan: Plan, ending: Ending): void {
  plan.finished = true;
  const { view, memory } = input;
  killAll(input, plan, ending.deadline);
  if (anyBusy(input)) return;
  const ready = view.sandboxes.filter((s) => s.ready);
  for (const sandbox of ready) plan.steps.push({ do: 'stopSandbox', id: sandbox.id });
  if (ready.length > 0 || view.containers.some(isAlive)) return;
  if (!memory.tornDown) {
    plan.steps.push({ do: 'tearDown' });
    return;
  }
  if (ending.confirm && !ending.gone) plan.steps.push({ do: 'confirmGone' });
  if (!ending.gone) return;
  plan.done = view.sandboxes.length === 0 && view.containers.length === 0 && input.inFlight.size === 0;
}

/** Ends what still runs of a finished or failed pod; true once nothing runs. */
export function planStop(input: PlanInput, plan: Plan): void {
  const { pod, view, memory, now } = input;
  const grace = memory.failure?.graceSeconds ?? graceSeconds(pod.spec.terminationGracePeriodSeconds);
  killAll(input, plan, now + grace * 1000);
  if (anyBusy(input) || view.containers.some(isAlive)) return;
  const ready = view.sandboxes.filter((s) => s.ready);
  for (const sandbox of ready) plan.steps.push({ do: 'stopSandbox', id: sandbox.id });
  if (ready.length === 0 && !memory.tornDown) plan.steps.push({ do: 'tearDown' });
}

/** What is under way ends first: a container can't be killed before it is there, nor a network used while it is taken down. */
function anyBusy({ inFlight, view }: PlanInput): boolean {
  const steps = ['startContainer', 'stopSandbox', 'createSandbox', 'prepareVolumes'] as const;
  return view.containers.some(isAlive) || steps.some((step) => isUnderWay(inFlight, step));
}

/**
 * All at once; sidecars when the others are gone or their time is up, the last started first. Every container is told
 * of and has its preStop hook run at once, whenever its turn comes (kubelet kuberuntime_termination_order.go).
 */
function killAll(input: PlanInput, plan: Plan, deadline: number): void {
  const { pod, view, memory, now, inFlight } = input;
  const alive = view.containers.filter(isAlive);
  const kinds = new Map(containersOf(pod).map((c, order) => [c.spec.name, { kind: c.kind, order }]));
  const orderOf = (c: ObservedContainer): number => kinds.get(c.name)?.order ?? 0;
  const sidecars = alive.filter((c) => kinds.get(c.name)?.kind === 'sidecar');
  const others = alive.filter((c) => !sidecars.includes(c));
  const late = now >= deadline;
  const last = Math.max(...sidecars.map(orderOf));
  for (const container of others) kill(input, plan, container, deadline);
  for (const container of sidecars) {
    const { id, name } = container;
    const turn = late || (others.length === 0 && orderOf(container) === last);
    if (!late && inFlight.has(stepKey({ do: 'preStop', container: name, id, deadline }))) continue;
    if (turn) kill(input, plan, container, Math.max(deadline, now + LEAST_GRACE_MS));
    else if (!memory.preStopped.has(id)) plan.steps.push({ do: 'preStop', container: name, id, deadline });
  }
  if (sidecars.length > 0 && !late) wake(plan, deadline);
}

function kill({ memory }: PlanInput, plan: Plan, { id, name }: ObservedContainer, at: number): void {
  const given = memory.killing.get(id);
  // A second of slack: deadlines are worked out anew at each plan.
  if (given !== undefined && given <= at + 1_000) return;
  plan.steps.push({
    do: 'killContainer',
    container: name,
    id,
    deadline: at,
    message: `Stopping container ${name}`,
  });
}
