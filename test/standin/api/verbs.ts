import type { Attributes } from '../auth/attributes.ts';
import { nodeOf } from '../auth/identity.ts';
import { restrictNode } from '../auth/node-restriction.ts';
import type { Kind } from '../kinds.ts';
import { isDict, type Obj } from '../objects.ts';
import type { DeleteOptions } from '../registry/registry.ts';
import { badRequest, conflict, methodNotAllowed, notFound } from '../status.ts';
import type { ApiContext, Call } from './context.ts';
import { toStored } from './event-groups.ts';
import { selectionOf, serveList, serveWatch } from './list-watch.ts';
import { applyPatch, patchTypeOf } from './patch.ts';
import { renderingFor } from './render.ts';
import { asObject, isTrue, readValue } from './request.ts';
import { sendJson } from './respond.ts';

/** Kinds a PUT creates when they are not there. */
const CREATED_BY_UPDATE = new Set(['Lease', 'Event', 'Endpoints']);

/** The verb of a request, in the words of authorizers. */
export function verbOf(method: string, path: { name?: string; subresource?: string }, query: URLSearchParams): string {
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (isTrue(query.get('watch') ?? 'false')) return 'watch';
      return path.name === undefined ? 'list' : 'get';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return path.name === undefined ? 'deletecollection' : 'delete';
    default:
      throw methodNotAllowed();
  }
}

export function attributesOf(call: Call, verb: string): Attributes {
  const { kind, namespace, name, subresource } = call.path;
  return {
    user: call.user,
    verb,
    group: kind.group,
    resource: kind.plural,
    ...(subresource ? { subresource } : {}),
    ...(namespace ? { namespace } : {}),
    ...(name ? { name } : {}),
    ...(call.query.get('fieldSelector') ? { fieldSelector: call.query.get('fieldSelector') as string } : {}),
  };
}

/** get, list, watch, create, update, patch and delete of a whole object or its status-like parts. */
export async function serveVerb(context: ApiContext, call: Call, verb: string): Promise<void> {
  const { registry, watches } = context;
  const { request, response, path, query } = call;
  const { kind, namespace, name, subresource } = path;
  const dryRun = query.get('dryRun') === 'All';
  const answer = (code: number, object: Obj) =>
    sendJson(response, code, renderingFor(request, query).object(kind, object));
  const target = {
    store: registry.store,
    kind,
    query,
    ...(namespace ? { namespace } : {}),
    ...(name && verb === 'watch' ? { name } : {}),
  };
  switch (verb) {
    case 'get':
      return answer(200, registry.get(kind, namespace, name as string));
    case 'list':
      return serveList(target, request, response);
    case 'watch':
      return serveWatch(target, request, response, watches);
    case 'create': {
      if (name !== undefined || subresource !== undefined) throw methodNotAllowed();
      const object = toStored(kind, asObject(await readValue(request), kind.kind));
      restrict(context, call, 'create', object);
      return answer(201, registry.create(kind, namespace, object, { dryRun }));
    }
    case 'update': {
      const object = toStored(kind, asObject(await readValue(request), kind.kind));
      if (
        !registry.store.get(kind, namespace, name as string) &&
        CREATED_BY_UPDATE.has(kind.kind) &&
        !object.metadata.uid
      )
        return answer(201, registry.create(kind, namespace, withName(object, name as string), { dryRun }));
      const expected = object.metadata.resourceVersion;
      restrict(context, call, 'update', object);
      return answer(
        200,
        registry.update({ ...updateOf(call), dryRun, ...(expected ? { expected } : {}), change: () => object }),
      );
    }
    case 'patch':
      return servePatch(context, call, { dryRun, answer });
    case 'delete': {
      const options = await deleteOptions(call);
      restrict(context, call, 'delete');
      const { object, gone } = registry.remove(kind, namespace, name as string, options);
      if (!gone || kind.kind === 'Pod') return answer(200, object);
      return sendJson(response, 200, success(kind, object));
    }
    case 'deletecollection': {
      const options = await deleteOptions(call);
      const selected = registry.store.list(kind, namespace).filter(selectionOf(target));
      for (const { metadata } of selected) registry.remove(kind, metadata.namespace, metadata.name ?? '', options);
      return sendJson(response, 200, renderingFor(request, query).list(kind, selected, {}));
    }
    default:
      throw methodNotAllowed();
  }
}

async function servePatch(
  context: ApiContext,
  call: Call,
  options: { dryRun: boolean; answer(code: number, object: Obj): void },
): Promise<void> {
  const { registry } = context;
  const { kind, namespace, name = '' } = call.path;
  const { dryRun, answer } = options;
  const type = patchTypeOf(call.request.headers['content-type']);
  const patch = await readValue(call.request);
  if (!registry.store.get(kind, namespace, name)) {
    if (type !== 'apply') throw notFound(kind, name);
    const object = withName(asObject(patch, kind.kind), name);
    restrict(context, call, 'create', object);
    return answer(201, registry.create(kind, namespace, object, { dryRun }));
  }
  const object = registry.update({
    ...updateOf(call),
    dryRun,
    change(current) {
      const next = applyPatch(kind, type, current, patch);
      const asked = next.metadata.resourceVersion;
      if (asked && asked !== current.metadata.resourceVersion) throw conflict(kind, name);
      restrict(context, call, 'update', next);
      return next;
    },
  });
  return answer(200, object);
}

function updateOf(call: Call) {
  const { kind, namespace, name, subresource } = call.path;
  return {
    kind,
    name: name ?? '',
    ...(namespace ? { namespace } : {}),
    ...(subresource ? { subresource } : {}),
  };
}

/** Applies NodeRestriction when a kubelet writes. */
export function restrict(context: ApiContext, call: Call, verb: 'create' | 'update' | 'delete', object?: Obj): void {
  const node = nodeOf(call.user);
  if (node === undefined) return;
  const { kind, namespace, subresource } = call.path;
  const name = call.path.name ?? object?.metadata.name ?? '';
  const { store } = context.registry;
  const old = store.get(kind, namespace, name);
  restrictNode({
    store,
    node,
    verb,
    kind,
    name,
    ...(namespace ? { namespace } : {}),
    ...(subresource ? { subresource } : {}),
    ...(object ? { object } : {}),
    ...(old ? { old } : {}),
  });
}

/** The body decides; without one the query does, where preconditions are `uid` and `resourceVersion`. */
async function deleteOptions(call: Call): Promise<DeleteOptions> {
  const body = await readValue(call.request);
  if (isDict(body)) return body as DeleteOptions;
  const { query } = call;
  const text = (name: string) => query.get(name) || undefined;
  const [grace, policy, uid, resourceVersion] = [
    'gracePeriodSeconds',
    'propagationPolicy',
    'uid',
    'resourceVersion',
  ].map(text);
  if (policy && !['Orphan', 'Background', 'Foreground'].includes(policy))
    throw badRequest(`invalid propagationPolicy: ${policy}`);
  const preconditions = { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) };
  return {
    ...(grace === undefined ? {} : { gracePeriodSeconds: Number(grace) }),
    ...(policy === undefined ? {} : { propagationPolicy: policy as 'Background' }),
    ...(uid || resourceVersion ? { preconditions } : {}),
  };
}

function withName(object: Obj, name: string): Obj {
  return { ...object, metadata: { ...object.metadata, name } };
}

function success(kind: Kind, object: Obj) {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: {
      name: object.metadata.name,
      ...(kind.group ? { group: kind.group } : {}),
      kind: kind.plural,
      uid: object.metadata.uid,
    },
  };
}
