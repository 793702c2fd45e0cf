import { graceSeconds, type KillCause, killGraceSeconds, killMessage } from './kill-cause.ts';
import {
  containersOf,
  isAlive,
  latest,
  type ObservedContainer,
  type ObservedSandbox,
  type SpecContainer,
} from './model.ts';
import { planStop } from './plan-ending.ts';
import { isUnderWay, type Plan, type PlanInput, wake } from './plan-types.ts';
import { growing, growth } from './resize/actuate.ts';
import { crashEntry, restartAt, shouldRestart } from './restart.ts';
import { isResetting, planReset } from './restart-all.ts';

/** What a container needs now. */
type Need = 'start' | 'running' | 'wait' | 'done' | 'failed';

/** The next steps of a pod that is to run (or has run to its end). */
export function planRunning(input: PlanInput, plan: Plan): void {
  const { memory, view } = input;
  const resetting = isResetting(input.pod, view);
  if (memory.finished || memory.failure || plan.failure || (!resetting && hasEnded(input))) {
    plan.finished = true;
    if (!plan.failure) planStop(input, plan);
    return;
  }
  if (!memory.admitted) return;
  if (resetting) {
    planReset(input, plan);
    return;
  }
  if (memory.volumes.state !== 'ready' || memory.volumesOutdated) plan.steps.push({ do: 'prepareVolumes' });
  const sandbox = usableSandbox(input);
  if (sandbox && isWasted(input)) {
    // Begun beside the volumes to save time; they can't be had yet, so nothing is held until they can.
    plan.steps.push({ do: 'stopSandbox', id: sandbox.id });
    return;
  }
  if (sandbox === undefined) renewSandbox(input, plan);
  planContainers(input, plan, sandbox);
  if (growing(input.pod, view, memory).some((g) => !g.restarts)) plan.steps.push({ do: 'resize' });
  if (sandbox !== undefined)
    for (const old of view.sandboxes) if (old.id !== sandbox.id) retireSandbox(input, plan, old);
}

function isWasted({ memory, view, inFlight }: PlanInput): boolean {
  return memory.volumes.state === 'failed' && view.containers.length === 0 && !isUnderWay(inFlight, 'startContainer');
}

/** The newest sandbox if it is up, has the addresses it should have and the network the pod asks for. */
export function usableSandbox({ pod, view }: Pick<PlanInput, 'pod' | 'view'>): ObservedSandbox | undefined {
  const newest = view.sandboxes[0];
  if (newest === undefined || !newest.ready || newest.stale) return undefined;
  const hostNetwork = pod.spec.hostNetwork === true;
  if (newest.hostNetwork !== hostNetwork) return undefined;
  return hostNetwork || newest.ips.length > 0 ? newest : undefined;
}

/** Everything in the old sandbox ends before a new one is made: both would want the same ports and volumes. */
function renewSandbox(input: PlanInput, plan: Plan): void {
  const { view, memory } = input;
  let clear = true;
  for (const old of view.sandboxes) clear = !retireSandbox(input, plan, old) && clear;
  if (!clear || isUnderWay(input.inFlight, 'stopSandbox')) return;
  // A volume that can't be had yet: no need to hold memory for an empty sandbox.
  if (memory.volumes.state === 'failed') return;
  const attempt = view.sandboxes.reduce((most, s) => Math.max(most, s.attempt + 1), 0);
  plan.steps.push({ do: 'createSandbox', attempt });
}

/** Ends a container because its sandbox goes. */
function stop({ pod, memory, now }: PlanInput, plan: Plan, { id, name }: ObservedContainer): void {
  if (memory.killing.has(id)) return;
  const deadline = now + graceSeconds(pod.spec.terminationGracePeriodSeconds) * 1000;
  plan.steps.push({ do: 'killContainer', container: name, id, deadline, message: `Stopping container ${name}` });
}

/** True while something of it has to end. */
function retireSandbox(input: PlanInput, plan: Plan, old: ObservedSandbox): boolean {
  const { view } = input;
  const alive = view.containers.filter((c) => c.sandboxId === old.id && isAlive(c));
  for (const container of alive) stop(input, plan, container);
  if (alive.length > 0) return true;
  if (!old.ready) return false;
  plan.steps.push({ do: 'stopSandbox', id: old.id });
  return true;
}

/** True if nothing of the pod will be started again: all app containers ended for good, or an init container failed. */
function hasEnded(input: PlanInput): boolean {
  const { pod, view } = input;
  const sandbox = view.sandboxes[0];
  if (sandbox === undefined || view.containers.length === 0) return false;
  const containers = containersOf(pod);
  const apps = containers.filter((c) => c.kind === 'app');
  const ended = (c: SpecContainer): boolean => {
    const last = latest(view, c.spec.name);
    return last?.state === 'exited' && !shouldRestart(pod, c, last.exitCode);
  };
  if (apps.every(ended)) return true;
  // A regular init container that may not be tried again ends the pod before its app containers were there.
  if (apps.some((c) => latest(view, c.spec.name, sandbox.id) !== undefined)) return false;
  return containers.some((c) => {
    if (c.kind !== 'init') return false;
    const last = latest(view, c.spec.name, sandbox.id);
    return last?.state === 'exited' && last.exitCode !== 0 && !shouldRestart(pod, c, last.exitCode);
  });
}

function planContainers(input: PlanInput, plan: Plan, sandbox: ObservedSandbox | undefined): void {
  const { pod, view } = input;
  const containers = containersOf(pod);
  const apps = containers.filter((c) => c.kind === 'app');
  const initialized = sandbox !== undefined && apps.some((c) => latest(view, c.spec.name, sandbox.id) !== undefined);
  let blocked = false;
  for (const container of containers) {
    if (container.kind === 'ephemeral') {
      // Once only, however it ended.
      if (sandbox && (latest(view, container.spec.name)?.state ?? 'created') === 'created')
        bring(input, plan, container, sandbox);
      continue;
    }
    if (container.kind === 'init' && initialized) continue;
    if (container.kind === 'app' && blocked) continue;
    if ((container.kind === 'init' || container.kind === 'sidecar') && blocked && !initialized) continue;
    const need = needOf(input, plan, container, sandbox);
    if (need === 'start') bring(input, plan, container, sandbox);
    // One init container at a time, sidecars in their order until they have started.
    if (container.kind === 'init' && need !== 'done') blocked = true;
    if (container.kind === 'sidecar' && !initialized && need !== 'running') blocked = true;
  }
}

function needOf(input: PlanInput, plan: Plan, container: SpecContainer, sandbox: ObservedSandbox | undefined): Need {
  const { pod, view, memory, now } = input;
  const { name } = container.spec;
  const last = latest(view, name, sandbox?.id ?? '');
  if (last === undefined) {
    const before = latest(view, name);
    const over = before?.state === 'exited' && container.kind === 'app';
    return over && !shouldRestart(pod, container, before.exitCode) ? 'done' : 'start';
  }
  switch (last.state) {
    case 'created':
      return 'start';
    case 'unknown':
      // The runtime lost track of it; stopping it settles what it is.
      kill(input, plan, { container, observed: last, cause: 'unknown' });
      return 'wait';
    case 'running':
      return keepRunning(input, plan, container, last);
    case 'exited': {
      if (!shouldRestart(pod, container, last.exitCode))
        return container.kind === 'init' && last.exitCode !== 0 ? 'failed' : 'done';
      const entry = crashEntry(memory, container.spec);
      const at = restartAt(entry, last.exitedAt);
      if (at <= now) return 'start';
      wake(plan, at);
      plan.crashing.push({ container: name, delayMs: entry?.delayMs ?? 0 });
      return 'wait';
    }
    default:
      return last.state satisfies never;
  }
}

/** Kills a running container that is unhealthy or whose definition changed; it then comes back by its policy. */
function keepRunning(input: PlanInput, plan: Plan, container: SpecContainer, running: ObservedContainer): Need {
  const { memory } = input;
  const health = memory.health.get(running.id);
  const changed = running.hash !== undefined && running.hash !== input.hashOf(container.spec);
  const resized = growth(input.pod, container, running, memory)?.restarts;
  const cause = changed ? 'changed' : (health?.unhealthy ?? (resized ? 'resize' : undefined));
  if (cause !== undefined) {
    kill(input, plan, { container, observed: running, cause });
    return 'wait';
  }
  if (container.kind === 'init') return 'wait';
  return container.kind === 'sidecar' && health?.started !== true ? 'wait' : 'running';
}

function kill(
  { pod, memory, now }: PlanInput,
  plan: Plan,
  { container, observed, cause }: { container: SpecContainer; observed: ObservedContainer; cause: KillCause },
): void {
  if (memory.killing.has(observed.id)) return;
  plan.steps.push({
    do: 'killContainer',
    container: observed.name,
    id: observed.id,
    deadline: now + killGraceSeconds(pod, container, cause) * 1000,
    message: killMessage(pod, container, cause),
  });
}

/** Images are fetched while sandbox and volumes are being prepared; the start waits for all three. */
function bring(input: PlanInput, plan: Plan, container: SpecContainer, sandbox: ObservedSandbox | undefined): void {
  const { view, memory } = input;
  const { name } = container.spec;
  // The clean-up removes it; until then its name is taken.
  if (view.containers.some((c) => c.name === name && c.cutOff)) return;
  const made = sandbox && latest(view, name, sandbox.id);
  const existing = made?.state === 'created' ? made.id : undefined;
  if (existing === undefined && memory.images.get(name) === undefined) {
    plan.steps.push({ do: 'pullImage', container: name });
    return;
  }
  if (sandbox === undefined || memory.volumes.state !== 'ready') return;
  plan.steps.push({
    do: 'startContainer',
    container: name,
    attempt: existing !== undefined ? (made?.attempt ?? 0) : nextAttempt(input, name),
    sandboxId: sandbox.id,
    ...(existing === undefined ? {} : { existing }),
  });
}

/** One more than the runtime knows of; where it lost them, what the status counted already, so that no log is written over. */
function nextAttempt({ pod, view, memory }: PlanInput, name: string): number {
  const before = latest(view, name);
  if (before !== undefined) return before.attempt + 1;
  const { initContainerStatuses = [], containerStatuses = [] } = memory.status ?? pod.status ?? {};
  const count = [...initContainerStatuses, ...containerStatuses].find((s) => s?.name === name)?.restartCount;
  return typeof count === 'number' && Number.isSafeInteger(count) && count > 0 ? count : 0;
}
