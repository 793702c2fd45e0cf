import { formatAmount, formatCpu } from '../../../core/index.ts';
import type { Pod } from '../../../kube/index.ts';
import { type Amounts, isBounded, podLimits, podRequests } from '../../containers/resources.ts';
import { specOf } from '../../containers/spec.ts';
import { containersOf } from '../model.ts';

type Quantities = Record<string, string>;

/**
 * What a pod as a whole asks for, as servers from 1.36 show it (kubelet_pods.go, convertToAPIPodLevelResourcesStatus);
 * nothing of a pod whose amounts can't be read. `limits` are there where they bind the pod's cgroup.
 */
export function podResourcesOf(pod: Pod): { requests: Quantities | undefined; limits: Quantities | undefined } {
  try {
    const limits = podLimits(pod);
    for (const name of ['cpu', 'memory'] as const) if (!isBounded(pod, name)) limits.delete(name);
    return { requests: written(pod, podRequests(pod)), limits: written(pod, limits) };
  } catch {
    return { requests: undefined, limits: undefined };
  }
}

function written(pod: Pod, amounts: Amounts): Quantities | undefined {
  const out: Quantities = {};
  for (const name of ['cpu', 'memory']) {
    const amount = amounts.get(name);
    if (amount !== undefined) out[name] = name === 'cpu' ? formatCpu(amount) : formatAmount(amount, baseOf(pod, name));
  }
  return Object.keys(out).length === 0 ? undefined : out;
}

/** A sum is written in the units of its first part. */
function baseOf(pod: Pod, name: string): 'binary' | 'decimal' {
  const parts = [specOf(pod).resources, ...containersOf(pod).map(({ spec }) => spec.resources)];
  for (const part of parts) {
    const text = part?.requests?.[name] ?? part?.limits?.[name];
    if (text !== undefined) return /[kMGTPE]$/.test(String(text)) ? 'decimal' : 'binary';
  }
  return 'binary';
}
