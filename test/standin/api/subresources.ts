import type { Deployment } from 'kubernetes-types/apps/v1.d.ts';
import type { Pod, PodCondition } from 'kubernetes-types/core/v1.d.ts';
import { K } from '../kinds.ts';
import { as, type Dict, isDict, type Obj, timestamp } from '../objects.ts';
import { formatLabelSelector } from '../selectors.ts';
import { badRequest, conflict, methodNotAllowed, unknownPath } from '../status.ts';
import type { ApiContext, Call } from './context.ts';
import { applyPatch, patchTypeOf } from './patch.ts';
import { asObject, readValue } from './request.ts';
import { sendJson } from './respond.ts';
import { restrict, serveVerb } from './verbs.ts';

const SUCCESS = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };

/** Requests on `<resource>/<name>/<subresource>`. */
export async function serveSubresource(context: ApiContext, call: Call, verb: string): Promise<void> {
  const { kind, subresource = '' } = call.path;
  const known = kind.subresources.find((sub) => sub.name === subresource);
  if (!known) throw unknownPath();
  if (!known.verbs.includes(verb)) throw methodNotAllowed();
  switch (subresource) {
    case 'status':
    case 'ephemeralcontainers':
    case 'resize':
    case 'finalize':
      return serveVerb(context, call, verb);
    case 'scale':
      return serveScale(context, call, verb);
    case 'binding':
      return serveBinding(context, call);
    case 'eviction':
      return serveEviction(context, call);
    case 'token':
      return serveToken(context, call);
    default:
      return context.kubelets.serve(call);
  }
}

async function serveBinding(context: ApiContext, call: Call): Promise<void> {
  const binding = asObject(await readValue(call.request), 'Binding');
  const { namespace, name = '' } = call.path;
  bindPod(context.registry, namespace ?? '', name, (binding.target as { name?: string } | undefined)?.name ?? '');
  sendJson(call.response, 201, SUCCESS);
}

/** Assigns a pod to a node, once. Throws 409 if it has one already. */
export function bindPod(registry: ApiContext['registry'], namespace: string, name: string, node: string): void {
  if (!node) throw badRequest('target.name: Required value');
  registry.update({
    kind: K.pods,
    namespace,
    name,
    subresource: 'binding',
    change(current) {
      const pod = as<Pod>(current);
      if (current.metadata.deletionTimestamp)
        throw conflict(
          { ...K.pods, plural: 'pods/binding' },
          name,
          `pod ${name} is being deleted, cannot be assigned to a host`,
        );
      if (pod.spec?.nodeName)
        throw conflict(
          { ...K.pods, plural: 'pods/binding' },
          name,
          `pod ${name} is already assigned to node "${pod.spec.nodeName}"`,
        );
      const scheduled: PodCondition = {
        lastProbeTime: null as never,
        lastTransitionTime: timestamp(),
        status: 'True',
        type: 'PodScheduled',
      };
      const others = (pod.status?.conditions ?? []).filter((condition) => condition.type !== 'PodScheduled');
      return {
        ...current,
        spec: { ...(current.spec as Dict), nodeName: node },
        status: { ...(current.status as Dict), conditions: [...others, scheduled] },
      };
    },
  });
}

async function serveEviction(context: ApiContext, call: Call): Promise<void> {
  const { namespace, name = '', kind } = call.path;
  const eviction = asObject(await readValue(call.request), 'Eviction');
  restrict(context, call, 'create', eviction);
  context.registry.get(kind, namespace, name);
  const options = isDict(eviction.deleteOptions) ? eviction.deleteOptions : {};
  context.registry.remove(kind, namespace, name, options);
  sendJson(call.response, 201, SUCCESS);
}

async function serveToken(context: ApiContext, call: Call): Promise<void> {
  const { namespace, name = '' } = call.path;
  const request = asObject(await readValue(call.request), 'TokenRequest');
  restrict(context, call, 'create', request);
  sendJson(call.response, 201, context.tokens.request(namespace ?? '', name, request));
}

async function serveScale(context: ApiContext, call: Call, verb: string): Promise<void> {
  const { registry } = context;
  const { kind, namespace, name = '' } = call.path;
  const current = registry.get(kind, namespace, name);
  if (verb === 'get') return sendJson(call.response, 200, scaleOf(current));
  const body = await readValue(call.request);
  const wanted =
    verb === 'patch'
      ? applyPatch(kind, patchTypeOf(call.request.headers['content-type']), scaleOf(current), body)
      : asObject(body, 'Scale');
  const replicas = (wanted.spec as { replicas?: number } | undefined)?.replicas ?? 0;
  const expected = verb === 'update' ? wanted.metadata.resourceVersion : undefined;
  const scaled = registry.update({
    kind,
    name,
    ...(namespace ? { namespace } : {}),
    ...(expected ? { expected } : {}),
    change: (object) => ({ ...object, spec: { ...(object.spec as Dict), replicas } }),
  });
  sendJson(call.response, 200, scaleOf(scaled));
}

function scaleOf(object: Obj): Obj {
  const { spec, status } = as<Deployment>(object);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as Obj['metadata'],
    spec: { replicas: spec?.replicas ?? 0 },
    status: { replicas: status?.replicas ?? 0, selector: formatLabelSelector(spec?.selector as never) },
  };
}
