import type { Pod } from '../../kube/index.ts';
import { isStaticPod } from '../containers/spec.ts';
import { shortages } from './fit.ts';

/** Why a pod can't have what it asks for: not now, or not on this node at all. */
export type Refusal = { reason: 'Deferred' | 'Infeasible'; message: string };

/**
 * Why a running pod can't have the resources it asks for: more than the node has at all, or than others leave it for now
 * (kubelet allocation_manager.go, canAdmitPod). Undefined: it can.
 */
export function refuseResize(
  pod: Pod,
  others: readonly Pod[],
  allocatable: Readonly<Record<string, string>>,
): Refusal | undefined {
  try {
    if (isStaticPod(pod)) return { reason: 'Infeasible', message: 'In-place resize of static-pods is not supported' };
    const short = shortages(pod, others, allocatable).find(({ resource }) => ['cpu', 'memory'].includes(resource));
    if (short === undefined) return undefined;
    const { resource, requested, used, capacity } = short;
    if (requested > capacity)
      return {
        reason: 'Infeasible',
        message: `Node didn't have enough capacity: ${resource}, requested: ${requested}, capacity: ${capacity}`,
      };
    return {
      reason: 'Deferred',
      message: `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
    };
  } catch {
    return { reason: 'Infeasible', message: 'its resources can not be read' };
  }
}
