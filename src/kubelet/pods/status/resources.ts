import { formatCpu, parseMilliCpu, parseQuantity } from '../../../core/index.ts';
import type { Pod } from '../../../kube/index.ts';
import { containersOf } from '../model.ts';

type Quantities = Record<string, string>;

/** A pod's quality of service (upstream pkg/apis/core/v1/helper/qos): only cpu and memory count. */
export function qosClassOf(pod: Pod): string {
  if (pod.status?.qosClass) return pod.status.qosClass;
  let any = false;
  let guaranteed = true;
  for (const { kind, spec } of containersOf(pod)) {
    if (kind === 'ephemeral') continue;
    for (const resource of ['cpu', 'memory']) {
      const limit = positive(spec.resources?.limits?.[resource]);
      const request = positive(spec.resources?.requests?.[resource]) ?? limit;
      if (limit !== undefined || request !== undefined) any = true;
      if (limit === undefined || request !== limit) guaranteed = false;
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

function positive(value: string | undefined): number | undefined {
  try {
    const number = value === undefined ? 0 : parseQuantity(value);
    return number > 0 ? number : undefined;
  } catch {
    return undefined;
  }
}

/** What a pod as a whole asks for, as servers from 1.36 show it: requests add up, a limit counts if all have one. */
export function podResourcesOf(pod: Pod): { requests: Quantities | undefined; limits: Quantities | undefined } {
  return { requests: total(pod, 'requests'), limits: total(pod, 'limits') };
}

function total(pod: Pod, which: 'requests' | 'limits'): Quantities | undefined {
  const out: Quantities = {};
  for (const resource of ['cpu', 'memory']) {
    const amount = sum(pod, which, resource);
    if (amount !== undefined) out[resource] = resource === 'cpu' ? formatCpu(amount) : formatMemory(amount);
  }
  return Object.keys(out).length === 0 ? undefined : out;
}

/** Containers side by side add up; an init container only counts where it asks for more than those. */
function sum(pod: Pod, which: 'requests' | 'limits', resource: string): number | undefined {
  let together = 0;
  let most = 0;
  let any = false;
  for (const { kind, spec } of containersOf(pod)) {
    if (kind === 'ephemeral') continue;
    const text = spec.resources?.[which]?.[resource];
    if (text === undefined) {
      if (which === 'limits') return undefined;
      continue;
    }
    const amount = amountOf(text, resource);
    if (amount === undefined) return undefined;
    any = true;
    if (kind === 'init') most = Math.max(most, together + amount);
    else together += amount;
  }
  return any ? Math.max(together, most) : undefined;
}

function amountOf(text: string, resource: string): number | undefined {
  try {
    return resource === 'cpu' ? parseMilliCpu(text) : parseQuantity(text);
  } catch {
    return undefined;
  }
}

function formatMemory(bytes: number): string {
  for (const [unit, size] of [
    ['Gi', 2 ** 30],
    ['Mi', 2 ** 20],
    ['Ki', 2 ** 10],
  ] as const)
    if (bytes > 0 && bytes % size === 0) return `${bytes / size}${unit}`;
  return String(Math.ceil(bytes));
}
