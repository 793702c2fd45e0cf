import type { ReplicaSet } from 'kubernetes-types/apps/v1.d.ts';
import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { K } from '../kinds.ts';
import { as, type Dict, type Obj } from '../objects.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { controllerReference, isActive, isAvailable, podsOf, readyCondition, setStatus } from './owned.ts';

/** Keeps as many pods as each ReplicaSet asks for. */
export const replicaSets: Controller = {
  name: 'replicaset-controller',
  watches: [K.replicaSets, K.pods],
  everyMs: 1000,
  reconcile(context) {
    for (const object of context.registry.store.list(K.replicaSets)) {
      if (!object.metadata.deletionTimestamp) scale(context, object);
      report(context, object);
    }
  },
};

function scale(context: ControllerContext, object: Obj): void {
  const { registry, event } = context;
  const set = as<ReplicaSet>(object);
  const active = podsOf(registry, object).filter(isActive);
  const wanted = set.spec?.replicas ?? 1;
  const namespace = object.metadata.namespace ?? '';
  for (let i = active.length; i < wanted; i++) {
    const pod = registry.create(K.pods, namespace, podFrom(object));
    event(object, 'replicaset-controller', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
  }
  if (active.length <= wanted) return;
  for (const pod of active.sort(leastNeededFirst).slice(0, active.length - wanted)) {
    registry.remove(K.pods, namespace, pod.metadata?.name ?? '');
    event(object, 'replicaset-controller', 'SuccessfulDelete', `Deleted pod: ${pod.metadata?.name}`);
  }
}

function podFrom(owner: Obj): Obj {
  const template = as<ReplicaSet>(owner).spec?.template;
  const { labels, annotations, finalizers } = template?.metadata ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `${owner.metadata.name}-`,
      ...(labels ? { labels } : {}),
      ...(annotations ? { annotations } : {}),
      ...(finalizers ? { finalizers } : {}),
      ownerReferences: [controllerReference(owner)],
    },
    spec: structuredClone(template?.spec),
  };
}

/** Unassigned before assigned, pending before running, not ready before ready, new before old. */
function leastNeededFirst(a: Pod, b: Pod): number {
  const rank = (pod: Pod) =>
    (pod.spec?.nodeName ? 4 : 0) + (pod.status?.phase === 'Running' ? 2 : 0) + (readyCondition(pod) ? 1 : 0);
  const created = (pod: Pod) => Date.parse(pod.metadata?.creationTimestamp ?? '');
  return rank(a) - rank(b) || created(b) - created(a);
}

function report({ registry, settings }: ControllerContext, object: Obj): void {
  const set = as<ReplicaSet>(object);
  const pods = podsOf(registry, object);
  const active = pods.filter(isActive);
  const ready = active.filter(readyCondition).length;
  const available = active.filter((pod) => isAvailable(pod, set.spec?.minReadySeconds ?? 0)).length;
  const terminating = pods.filter((pod) => pod.metadata?.deletionTimestamp).length;
  const status: Dict = {
    replicas: active.length,
    ...(active.length > 0 ? { fullyLabeledReplicas: active.length } : {}),
    ...(ready > 0 ? { readyReplicas: ready } : {}),
    ...(available > 0 ? { availableReplicas: available } : {}),
    ...(settings.minor >= 35 ? { terminatingReplicas: terminating } : {}),
    observedGeneration: object.metadata.generation ?? 1,
  };
  setStatus(registry, K.replicaSets, object, status);
}
