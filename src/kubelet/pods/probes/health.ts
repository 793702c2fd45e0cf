import type { Pod } from '../../../kube/index.ts';
import { targetOf } from '../actions/container.ts';
import type { ActionContext } from '../actions.ts';
import type { PodMemory } from '../memory.ts';
import { containersOf, findContainer, latest, type PodView } from '../model.ts';
import { probesOf } from './spec.ts';
import { initialHealth, type ProbeTarget } from './types.ts';

/**
 * A container seen running for the first time: well unless a probe has to say so, or its postStart hook. `starting`: it
 * is being started by us.
 */
export function noteHealth(pod: Pod, view: PodView, memory: PodMemory, starting: (name: string) => boolean): void {
  for (const { id, name, state } of view.containers) {
    if (state !== 'running' || memory.health.has(id)) continue;
    const container = findContainer(pod, name);
    if (container === undefined || (starting(name) && container.spec.lifecycle?.postStart)) continue;
    const adopted = memory.status === undefined ? healthBefore(pod, id) : undefined;
    memory.health.set(id, adopted ?? initialHealth(container));
  }
}

/** After a restart of the agent a container is as ready as it was, until its probe says otherwise. */
function healthBefore({ status }: Pod, id: string): { started: boolean; ready: boolean } | undefined {
  for (const list of [status?.containerStatuses, status?.initContainerStatuses])
    for (const seen of Array.isArray(list) ? list : [])
      if (seen?.containerID?.endsWith(`://${id}`) && seen.started === true)
        return { started: true, ready: seen.ready === true };
  return undefined;
}

/** The running containers that have probes. */
export function probeTargets(view: PodView, context: Pick<ActionContext, 'deps' | 'pod' | 'memory'>): ProbeTarget[] {
  const targets: ProbeTarget[] = [];
  for (const container of containersOf(context.pod())) {
    if (probesOf(container).length === 0) continue;
    const observed = latest(view, container.spec.name);
    if (observed?.state === 'running' && context.memory.health.has(observed.id))
      targets.push(targetOf(container, observed, context));
  }
  return targets;
}
