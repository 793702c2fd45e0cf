import { formatAmount, parseQuantity } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import { specOf } from '../containers/spec.ts';
import { type Observations, resourceOf, type StarvedResource } from './signals.ts';
import { limitOf, type Threshold } from './thresholds.ts';

/** Bytes that one container uses of what ran short. */
export interface ContainerUse {
  name: string;
  bytes: number;
}

export interface EvictionText {
  message: string;
  annotations: Record<string, string>;
}

export interface EvictionCause {
  resource: StarvedResource;
  acting: readonly Threshold[];
  seen: Observations;
}

/** Why a pod had to go, in the words of its status and event (pkg/kubelet/eviction/helpers.go, evictionMessage). */
export function evictionText(
  pod: Pod,
  { resource, acting, seen }: EvictionCause,
  uses: { pod?: number | undefined; containers: readonly ContainerUse[] } | undefined,
): EvictionText {
  let message = `The node was low on resource: ${resource}. `;
  const threshold = acting.find(({ signal }) => resourceOf(signal) === resource && seen.has(signal));
  const observation = threshold && seen.get(threshold.signal);
  if (threshold && observation) {
    const base = resource === 'inodes' || resource === 'pids' ? 'decimal' : 'binary';
    const limit = formatAmount(limitOf(threshold, observation), 'quantity' in threshold.value ? 'binary' : base);
    message += `Threshold quantity: ${limit}, available: ${formatAmount(observation.available, base)}. `;
  }
  if (uses === undefined) return { message, annotations: {} };
  const annotations: Record<string, string> = {};
  const whole = specOf(pod).resources?.requests?.memory;
  if (resource === 'memory' && whole !== undefined && uses.pod !== undefined) {
    const used = formatAmount(uses.pod);
    message += `Pod ${pod.metadata.name} was using ${used}, request is ${whole}, has larger consumption of memory. `;
    annotations.offending_pod = pod.metadata.name ?? '';
    annotations.offending_pod_usage = used;
  }
  const names: string[] = [];
  const amounts: string[] = [];
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  for (const { name, bytes } of uses.containers) {
    const container = containers.find((c) => c.name === name);
    if (container === undefined) continue;
    const { text, amount } = requestOf(container, resource);
    if (bytes <= amount) continue;
    const used = formatAmount(bytes);
    message += `Container ${name} was using ${used}, request is ${text}, has larger consumption of ${resource}. `;
    names.push(name);
    amounts.push(used);
  }
  annotations.offending_containers = names.join(',');
  annotations.offending_containers_usage = amounts.join(',');
  annotations.starved_resource = resource;
  return { message, annotations };
}

function requestOf(
  container: Pod['spec']['containers'][number],
  resource: StarvedResource,
): { text: string; amount: number } {
  const text = container.resources?.requests?.[resource];
  if (text === undefined) return { text: '0', amount: 0 };
  try {
    return { text, amount: parseQuantity(text) };
  } catch {
    return { text: '0', amount: 0 };
  }
}
