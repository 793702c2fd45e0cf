import type { ContainerStatus, Pod, PodStatus } from '../../kube/index.ts';
import { containersOf, generations, isAlive, latest, type ObservedContainer, type PodView } from './model.ts';
import { isUnderWay, type Plan, type PlanInput } from './plan-types.ts';
import { matchingRule } from './restart.ts';
import { unwitnessed } from './status/unwitnessed.ts';

/**
 * Restart rules with the action RestartAllContainers (servers from 1.35): an exit that matches one ends and removes
 * every container of the pod, so that it begins anew in its sandbox, init containers first (kuberuntime_manager.go,
 * getContainersToReset). The container that asked for it goes last: until then everybody can see that it did.
 */
export const RESTARTING = 'RestartingAllContainers';
const REMOVED = 'The container is removed because RestartAllContainers in place';

/** The pod has such a rule at all. */
export function mayRestartAll(pod: Pod): boolean {
  return containersOf(pod).some(
    ({ kind, spec }) =>
      kind !== 'ephemeral' &&
      Array.isArray(spec.restartPolicyRules) &&
      spec.restartPolicyRules.some((rule) => rule?.action === 'RestartAllContainers'),
  );
}

/** Begun, and not all containers are gone yet. */
export function isResetting(pod: Pod, view: PodView): boolean {
  return mayRestartAll(pod) && sources(pod, view).length > 0;
}

function sources(pod: Pod, view: PodView): ObservedContainer[] {
  return members(pod)
    .map((spec) => latest(view, spec.name))
    .filter((c): c is ObservedContainer => c !== undefined && isSource(pod, c));
}

function isSource(pod: Pod, container: ObservedContainer): boolean {
  const spec = members(pod).find(({ name }) => name === container.name);
  if (spec === undefined || container.state !== 'exited') return false;
  return matchingRule(spec, container.exitCode)?.action === 'RestartAllContainers';
}

function members(pod: Pod) {
  return containersOf(pod)
    .filter(({ kind }) => kind !== 'ephemeral')
    .map(({ spec }) => spec);
}

export function planReset({ pod, view, memory, inFlight, now }: PlanInput, plan: Plan): void {
  if (isUnderWay(inFlight, 'startContainer')) return;
  const all = members(pod).flatMap(({ name }) => generations(view, name));
  const targets = all.filter((c) => !isSource(pod, c));
  for (const { id, name } of targets.filter(isAlive)) {
    if ((memory.killing.get(id) ?? Number.POSITIVE_INFINITY) <= now) continue;
    plan.steps.push({ do: 'killContainer', container: name, id, deadline: now, message: 'killing' });
  }
  if (targets.some(isAlive)) return;
  for (const { id } of targets.length > 0 ? targets : all) plan.steps.push({ do: 'removeContainer', id });
}

/** Under way as far as anybody knows: the runtime, or the status before (container/helpers.go, ShouldAllContainersRestart). */
export function isRestartingAll(pod: Pod, view: PodView, before: PodStatus | undefined): boolean {
  if (!mayRestartAll(pod)) return false;
  if (before?.conditions?.some((c) => c?.type === 'AllContainersRestarting' && c.status === 'True')) return true;
  if (isResetting(pod, view)) return true;
  const old = [...(before?.initContainerStatuses ?? []), ...(before?.containerStatuses ?? [])];
  return members(pod).some((spec) => {
    const ended = old.find((status) => status?.name === spec.name)?.state?.terminated;
    return ended !== undefined && matchingRule(spec, ended.exitCode)?.action === 'RestartAllContainers';
  });
}

/** No container is left, so that the pod may begin anew. */
export function isCleared(pod: Pod, view: PodView): boolean {
  return members(pod).every(({ name }) => latest(view, name) === undefined);
}

/** A container that was removed in order to start again. */
export function removedStatus(status: ContainerStatus, before: ContainerStatus): ContainerStatus {
  return {
    ...status,
    restartCount: before.restartCount + 1,
    state: { waiting: { reason: RESTARTING, message: REMOVED } },
    lastState: unwitnessed(137, RESTARTING, REMOVED),
  };
}
