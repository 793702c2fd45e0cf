import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { K, type Kind } from '../kinds.ts';
import { as, isDict, type Obj, sameJson } from '../objects.ts';
import { MIRROR_ANNOTATION } from '../registry/pod-admission.ts';
import { forbidden } from '../status.ts';
import type { Store } from '../storage.ts';

export interface NodeWrite {
  store: Store;
  /** The node that asks. */
  node: string;
  verb: 'create' | 'update' | 'delete';
  kind: Kind;
  subresource?: string;
  namespace?: string;
  name: string;
  object?: Obj;
  old?: Obj;
}

/** The NodeRestriction admission plugin: a kubelet writes only what is its own. Throws 403. */
export function restrictNode(write: NodeWrite): void {
  const { kind } = write.kind;
  if (kind === 'Node') restrictNodeObject(write);
  else if (kind === 'Pod') restrictPod(write);
  else if (kind === 'ServiceAccount') restrictToken(write);
}

const LABELS = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/arch',
  'kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/instance-type',
  'node.kubernetes.io/instance-type',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.kubernetes.io/region',
  'failure-domain.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'node.kubernetes.io/windows-build',
]);

/** True for labels a kubelet may not set on itself (the kubernetes.io and k8s.io spaces, less its own corners). */
function isRestrictedLabel(key: string): boolean {
  const space = key.includes('/') ? (key.split('/')[0] as string) : '';
  if (!/(^|\.)(kubernetes|k8s)\.io$/.test(space)) return false;
  if (LABELS.has(key)) return false;
  return !/^([\w-]+\.)*(kubelet|node)\.kubernetes\.io$/.test(space);
}

function restrictNodeObject({ node, name, verb, object, old }: NodeWrite): void {
  const refuse = (why: string) => forbidden(K.nodes, name, why);
  if (verb === 'delete') throw refuse(`node "${node}" is not allowed to delete node "${name}"`);
  if (name !== node) throw refuse(`node "${node}" is not allowed to modify node "${name}"`);
  const labels = object?.metadata.labels ?? {};
  const before = old?.metadata.labels ?? {};
  const changed = [...new Set([...Object.keys(labels), ...Object.keys(before)])].filter((k) => labels[k] !== before[k]);
  const restricted = changed.filter(isRestrictedLabel).sort();
  if (restricted.length > 0) {
    const what = verb === 'create' ? 'set' : 'modify';
    throw refuse(`is not allowed to ${what} the following labels: ${restricted.join(', ')}`);
  }
  if (
    object?.metadata.ownerReferences?.length &&
    !sameJson(object.metadata.ownerReferences, old?.metadata.ownerReferences)
  )
    throw refuse(`node "${node}" is not allowed to ${verb} ownerReferences`);
  const taints = (o: Obj | undefined) => (o ? (as<Node>(o).spec?.taints ?? []) : []);
  if (verb === 'update' && !sameJson(taints(object), taints(old)))
    throw refuse(`node "${node}" is not allowed to modify taints`);
}

function restrictPod(write: NodeWrite): void {
  const { node, verb, subresource, object, store, namespace, name } = write;
  const refuse = (why: string) => forbidden(K.pods, name, why);
  if (verb === 'create' && subresource === undefined) {
    const pod = as<Pod>(object as Obj);
    if (pod.metadata?.annotations?.[MIRROR_ANNOTATION] === undefined)
      throw refuse(`pod does not have "${MIRROR_ANNOTATION}" annotation, node "${node}" can only create mirror pods`);
    if (pod.spec?.nodeName !== node)
      throw refuse(`node "${node}" can only create pods with spec.nodeName set to itself`);
    const own = store.get(K.nodes, undefined, node);
    const owners = pod.metadata.ownerReferences ?? [];
    if (owners.length > 1 || (owners[0] && (owners[0].kind !== 'Node' || owners[0].uid !== own?.metadata.uid)))
      throw refuse(`node "${node}" can only create pods with an owner reference set to itself`);
    if (pod.spec.serviceAccountName)
      throw refuse(`node "${node}" can not create pods that reference a service account`);
    const sources = (pod.spec.volumes ?? []).some((v) => v.secret || v.configMap || v.persistentVolumeClaim);
    if (sources) throw refuse(`node "${node}" can not create pods that reference secrets, configmaps or claims`);
    return;
  }
  const pod = store.get(K.pods, namespace, name);
  if (pod && as<Pod>(pod).spec?.nodeName !== node) {
    if (verb === 'delete') throw refuse(`node "${node}" can only delete pods with spec.nodeName set to itself`);
    if (subresource === 'eviction') throw refuse(`node ${node} can only evict pods with spec.nodeName set to itself`);
    throw refuse(`node "${node}" can only update pod status for pods with spec.nodeName set to itself`);
  }
  if (subresource === 'status' && object && pod && !sameJson(object.metadata.labels, pod.metadata.labels))
    throw refuse(`node "${node}" cannot update labels through pod status`);
}

function restrictToken({ node, object, name, namespace, store }: NodeWrite): void {
  const refuse = (why: string) => forbidden(K.serviceAccounts, name, why);
  const spec = isDict(object?.spec) ? object.spec : {};
  const bound = isDict(spec.boundObjectRef) ? spec.boundObjectRef : undefined;
  if (bound?.kind !== 'Pod' || bound.apiVersion !== 'v1' || !bound.name)
    throw refuse(`node requested token not bound to a pod`);
  if (!bound.uid) throw refuse('node requested token with a pod binding without a uid');
  const pod = store.get(K.pods, namespace, String(bound.name));
  if (!pod || pod.metadata.uid !== bound.uid)
    throw refuse(
      `the UID in the bound object reference (${bound.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  if (as<Pod>(pod).spec?.nodeName !== node)
    throw refuse('node requested token bound to a pod scheduled on a different node');
}
