import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { K, type Kind } from '../kinds.ts';
import { as, type Dict, type Obj, sameJson, timestamp } from '../objects.ts';
import type { Registry } from '../registry/registry.ts';

/** The reference by which a controller owns what it made. */
export function controllerReference(owner: Obj) {
  return {
    apiVersion: owner.apiVersion,
    blockOwnerDeletion: true,
    controller: true,
    kind: owner.kind,
    name: owner.metadata.name ?? '',
    uid: owner.metadata.uid ?? '',
  };
}

/** Objects of a kind in the owner's namespace whose controller is the owner. */
export function ownedBy(registry: Registry, owner: Obj, kind: Kind): Obj[] {
  return registry.store
    .list(kind, owner.metadata.namespace)
    .filter((object) => object.metadata.ownerReferences?.some((r) => r.controller && r.uid === owner.metadata.uid));
}

export function isActive(pod: Pod): boolean {
  return !pod.metadata?.deletionTimestamp && pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed';
}

export function readyCondition(pod: Pod) {
  return pod.status?.conditions?.find((condition) => condition.type === 'Ready' && condition.status === 'True');
}

/** Ready for at least `minReadySeconds`. */
export function isAvailable(pod: Pod, minReadySeconds: number): boolean {
  const ready = readyCondition(pod);
  if (!ready) return false;
  return minReadySeconds === 0 || Date.parse(ready.lastTransitionTime ?? '') + minReadySeconds * 1000 <= Date.now();
}

export function podsOf(registry: Registry, owner: Obj): Pod[] {
  return ownedBy(registry, owner, K.pods).map((object) => as<Pod>(object));
}

/** Writes the status if it differs; the time of a condition is kept while its status stays. */
export function setStatus(registry: Registry, kind: Kind, object: Obj, status: Dict): void {
  const { namespace, name = '' } = object.metadata;
  registry.update({
    kind,
    name,
    ...(namespace ? { namespace } : {}),
    subresource: 'status',
    change: (current) => (sameJson(current.status, status) ? current : { ...current, status }),
  });
}

export interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
  lastTransitionTime?: string;
  lastUpdateTime?: string;
}

/** Conditions with their times: a transition time moves with the status, an update time with anything. */
export function withTimes(old: readonly Condition[] | undefined, conditions: readonly Condition[]): Condition[] {
  const now = timestamp();
  return conditions.map((condition) => {
    const was = old?.find((candidate) => candidate.type === condition.type);
    const same =
      was?.status === condition.status && was.reason === condition.reason && was.message === condition.message;
    return {
      ...condition,
      lastTransitionTime: was?.status === condition.status ? (was.lastTransitionTime ?? now) : now,
      lastUpdateTime: same ? (was.lastUpdateTime ?? now) : now,
    };
  });
}
