import { containersOf, isAlive, type ObservedContainer } from './model.ts';
import type { Ending, Plan, PlanInput } from './plan-types.ts';

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
  killAll(input, plan, now + graceSeconds(pod.spec.terminationGracePeriodSeconds) * 1000);
  if (anyBusy(input) || view.containers.some(isAlive)) return;
  const ready = view.sandboxes.filter((s) => s.ready);
  for (const sandbox of ready) plan.steps.push({ do: 'stopSandbox', id: sandbox.id });
  if (ready.length === 0 && !memory.tornDown) plan.steps.push({ do: 'tearDown' });
}

/** What is under way ends first: a container can't be killed before it is there, nor a network used while it is taken down. */
function anyBusy({ inFlight, view }: PlanInput): boolean {
  if (view.containers.some(isAlive)) return true;
  for (const key of inFlight)
    if (/^(startContainer:|stopSandbox:|createSandbox$|prepareVolumes$)/.test(key)) return true;
  return false;
}

/** All at once; sidecars only when the others are gone, the last started first. */
function killAll(input: PlanInput, plan: Plan, deadline: number): void {
  const { pod, view, memory, now } = input;
  const alive = view.containers.filter(isAlive);
  const kinds = new Map(containersOf(pod).map((c, order) => [c.spec.name, { kind: c.kind, order }]));
  const sidecars = alive.filter((c) => kinds.get(c.name)?.kind === 'sidecar');
  const others = alive.filter((c) => !sidecars.includes(c));
  const kill = (container: ObservedContainer, at: number) => {
    const given = memory.killing.get(container.id);
    // A second of slack: deadlines are worked out anew at each plan.
    if (given !== undefined && given <= at + 1_000) return;
    plan.steps.push({
      do: 'killContainer',
      container: container.name,
      id: container.id,
      deadline: at,
      message: `Stopping container ${container.name}`,
    });
  };
  for (const container of others) kill(container, deadline);
  if (others.length > 0) return;
  const last = Math.max(...sidecars.map((c) => kinds.get(c.name)?.order ?? 0));
  for (const container of sidecars)
    if ((kinds.get(container.name)?.order ?? 0) === last) kill(container, Math.max(deadline, now + LEAST_GRACE_MS));
}

/** A grace period as the API allows it; 30 s when the field is missing or absurd. */
export function graceSeconds(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.min(value, 2 ** 31) : 30;
}
