import { randomUUID } from 'node:crypto';
import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { apiVersionOf, K, type Kind } from '../kinds.ts';
import { as, clone, type Dict, type Obj, randomSuffix, sameJson, timestamp } from '../objects.ts';
import { badRequest, conflict, forbidden, invalid, notFound } from '../status.ts';
import type { Store } from '../storage.ts';
import { DEFAULTS } from './defaults.ts';
import { admitPod, qosClass } from './pod-admission.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { defaultService } from './services.ts';
import { validate, validateUpdate } from './validate.ts';

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
  preconditions?: { uid?: string; resourceVersion?: string };
  orphanDependents?: boolean;
}

export interface UpdateRequest {
  kind: Kind;
  namespace?: string;
  name: string;
  /** Which part may change; the main resource when left out. */
  subresource?: string;
  /** The resourceVersion the object must still have. */
  expected?: string;
  dryRun?: boolean;
  /** From the current object to the wanted one; gets a copy it may change. */
  change(current: Obj): Obj;
}

/** The verbs of the API on stored objects: defaults, validation, generation, graceful deletion, finalizers. */
export interface Registry {
  readonly store: Store;
  create(kind: Kind, namespace: string | undefined, body: Obj, options?: { dryRun?: boolean }): Obj;
  update(request: UpdateRequest): Obj;
  /** The object as it is after the request: still there and terminating, or as it was last. */
  remove(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    options?: DeleteOptions,
  ): { object: Obj; gone: boolean };
  get(kind: Kind, namespace: string | undefined, name: string): Obj;
}

/** Kinds whose status is the client's to set at creation. */
const KEEPS_STATUS = new Set(['Node']);

export function createRegistry(deps: { store: Store; serviceCidr: string }): Registry {
  const { store } = deps;

  function get(kind: Kind, namespace: string | undefined, name: string): Obj {
    const object = store.get(kind, namespace, name);
    if (!object) throw notFound(kind, name);
    return object;
  }

  function fillIn(kind: Kind, object: Obj): void {
    DEFAULTS[kind.kind]?.(object);
    if (kind.kind === 'Service') defaultService(store, deps.serviceCidr, object);
  }

  function create(kind: Kind, namespace: string | undefined, body: Obj, options: { dryRun?: boolean } = {}): Obj {
    const object = clone(body);
    object.metadata ??= {};
    const meta = object.metadata;
    object.apiVersion = apiVersionOf(kind);
    object.kind = kind.kind;
    if (kind.namespaced) {
      if (meta.namespace && meta.namespace !== namespace)
        throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
      if (!namespace) throw badRequest('an empty namespace may not be set during creation');
      meta.namespace = namespace;
      checkNamespace(kind, namespace, meta.name ?? meta.generateName ?? '');
    } else delete meta.namespace;
    if (meta.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
    if (!meta.name && meta.generateName) meta.name = meta.generateName.slice(0, 58) + randomSuffix();
    for (const field of [
      'uid',
      'creationTimestamp',
      'deletionTimestamp',
      'deletionGracePeriodSeconds',
      'selfLink',
    ] as const)
      delete meta[field];
    delete meta.managedFields;
    meta.uid = randomUUID();
    meta.creationTimestamp = timestamp();
    if (kind.generation) meta.generation = 1;
    else delete meta.generation;
    const hasStatus = kind.subresources.some((sub) => sub.name === 'status');
    if (hasStatus && !KEEPS_STATUS.has(kind.kind)) delete object.status;
    if (kind.kind === 'Pod') preparePod(object);
    if (kind.kind === 'Node') taintNewNode(object);
    fillIn(kind, object);
    const causes = validate(kind, object);
    if (causes.length > 0) throw invalid(kind, meta.name ?? '', causes);
    if (hasStatus && object.status === undefined) object.status = {};
    return options.dryRun ? object : store.create(kind, object);
  }

  function preparePod(object: Obj): void {
    const pod = as<Pod>(object);
    if (!pod.spec?.containers?.length) return; // validation says so
    pod.spec.enableServiceLinks ??= true;
    defaultPodSpec(pod.spec);
    admitPod(store, pod);
    object.status = { phase: 'Pending', qosClass: qosClass(pod.spec) };
  }

  function checkNamespace(kind: Kind, namespace: string, name: string): void {
    const found = store.get(K.namespaces, undefined, namespace);
    if (!found) throw notFound(K.namespaces, namespace);
    if (found.metadata.deletionTimestamp && kind.kind !== 'Event')
      throw forbidden(
        kind,
        name,
        `unable to create new content in namespace ${namespace} because it is being terminated`,
      );
  }

  function update(request: UpdateRequest): Obj {
    const { kind, namespace, name, subresource } = request;
    const old = get(kind, namespace, name);
    if (request.expected && request.expected !== old.metadata.resourceVersion) throw conflict(kind, name);
    const wanted = request.change(clone(old));
    if (wanted.metadata?.name && wanted.metadata.name !== name)
      throw badRequest(`the name of the object (${wanted.metadata.name}) does not match the name on the URL (${name})`);
    if (wanted.metadata?.uid && wanted.metadata.uid !== old.metadata.uid)
      throw conflict(
        kind,
        name,
        `Precondition failed: UID in precondition: ${wanted.metadata.uid}, UID in object meta: ${old.metadata.uid}`,
      );
    const next = combine(kind, old, wanted, subresource);
    if (subresource === undefined || subresource === 'ephemeralcontainers') {
      if (kind.kind === 'Pod' && as<Pod>(next).spec) defaultPodSpec(as<Pod>(next).spec as never);
      fillIn(kind, next);
      const causes = validate(kind, next);
      if (subresource === undefined) causes.push(...validateUpdate(kind, next, old));
      if (causes.length > 0) throw invalid(kind, name, causes);
    }
    if (kind.generation && !sameJson(next.spec, old.spec))
      next.metadata.generation = (old.metadata.generation ?? 0) + 1;
    if (sameJson(next, old)) return old;
    if (request.dryRun) return next;
    if (finished(next)) {
      store.update(kind, next);
      return store.remove(kind, namespace, name);
    }
    return store.update(kind, next);
  }

  /** Nothing holds a terminating object any more: no finalizer, no grace period. */
  function finished(object: Obj): boolean {
    const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata;
    if (!deletionTimestamp || finalizers?.length) return false;
    if (object.kind === 'Namespace' && ((object.spec as Dict | undefined)?.finalizers as string[] | undefined)?.length)
      return false;
    return !deletionGracePeriodSeconds;
  }

  function remove(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): { object: Obj; gone: boolean } {
    const old = get(kind, namespace, name);
    checkPreconditions(kind, old, options);
    const object = clone(old);
    const meta = object.metadata;
    const grace = kind.kind === 'Pod' ? podGrace(as<Pod>(old), options) : 0;
    const policy = options.orphanDependents ? 'Orphan' : options.propagationPolicy;
    const finalizers = new Set(meta.finalizers ?? []);
    if (policy === 'Foreground' && kind.kind !== 'Pod') finalizers.add('foregroundDeletion');
    if (policy === 'Orphan') finalizers.add('orphan');
    const held = finalizers.size > 0 || kind.kind === 'Namespace';
    if (grace === 0 && !held) return { object: store.remove(kind, namespace, name), gone: true };
    if (
      meta.deletionTimestamp &&
      (meta.deletionGracePeriodSeconds ?? 0) <= grace &&
      meta.finalizers?.length === finalizers.size
    )
      return { object: old, gone: false };
    meta.deletionGracePeriodSeconds = grace;
    meta.deletionTimestamp = timestamp(Date.now() + grace * 1000);
    if (finalizers.size > 0) meta.finalizers = [...finalizers];
    if (kind.generation && !old.metadata.deletionTimestamp) meta.generation = (meta.generation ?? 0) + 1;
    if (kind.kind === 'Namespace') object.status = { ...(object.status as Dict), phase: 'Terminating' };
    return { object: store.update(kind, object), gone: false };
  }

  return { store, create, update, remove, get };
}

function combine(kind: Kind, old: Obj, wanted: Obj, subresource: string | undefined): Obj {
  const { metadata: was } = old;
  const metadata = { ...(wanted.metadata ?? {}), name: was.name as string };
  for (const field of [
    'namespace',
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generation',
    'resourceVersion',
    'generateName',
  ] as const) {
    if (was[field] === undefined) delete metadata[field];
    else Object.assign(metadata, { [field]: was[field] });
  }
  delete metadata.managedFields;
  delete metadata.selfLink;
  for (const field of ['labels', 'annotations', 'finalizers', 'ownerReferences'] as const)
    if (metadata[field] && Object.keys(metadata[field]).length === 0) delete metadata[field];
  const base: Obj = { ...wanted, apiVersion: old.apiVersion, kind: old.kind, metadata };
  if (subresource === 'status') {
    // Pods and nodes let labels and annotations through with the status (flannel relies on it); the others do not.
    const open = kind.kind === 'Pod' || kind.kind === 'Node';
    const { ownerReferences } = was;
    const kept = { ...metadata, ...(ownerReferences ? { ownerReferences } : {}) };
    if (!ownerReferences) delete kept.ownerReferences;
    return { ...old, metadata: open ? kept : { ...was }, status: wanted.status };
  }
  if (subresource === 'ephemeralcontainers') {
    const ephemeralContainers = (wanted.spec as Dict).ephemeralContainers;
    return { ...old, spec: { ...(old.spec as Dict), ephemeralContainers } };
  }
  if (subresource === 'resize' || subresource === 'binding' || subresource === 'finalize') return base;
  if (kind.subresources.some((sub) => sub.name === 'status')) {
    if (old.status === undefined) delete base.status;
    else base.status = old.status;
  }
  return base;
}

function podGrace(pod: Pod, options: DeleteOptions): number {
  const asked = options.gracePeriodSeconds ?? pod.spec?.terminationGracePeriodSeconds ?? 30;
  if (!pod.spec?.nodeName || pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded') return 0;
  return asked < 0 ? 1 : asked;
}

function checkPreconditions(kind: Kind, object: Obj, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const about = { ...kind, plural: kind.kind };
  const { metadata } = object;
  if (uid && uid !== metadata.uid)
    throw conflict(
      about,
      metadata.name ?? '',
      `the UID in the precondition (${uid}) does not match the UID in record (${metadata.uid}). The object might have been deleted and then recreated`,
    );
  if (resourceVersion && resourceVersion !== metadata.resourceVersion)
    throw conflict(
      about,
      metadata.name ?? '',
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${metadata.resourceVersion}). The object might have been modified`,
    );
}

/** TaintNodesByCondition: nothing is scheduled before the node is seen to be ready. */
function taintNewNode(object: Obj): void {
  object.spec ??= {};
  const spec = object.spec as { taints?: { key: string; effect: string }[] };
  const key = 'node.kubernetes.io/not-ready';
  if (!spec.taints?.some((taint) => taint.key === key))
    spec.taints = [...(spec.taints ?? []), { effect: 'NoSchedule', key }];
}
