import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { parseMilliCpu, parseQuantity } from '../../../src/core/index.ts';
import { bindPod } from '../api/subresources.ts';
import { K } from '../kinds.ts';
import { as, type Dict, type Obj, timestamp } from '../objects.ts';
import type { Registry } from '../registry/registry.ts';
import type { Controller } from './controller.ts';

/** Binds pods that have no node to the first that fits: selector, affinity by name, taints, requests. */
export const scheduler: Controller = {
  name: 'default-scheduler',
  watches: [K.pods, K.nodes],
  reconcile(context) {
    const { registry } = context;
    const pods = registry.store.list(K.pods).map((object) => as<Pod>(object));
    const nodes = registry.store.list(K.nodes).map((object) => as<Node>(object));
    const load = new Map(nodes.map((node) => [node.metadata?.name ?? '', loadOf(node.metadata?.name ?? '', pods)]));
    for (const pod of pods) {
      if (pod.spec?.nodeName || pod.metadata?.deletionTimestamp || pod.spec?.schedulerName !== 'default-scheduler')
        continue;
      const { name = '', namespace = '' } = pod.metadata ?? {};
      const reasons = new Map<string, number>();
      const fitting = nodes.filter((node) => {
        const why = misfit(pod, node, load.get(node.metadata?.name ?? '') as Load);
        if (why) reasons.set(why, (reasons.get(why) ?? 0) + 1);
        return why === undefined;
      });
      // The emptiest first, so that pods spread.
      const [node] = fitting.sort((a, b) => podsOn(load, a) - podsOn(load, b));
      const object = pod as unknown as Obj;
      if (!node) {
        const list = [...reasons]
          .map(([why, n]) => `${n} ${why}`)
          .sort()
          .join(', ');
        const what =
          nodes.length === 0
            ? 'no nodes available to schedule pods'
            : `0/${nodes.length} nodes are available: ${list}.`;
        if (markUnschedulable(registry, object, what))
          context.event(object, 'default-scheduler', 'FailedScheduling', what, 'Warning');
        continue;
      }
      const nodeName = node.metadata?.name ?? '';
      bindPod(registry, namespace, name, nodeName);
      context.event(
        object,
        'default-scheduler',
        'Scheduled',
        `Successfully assigned ${namespace}/${name} to ${nodeName}`,
      );
      add(load.get(nodeName) as Load, pod);
    }
  },
};

interface Load {
  pods: number;
  cpu: number;
  memory: number;
}

const podsOn = (load: Map<string, Load>, node: Node) => load.get(node.metadata?.name ?? '')?.pods ?? 0;

function loadOf(node: string, pods: readonly Pod[]): Load {
  const load = { pods: 0, cpu: 0, memory: 0 };
  for (const pod of pods) {
    const over = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (pod.spec?.nodeName === node && !over) add(load, pod);
  }
  return load;
}

function add(load: Load, pod: Pod): void {
  const { cpu, memory } = requests(pod);
  load.pods++;
  load.cpu += cpu;
  load.memory += memory;
}

function requests(pod: Pod): { cpu: number; memory: number } {
  const of = (requested: Record<string, string> | undefined) => ({
    cpu: parseMilliCpu(requested?.cpu ?? '0'),
    memory: parseQuantity(requested?.memory ?? '0'),
  });
  const sum = { cpu: 0, memory: 0 };
  for (const container of pod.spec?.containers ?? []) {
    const { cpu, memory } = of(container.resources?.requests);
    sum.cpu += cpu;
    sum.memory += memory;
  }
  for (const container of pod.spec?.initContainers ?? []) {
    const { cpu, memory } = of(container.resources?.requests);
    sum.cpu = Math.max(sum.cpu, cpu);
    sum.memory = Math.max(sum.memory, memory);
  }
  return sum;
}

/** Why a pod can't go to a node, in the scheduler's words; undefined if it can. */
function misfit(pod: Pod, node: Node, load: Load): string | undefined {
  if (node.spec?.unschedulable && !toleratesUnschedulable(pod)) return 'node(s) were unschedulable';
  const labels = node.metadata?.labels ?? {};
  for (const [key, value] of Object.entries(pod.spec?.nodeSelector ?? {}))
    if (labels[key] !== value) return "node(s) didn't match Pod's node affinity/selector";
  if (!affinityAllows(pod, node)) return "node(s) didn't match Pod's node affinity/selector";
  const taint = (node.spec?.taints ?? []).find(
    (t) =>
      t.effect !== 'PreferNoSchedule' && !(pod.spec?.tolerations ?? []).some((toleration) => tolerates(toleration, t)),
  );
  if (taint) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  const allocatable = node.status?.allocatable ?? {};
  const { cpu, memory } = requests(pod);
  if (load.pods + 1 > Number(allocatable.pods ?? 110)) return 'Too many pods';
  if (cpu > 0 && load.cpu + cpu > parseMilliCpu(allocatable.cpu ?? '0')) return 'Insufficient cpu';
  if (memory > 0 && load.memory + memory > parseQuantity(allocatable.memory ?? '0')) return 'Insufficient memory';
  return undefined;
}

function toleratesUnschedulable(pod: Pod): boolean {
  const taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };
  return (pod.spec?.tolerations ?? []).some((toleration) => tolerates(toleration, taint));
}

export function tolerates(
  toleration: { key?: string; operator?: string; value?: string; effect?: string },
  taint: { key: string; value?: string; effect: string },
): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  return (
    toleration.operator === 'Exists' ||
    (toleration.key !== undefined && (toleration.value ?? '') === (taint.value ?? ''))
  );
}

function affinityAllows(pod: Pod, node: Node): boolean {
  const terms = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (!terms?.length) return true;
  const labels = node.metadata?.labels ?? {};
  const matches = (value: string | undefined, operator: string, values: readonly string[] = []) => {
    if (operator === 'In') return value !== undefined && values.includes(value);
    if (operator === 'NotIn') return value === undefined || !values.includes(value);
    if (operator === 'Exists') return value !== undefined;
    if (operator === 'DoesNotExist') return value === undefined;
    return operator === 'Gt' ? Number(value) > Number(values[0]) : Number(value) < Number(values[0]);
  };
  return terms.some(
    (term) =>
      (term.matchExpressions ?? []).every((e) => matches(labels[e.key], e.operator, e.values)) &&
      (term.matchFields ?? []).every((e) => matches(node.metadata?.name, e.operator, e.values)),
  );
}

function markUnschedulable(registry: Registry, object: Obj, message: string): boolean {
  const conditions = as<Pod>(object).status?.conditions ?? [];
  const old = conditions.find((condition) => condition.type === 'PodScheduled');
  if (old?.message === message) return false;
  const condition = {
    lastProbeTime: null,
    lastTransitionTime: old?.status === 'False' ? old.lastTransitionTime : timestamp(),
    message,
    reason: 'Unschedulable',
    status: 'False',
    type: 'PodScheduled',
  };
  registry.update({
    kind: K.pods,
    namespace: object.metadata.namespace ?? '',
    name: object.metadata.name ?? '',
    subresource: 'status',
    change: (current) => ({
      ...current,
      status: { ...(current.status as Dict), conditions: [...conditions.filter((c) => c !== old), condition] },
    }),
  });
  return true;
}
