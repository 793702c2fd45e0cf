import type { Node, Pod, Taint } from 'kubernetes-types/core/v1.d.ts';
import { K } from '../kinds.ts';
import { as, type Obj } from '../objects.ts';
import type { Registry } from '../registry/registry.ts';
import type { Controller } from './controller.ts';
import { tolerates } from './scheduler.ts';

/** Since when each missing node has been missing. */
const missing = new WeakMap<Registry, Map<string, number>>();

/** Removes pods whose node is gone, after the time a node may be away. */
export const podGarbage: Controller = {
  name: 'pod-garbage-collector',
  watches: [K.nodes],
  everyMs: 2000,
  reconcile({ registry, settings }) {
    const since = missing.get(registry) ?? new Map<string, number>();
    missing.set(registry, since);
    for (const object of registry.store.list(K.pods)) {
      const node = as<Pod>(object).spec?.nodeName;
      if (!node) continue;
      if (registry.store.get(K.nodes, undefined, node)) {
        since.delete(node);
        continue;
      }
      if (!since.has(node)) since.set(node, Date.now());
      const waited = Date.now() - (since.get(node) ?? 0);
      if (waited >= Math.min(settings.nodeGraceMs, 40_000))
        registry.remove(K.pods, object.metadata.namespace, object.metadata.name ?? '', { gracePeriodSeconds: 0 });
    }
  },
};

/** Evicts pods from nodes with NoExecute taints they do not tolerate (any more). */
export const taintEviction: Controller = {
  name: 'taint-eviction-controller',
  watches: [K.nodes, K.pods],
  everyMs: 1000,
  reconcile(context) {
    const { registry, event } = context;
    for (const object of registry.store.list(K.nodes)) {
      const taints = (as<Node>(object).spec?.taints ?? []).filter((taint) => taint.effect === 'NoExecute');
      if (taints.length === 0) continue;
      for (const pod of registry.store.list(K.pods)) {
        if (pod.metadata.deletionTimestamp || as<Pod>(pod).spec?.nodeName !== object.metadata.name) continue;
        if (Date.now() < evictionTime(pod, taints)) continue;
        const { namespace, name = '' } = pod.metadata;
        event(
          pod,
          'taint-eviction-controller',
          'TaintManagerEviction',
          `Marking for deletion Pod ${namespace}/${name}`,
        );
        registry.remove(K.pods, namespace, name);
      }
    }
  },
};

function evictionTime(object: Obj, taints: readonly Taint[]): number {
  const tolerations = as<Pod>(object).spec?.tolerations ?? [];
  let at = Number.POSITIVE_INFINITY;
  for (const taint of taints) {
    const matching = tolerations.filter((toleration) => tolerates(toleration, taint));
    if (matching.length === 0) return 0;
    const seconds = matching.map((toleration) => toleration.tolerationSeconds).filter((s) => s !== undefined);
    if (seconds.length > 0) at = Math.min(at, Date.parse(taint.timeAdded ?? '') + Math.min(...seconds) * 1000);
  }
  return at;
}
