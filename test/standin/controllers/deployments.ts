import { createHash } from 'node:crypto';
import type { Deployment, ReplicaSet } from 'kubernetes-types/apps/v1.d.ts';
import type { PodTemplateSpec } from 'kubernetes-types/core/v1.d.ts';
import { K } from '../kinds.ts';
import { as, type Dict, type Obj, sameJson } from '../objects.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { type Condition, controllerReference, ownedBy, setStatus, withTimes } from './owned.ts';
import { type Plan, planRollout, resolveBounds } from './rollout.ts';

const HASH_LABEL = 'pod-template-hash';
const REVISION = 'deployment.kubernetes.io/revision';
const DESIRED = 'deployment.kubernetes.io/desired-replicas';
const MAX = 'deployment.kubernetes.io/max-replicas';
const SOURCE = 'deployment-controller';

/** Turns Deployments into ReplicaSets, the new one growing as the old ones shrink. */
export const deployments: Controller = {
  name: SOURCE,
  watches: [K.deployments, K.replicaSets],
  reconcile(context) {
    for (const object of context.registry.store.list(K.deployments)) {
      if (!object.metadata.deletionTimestamp) roll(context, object);
      report(context, object);
    }
  },
};

function roll(context: ControllerContext, object: Obj): void {
  const { registry } = context;
  const deployment = as<Deployment>(object);
  const paused = deployment.spec?.paused === true;
  const sets = ownedBy(registry, object, K.replicaSets);
  const current =
    sets.find((set) => sameTemplate(set, deployment)) ?? (paused ? undefined : createSet(context, object));
  if (current) adoptRevision(context, object, current);
  const old = sets.filter((set) => set.metadata.uid !== current?.metadata.uid);
  const plan: Plan = planRollout({
    replicas: deployment.spec?.replicas ?? 1,
    strategy: deployment.spec?.strategy ?? {},
    paused,
    current: current ? sizeOf(current) : undefined,
    old: old.map(sizeOf),
  });
  for (const { name, replicas } of plan) resize(context, object, name, replicas);
  prune(context, deployment, old);
}

function sizeOf(object: Obj) {
  const { spec, status } = as<ReplicaSet>(object);
  return {
    name: object.metadata.name ?? '',
    replicas: spec?.replicas ?? 0,
    pods: status?.replicas ?? 0,
    terminating: (status as { terminatingReplicas?: number } | undefined)?.terminatingReplicas ?? 0,
    available: status?.availableReplicas ?? 0,
    created: Date.parse(object.metadata.creationTimestamp ?? ''),
  };
}

function withoutHash(template: PodTemplateSpec | undefined): unknown {
  const { [HASH_LABEL]: _hash, ...labels } = template?.metadata?.labels ?? {};
  return { ...template, metadata: { ...template?.metadata, labels } };
}

const sameTemplate = (set: Obj, deployment: Deployment) =>
  sameJson(withoutHash(as<ReplicaSet>(set).spec?.template), withoutHash(deployment.spec?.template));

function templateHash(template: PodTemplateSpec | undefined): string {
  const letters = 'bcdfghjklmnpqrstvwxz2456789';
  const digest = createHash('sha256').update(JSON.stringify(template)).digest();
  return Array.from(digest.subarray(0, 10), (byte) => letters[byte % letters.length]).join('');
}

function createSet({ registry }: ControllerContext, object: Obj): Obj {
  const deployment = as<Deployment>(object);
  const template = deployment.spec?.template;
  const hash = templateHash(template);
  const labels = { ...template?.metadata?.labels, [HASH_LABEL]: hash };
  const selector = deployment.spec?.selector;
  return registry.create(K.replicaSets, object.metadata.namespace, {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${object.metadata.name}-${hash}`,
      labels,
      annotations: annotationsFor(object),
      ownerReferences: [controllerReference(object)],
    },
    spec: {
      replicas: 0,
      selector: { ...selector, matchLabels: { ...selector?.matchLabels, [HASH_LABEL]: hash } },
      template: { ...structuredClone(template), metadata: { ...template?.metadata, labels } },
      ...(deployment.spec?.minReadySeconds ? { minReadySeconds: deployment.spec.minReadySeconds } : {}),
    },
  });
}

function annotationsFor(object: Obj): Record<string, string> {
  const { replicas = 1, strategy = {} } = as<Deployment>(object).spec ?? {};
  const { surge } = resolveBounds(strategy, replicas);
  const {
    'kubectl.kubernetes.io/last-applied-configuration': _applied,
    [REVISION]: _revision,
    ...own
  } = object.metadata.annotations ?? {};
  return { ...own, [DESIRED]: String(replicas), [MAX]: String(replicas + surge) };
}

/** The current ReplicaSet has the highest revision, and the Deployment shows it. */
function adoptRevision({ registry }: ControllerContext, object: Obj, current: Obj): void {
  const { namespace = '', name = '' } = object.metadata;
  const revisionOf = (set: Obj) => Number(set.metadata.annotations?.[REVISION] ?? 0);
  const others = ownedBy(registry, object, K.replicaSets).filter((set) => set.metadata.uid !== current.metadata.uid);
  const highest = Math.max(0, ...others.map(revisionOf));
  const revision = String(Math.max(revisionOf(current), highest + 1));
  const annotate = (extra: Record<string, string>) => (o: Obj) => ({
    ...o,
    metadata: { ...o.metadata, annotations: { ...o.metadata.annotations, ...extra, [REVISION]: revision } },
  });
  registry.update({
    kind: K.replicaSets,
    namespace,
    name: current.metadata.name ?? '',
    change: annotate(annotationsFor(object)),
  });
  registry.update({ kind: K.deployments, namespace, name, change: annotate({}) });
}

function resize({ registry, event }: ControllerContext, object: Obj, name: string, replicas: number): void {
  const { namespace = '' } = object.metadata;
  const set = registry.store.get(K.replicaSets, namespace, name);
  if (!set) return;
  const from = as<ReplicaSet>(set).spec?.replicas ?? 0;
  if (from === replicas) return;
  registry.update({
    kind: K.replicaSets,
    namespace,
    name,
    change: (current) => ({ ...current, spec: { ...(current.spec as Dict), replicas } }),
  });
  const direction = replicas > from ? 'up' : 'down';
  event(object, SOURCE, 'ScalingReplicaSet', `Scaled ${direction} replica set ${name} from ${from} to ${replicas}`);
}

function prune({ registry }: ControllerContext, deployment: Deployment, old: readonly Obj[]): void {
  const empty = old.filter((set) => sizeOf(set).replicas === 0 && sizeOf(set).pods === 0);
  const extra = empty.length - (deployment.spec?.revisionHistoryLimit ?? 10);
  const byAge = [...empty].sort((a, b) => sizeOf(a).created - sizeOf(b).created);
  for (const set of byAge.slice(0, Math.max(0, extra)))
    registry.remove(K.replicaSets, set.metadata.namespace, set.metadata.name ?? '');
}

function report({ registry, settings }: ControllerContext, object: Obj): void {
  const deployment = as<Deployment>(
    registry.store.get(K.deployments, object.metadata.namespace, object.metadata.name ?? '') ?? object,
  );
  const sets = ownedBy(registry, object, K.replicaSets);
  const current = sets.find((set) => sameTemplate(set, deployment));
  const sum = (field: 'replicas' | 'readyReplicas' | 'availableReplicas', list = sets) =>
    list.reduce((total, set) => total + (as<ReplicaSet>(set).status?.[field] ?? 0), 0);
  const wanted = deployment.spec?.replicas ?? 1;
  const replicas = sum('replicas');
  const updated = current ? sum('replicas', [current]) : 0;
  const available = sum('availableReplicas');
  const { unavailable } = resolveBounds(deployment.spec?.strategy ?? {}, wanted);
  const enough = available >= wanted - unavailable;
  const done = updated === wanted && replicas === wanted && available >= wanted;
  const name = current?.metadata.name;
  const old = deployment.status?.conditions as Condition[] | undefined;
  const conditions = withTimes(old, [
    enough
      ? {
          type: 'Available',
          status: 'True',
          reason: 'MinimumReplicasAvailable',
          message: 'Deployment has minimum availability.',
        }
      : {
          type: 'Available',
          status: 'False',
          reason: 'MinimumReplicasUnavailable',
          message: 'Deployment does not have minimum availability.',
        },
    done
      ? {
          type: 'Progressing',
          status: 'True',
          reason: 'NewReplicaSetAvailable',
          message: `ReplicaSet "${name}" has successfully progressed.`,
        }
      : {
          type: 'Progressing',
          status: 'True',
          reason: 'ReplicaSetUpdated',
          message: `ReplicaSet "${name}" is progressing.`,
        },
  ]);
  const numbers = {
    replicas,
    updatedReplicas: updated,
    readyReplicas: sum('readyReplicas'),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, wanted - available),
  };
  setStatus(registry, K.deployments, object, {
    ...Object.fromEntries(Object.entries(numbers).filter(([, n]) => n > 0)),
    ...(settings.minor >= 35 ? { terminatingReplicas: sets.reduce((n, set) => n + sizeOf(set).terminating, 0) } : {}),
    observedGeneration: deployment.metadata?.generation ?? 1,
    conditions,
  });
}
