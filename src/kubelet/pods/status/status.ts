import { rfc3339 } from '../../../core/index.ts';
import type { ContainerStatus, Pod, PodStatus } from '../../../kube/index.ts';
import { qosClassOf } from '../../containers/qos.ts';
import { isStaticPod } from '../../containers/spec.ts';
import type { PodMemory } from '../memory.ts';
import { type ContainerKind, containersOf, isAlive, type PodView } from '../model.ts';
import { usableSandbox } from '../plan-running.ts';
import { sortPodIps } from '../pod-ips.ts';
import { isCleared, isRestartingAll, mayRestartAll } from '../restart-all.ts';
import { conditionsOf } from './conditions.ts';
import { containerStatusOf } from './container-status.ts';
import { boundMessages, finalStatus } from './final.ts';
import { type Phase, phaseOf } from './phase.ts';
import { podResourcesOf } from './resources.ts';

export interface StatusFacts {
  pod: Pod;
  view: PodView;
  memory: PodMemory;
  /** The pod is being deleted. */
  ending: boolean;
  /** The node's addresses, the primary one first. */
  hostIps: readonly string[];
  /** Minor version of the server: newer fields are only sent to servers that know them. */
  serverMinor: number;
  runtimeName: string;
  /** Milliseconds since the epoch. */
  now: number;
}

/** A pod's status as upstream 1.36 writes it, with the fields the server knows. Pure. */
export function computePodStatus(facts: StatusFacts): PodStatus {
  const { pod, memory, hostIps, serverMinor, now, view, ending } = facts;
  const generation = generationOf(pod);
  const startTime = rfc3339(memory.startTime);
  const base = {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    qosClass: qosClassOf(pod),
    startTime,
  };
  if (memory.failure?.rejected)
    return {
      ...base,
      phase: 'Failed',
      reason: memory.failure.reason,
      message: `Pod was rejected: ${memory.failure.message}`,
    };
  const before = memory.status ?? pod.status;
  const statuses = containerStatuses(facts, before);
  const computed = phaseOf(pod, statuses, ending || memory.finished || memory.failure !== undefined);
  const alive = view.containers.some(isAlive);
  // Only when nothing of it runs any more is a pod shown as failed: others take up then what it held.
  const failed = memory.failure !== undefined && !alive;
  const over = memory.tornDown && (ending || memory.finished) && !isStaticPod(pod);
  // One that was put off and whose containers took that well has succeeded (kubelet_pods.go, generateAPIPodStatus).
  const well = failed && memory.failure?.putOff === true && computed === 'Succeeded';
  const shown = lastingPhase(failed && !well ? 'Failed' : computed, before?.phase, alive);
  const phase = over && shown !== 'Succeeded' ? 'Failed' : shown;
  const ips = podIps(facts, before);
  const of = (...kinds: ContainerKind[]): ContainerStatus[] =>
    containersOf(pod)
      .filter((c) => kinds.includes(c.kind))
      .map((c) => statuses.get(c.spec.name))
      .filter((s) => s !== undefined);
  const init = of('init', 'sidecar');
  const ephemeral = of('ephemeral');
  const status: PodStatus = {
    ...base,
    phase,
    ...(memory.failure && failed && !well ? { reason: memory.failure.reason, message: memory.failure.message } : {}),
    conditions: conditionsOf({
      pod,
      statuses,
      phase: memory.failure && !well ? 'Failed' : phase,
      sandboxReady: usableSandbox({ pod, view }) !== undefined,
      before: mergeConditions(pod.status?.conditions, memory.status?.conditions),
      generation,
      withReadyToStart: serverMinor >= 29,
      resize: ending || memory.finished ? undefined : memory.resize,
      restartingAll: restartingAll(pod, view, before),
      disruption: failed ? memory.failure?.disruption : undefined,
      now,
    }),
    ...(hostIps.length > 0 ? { hostIP: hostIps[0] } : {}),
    ...(hostIps.length > 0 && serverMinor >= 29 ? { hostIPs: hostIps.map((ip) => ({ ip })) } : {}),
    ...(ips.length > 0 ? { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) } : {}),
    ...(init.length > 0 ? { initContainerStatuses: init } : {}),
    containerStatuses: of('app').sort(byName),
    ...(ephemeral.length > 0 ? { ephemeralContainerStatuses: ephemeral.sort(byName) } : {}),
    ...(serverMinor >= 36 ? wholePod(pod) : {}),
  };
  return over ? finalStatus(pod, before, status) : status;
}

/** Undefined: the pod has no rule that could. */
function restartingAll(pod: Pod, view: PodView, before: PodStatus | undefined): boolean | undefined {
  if (!mayRestartAll(pod)) return undefined;
  return isRestartingAll(pod, view, before) && !isCleared(pod, view);
}

/** Upstream keeps only init containers in the order of the spec. */
function byName(a: ContainerStatus, b: ContainerStatus): number {
  return a.name < b.name ? -1 : 1;
}

function containerStatuses(facts: StatusFacts, before: PodStatus | undefined): Map<string, ContainerStatus> {
  const { pod, view, memory, serverMinor, runtimeName, ending } = facts;
  const old = new Map<string, ContainerStatus>();
  for (const list of [before?.initContainerStatuses, before?.containerStatuses, before?.ephemeralContainerStatuses])
    if (Array.isArray(list)) for (const s of list) if (s?.name !== undefined) old.set(s.name, s);
  const restarting = isRestartingAll(pod, view, before);
  const statuses = new Map(
    containersOf(pod).map((container) => [
      container.spec.name,
      containerStatusOf({
        pod,
        container,
        view,
        memory,
        before: old.get(container.spec.name),
        serverMinor,
        runtimeName,
        ending: ending || memory.finished || memory.failure !== undefined,
        restartingAll: restarting,
      }),
    ]),
  );
  boundMessages([...statuses.values()]);
  return statuses;
}

/**
 * An ended pod stays ended: the runtime may have forgotten its containers. While any runs it has not ended, though what
 * runs may be a debugger only.
 */
function lastingPhase(phase: Phase, before: string | undefined, alive: boolean): Phase {
  if (before === 'Succeeded' || before === 'Failed') return before;
  const isOver = phase === 'Succeeded' || phase === 'Failed';
  return isOver && alive ? (before === 'Running' ? 'Running' : 'Pending') : phase;
}

/** A pod keeps the address it had after its sandbox is down, as upstream shows it. */
function podIps({ pod, view, hostIps }: StatusFacts, before: PodStatus | undefined): readonly string[] {
  const sandbox = view.sandboxes[0];
  // Made and given back before anything ran in it.
  if (
    sandbox &&
    !sandbox.ready &&
    view.containers.length === 0 &&
    !before?.containerStatuses?.some((s) => s.containerID)
  )
    return [];
  if (pod.spec.hostNetwork === true) return sandbox || before?.podIP ? hostIps : [];
  if (sandbox && sandbox.ips.length > 0) return sortPodIps(sandbox.ips, hostIps);
  const kept = (before?.podIPs ?? []).map((entry) => entry?.ip).filter((ip): ip is string => typeof ip === 'string');
  return kept.length > 0 ? kept : before?.podIP ? [before.podIP] : [];
}

/** Ours are newer than the server's copy of them; the others (readiness gates, disruption) are only there. */
function mergeConditions(
  server: PodStatus['conditions'],
  own: PodStatus['conditions'],
): NonNullable<PodStatus['conditions']> {
  const list = Array.isArray(server) ? server.filter((c) => c?.type !== undefined) : [];
  if (own === undefined) return list;
  return [...list.filter((c) => !own.some((o) => o.type === c.type)), ...own];
}

/** Servers that count generations of pods (1.34) want to know which one a status is about. */
function generationOf(pod: Pod): number | undefined {
  const generation = pod.metadata.generation;
  return typeof generation === 'number' && generation > 0 ? generation : undefined;
}

function wholePod(pod: Pod): object {
  const { requests, limits } = podResourcesOf(pod);
  return {
    ...(requests ? { allocatedResources: requests } : {}),
    resources: { ...(limits ? { limits } : {}), ...(requests ? { requests } : {}) },
  };
}
